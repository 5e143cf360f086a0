"""Where no UDP path is to be had, or one is lost, the picture comes all the same."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import AbstractAsyncContextManager
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

VIEWER = "document.querySelector('downstage-viewer')"
NO_UDP = "--webrtc-ip-handling-policy=disable_non_proxied_udp"
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
    async with open_page(platform.link(card, resolution="1280x720"), NO_UDP) as page:
        began = time.monotonic()
        await page.until(f"{VIEWER}?.state.trouble === 'No UDP path to the machine'", 5)
        await page.until(f"{VIEWER}.state.phase === 'playing'", 6 - (time.monotonic() - began))
        await page.until(f"{PICTURES} > 30", 5)
        used = await page.stats()
        tried = await page.browser.probe("p.peers.length")
        carried = await page.browser.probe("p.stats().then(s => s.decoded)")
    assert used["transport"] == "websocket"
    assert used["decodedFrames"] > 30
    assert tried >= 1
    assert carried == 0


async def test_webrtc_demanded_without_udp_brings_none(
    platform: PlatformProcess, card: str, open_page: Opener
) -> None:
    """The block of the test above is a real one, and nobody is moved whom nobody asked."""
    link = platform.link(card, resolution="1280x720", transport="webrtc")
    async with open_page(link, NO_UDP) as page:
        await page.until(f"{VIEWER}?.state.trouble === 'No UDP path to the machine'", 6)
        assert await page.browser.probe("p.first") is None
        assert await page.browser.evaluate(f"{VIEWER}.state.transport") == "webrtc"


async def test_the_picture_comes_back_after_its_path_died(
    platform: PlatformProcess, card: str, open_page: Opener
) -> None:
    async with open_page(platform.link(card, resolution="1280x720")) as page:
        await page.until(f"{PICTURES} > 30")
        assert (await page.stats())["transport"] == "webrtc"
        await page.browser.probe(
            "p.peers.filter(x => x.connectionState === 'connected').forEach(x => x.close())"
        )
        before = await page.browser.evaluate(PICTURES)
        peers = await page.browser.probe("p.peers.length")
        began = time.monotonic()
        await page.until(f"{PICTURES} > {before} + 30", 5)
        took = time.monotonic() - began
        await page.until_playing(1)
        used = (await page.stats())["transport"]
        made = await page.browser.probe("p.peers.length") - peers
    assert took <= 5
    assert used == "websocket" or made > 0, "the path never died"
