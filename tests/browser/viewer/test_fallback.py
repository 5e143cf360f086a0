"""Where no UDP path is to be had, or one is lost, the picture comes all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from math import inf
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(300)]

VIEWER = "document.querySelector('downstage-viewer')"
NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
NO_PATH = "No UDP path to the machine"
TOLD_MS, PLAYED_MS = 5000, 6000
"""Within so long a person is told that there is no path, and has a picture all the same."""
BACK_S = 5
"""Within so long the picture is back after its path died."""
ATTEMPTS = 3
READ_S = 5
"""Seconds for which a person can read why the picture comes another way."""
HISTORY = f"""
window.told = [];
addEventListener("downstage-state", ({{ target, detail: {{ phase, trouble }} }}) => {{
  told.push({{ at: performance.now(), phase, trouble }});
  if (phase !== "playing" || told.some(row => row !== told.at(-1) && row.phase === "playing"))
    return;
  setTimeout(() => {{
    window.readable = [...target.shadowRoot.querySelectorAll(".badge")]
      .filter(badge => getComputedStyle(badge).visibility === "visible"
        && getComputedStyle(badge).opacity === "1")
      .map(badge => badge.textContent.trim());
  }}, {READ_S * 1000});
}});
"""
"""Notes each state, and what can be read over the picture a while after it came."""
PICTURES = "window.downstageProbe.shownAt.length"
Opener = Callable[..., AbstractAsyncContextManager[Any]]


@pytest.fixture(scope="module")
def card(platform: PlatformProcess) -> Iterator[str]:
    display = {"width": 1280, "height": 720, "fps": 60}
    made = platform.create("test-card", display=display)
    yield made["id"]
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")


async def test_without_udp_the_socket_brings_the_picture(
    platform: PlatformProcess, card: str, open_page: Opener
) -> None:
    took_ms = list[tuple[float, float]]()
    for _ in range(ATTEMPTS):  # the best of some: the machine is shared
        told, played = await falls_back(platform, card, open_page)
        if told < TOLD_MS and played < PLAYED_MS:
            return
        took_ms.append((told, played))
    pytest.fail(f"never within {TOLD_MS} and {PLAYED_MS} ms: {took_ms}")


async def falls_back(
    platform: PlatformProcess, card: str, open_page: Opener
) -> tuple[float, float]:
    """Milliseconds until a person was told, and saw the socket's picture."""
    link = platform.link(card, resolution="1280x720")
    async with open_page(link, NO_UDP, script=HISTORY) as page:
        await page.until(f"{VIEWER}?.state.phase === 'playing'")
        await page.until(f"{PICTURES} > 30")
        used = await page.stats()
        tried = await page.browser.probe("p.peers.length")
        carried = await page.browser.probe("p.stats().then(s => s.decoded)")
        told = await page.browser.evaluate("told")
        # The cover that says it goes with the first picture; what is left can be read in peace.
        readable = await page.until("window.readable", READ_S + 5)
        reason = await page.browser.evaluate(f"{VIEWER}.state.transportReason")
    first = next(row for row in told if row["trouble"] == NO_PATH)
    played = next(row for row in told if row["phase"] == "playing")
    assert first["at"] < played["at"]
    assert (reason, played["trouble"]) == (NO_PATH, None)
    assert [text for text in readable if text.startswith(NO_PATH)], readable
    assert used["transport"] == "websocket"
    assert used["decodedFrames"] > 30
    assert tried >= 1
    assert carried == 0
    return float(first["at"]), float(played["at"])


async def test_webrtc_demanded_without_udp_brings_none(
    platform: PlatformProcess, card: str, open_page: Opener
) -> None:
    """The block of the test above is a real one, and nobody is moved whom nobody asked."""
    link = platform.link(card, resolution="1280x720", transport="webrtc")
    async with open_page(link, NO_UDP) as page:
        await page.until(f"{VIEWER}?.state.trouble === '{NO_PATH}'")
        assert await page.browser.probe("p.first") is None
        assert await page.browser.evaluate(f"{VIEWER}.state.transport") == "webrtc"


async def test_the_picture_comes_back_after_its_path_died(
    platform: PlatformProcess, card: str, open_page: Opener
) -> None:
    for _ in range(ATTEMPTS):  # the best of some: the machine is shared
        if await comes_back(platform, card, open_page) <= BACK_S:
            return
    pytest.fail(f"never within {BACK_S} s")


async def comes_back(platform: PlatformProcess, card: str, open_page: Opener) -> float:
    """Seconds until the picture was there again."""
    async with open_page(platform.link(card, resolution="1280x720")) as page:
        await page.until(f"{PICTURES} > 30")
        if (await page.stats())["transport"] != "webrtc":
            return inf  # the machine was too slow for the path that was to die
        await page.browser.probe(
            "p.peers.filter(x => x.connectionState === 'connected').forEach(x => x.close())"
        )
        before = await page.browser.evaluate(PICTURES)
        peers = await page.browser.probe("p.peers.length")
        began = time.monotonic()
        await page.until(f"{PICTURES} > {before} + 30")
        took = time.monotonic() - began
        await page.until_playing()
        used = (await page.stats())["transport"]
        made = await page.browser.probe("p.peers.length") - peers
    assert used == "websocket" or made > 0, "the path never died"
    return took
