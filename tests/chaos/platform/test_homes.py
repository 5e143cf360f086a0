"""Several gateways, each in a process of its own: viewers come back within two seconds."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import time
from collections.abc import AsyncGenerator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from measuring.browser import Browser

from downstage.testing.postgres import PostgresServer
from downstage.testing.served import ServedPlatform

pytestmark = [pytest.mark.chaos, pytest.mark.anyio, pytest.mark.timeout(400)]

VIEWER = "document.querySelector('downstage-viewer')"
COUNT = f"{VIEWER}?.stats().then(s => s.decodedFrames)"
CORES = os.cpu_count() or 1
TRIES = 3
PATIENCE_S = 30.0
Scenario = Callable[[ServedPlatform], Awaitable[None]]


class TooLate(AssertionError):
    """It came, and took longer than is promised: on a shared machine one more try may show it."""


def resume_s() -> float:
    """Two seconds, on a machine that has the time."""
    return 2.0 * max(1.0, os.getloadavg()[0] / CORES)


def in_time(took_s: float, bound_s: float) -> None:
    if took_s >= bound_s:
        raise TooLate(f"{took_s:.2f} s, not within {bound_s:.2f} s")


WATCH_GAPS = f"""(() => {{
  const video = {VIEWER}.renderRoot.querySelector('video');
  window.gap = 0; let last = performance.now();
  const seen = () => {{
    const now = performance.now();
    window.gap = Math.max(window.gap, now - last); last = now;
    video.requestVideoFrameCallback(seen);
  }};
  video.requestVideoFrameCallback(seen);
}})()"""


@pytest.fixture
def platform(postgres: PostgresServer) -> Iterator[ServedPlatform]:
    """Two gateways on one database, and one of each other service."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    environment = {"DOWNSTAGE_PLATFORM__DATABASE": postgres.database()}
    try:
        with ServedPlatform(
            folder / "data", environment=environment, gateways=2, without=("content", "streams")
        ) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@asynccontextmanager
async def watching(url: str) -> AsyncGenerator[Browser]:
    async with Browser((1280, 720)) as browser:
        await browser.navigate(url)
        await picture(browser, 30)
        yield browser


async def until(browser: Browser, expression: str, what: str) -> float:
    """Seconds until *expression* is true in the page."""
    began = time.monotonic()
    while not await browser.evaluate(expression):
        if time.monotonic() - began > PATIENCE_S:
            state = await browser.evaluate(f"JSON.stringify({VIEWER}?.state)")
            pytest.fail(f"{what}: it never came: {state} {browser.console}")
        await asyncio.sleep(0.03)
    return time.monotonic() - began


async def picture(browser: Browser, count: int) -> float:
    """Seconds until so many pictures more were decoded, of whichever transport."""
    before = int(await browser.evaluate(COUNT) or 0)
    more = f"{COUNT}.then(n => n >= {before + count} || (n < {before} && n >= {count}))"
    return await until(browser, more, "a picture")


def row(platform: ServedPlatform, session_id: str, gateway: str) -> dict[str, Any]:
    """The session as *gateway* answers it."""
    platform.facts["url"] = platform.facts[gateway]
    return platform.call("GET", f"/v1/sessions/{session_id}").body


def create(platform: ServedPlatform, gateway: str) -> dict[str, Any]:
    platform.facts["url"] = platform.facts[gateway]
    return platform.create("test-card")


def end(platform: ServedPlatform, session_id: str) -> None:
    platform.call("DELETE", f"/v1/sessions/{session_id}")
    platform.wait_state(session_id, "ended")


async def moved(platform: ServedPlatform, session_id: str, gateway: str) -> dict[str, Any]:
    """The session once *gateway* is its home and has a viewer again."""
    began = time.monotonic()
    while True:
        found = await asyncio.to_thread(row, platform, session_id, gateway)
        if found["home"] == platform.facts[gateway] and found["state"] == "active":
            return found
        assert time.monotonic() - began < PATIENCE_S, found
        await asyncio.sleep(0.05)


async def over_webrtc(platform: ServedPlatform) -> None:
    """A picture does not notice that its gateway dies; all else goes on by the other."""
    first, second = platform.facts["gateway"], platform.facts["gateway-2"]
    session = create(platform, "gateway")
    assert session["home"] == first
    assert row(platform, session["id"], "gateway-2")["home"] == first
    refused = platform.call("POST", f"/v1/sessions/{session['id']}/seat", {})
    assert (refused.status, refused.body["home"]) == (421, first)
    assert refused.headers["downstage-home"] == first
    link = platform.link(session["id"], transport="webrtc", resolution="1280x720")
    assert link.startswith(first)  # whoever makes it: it leads home
    async with watching(link) as browser:
        await browser.evaluate(WATCH_GAPS)
        peers = await browser.evaluate("downstageProbe.peers.length")
        await asyncio.to_thread(platform.kill_service, "gateway")
        found = await moved(platform, session["id"], "gateway-2")
        at_second = f"{VIEWER}.state.session.home === '{second}'"
        in_time(await until(browser, at_second, "signalling at the other gateway"), resume_s())
        await picture(browser, 60)
        in_time(await browser.evaluate("window.gap") / 1000, 1)
        assert await browser.evaluate("downstageProbe.peers.length") == peers
        # By the other gateway: a new path after the old one failed, a join, and the end.
        await browser.evaluate(
            "(() => { const pc = downstageProbe.peers.at(-1);"
            " Object.defineProperty(pc, 'connectionState', {get: () => 'failed'});"
            " pc.dispatchEvent(new Event('connectionstatechange')); })()"
        )
        took = await until(browser, f"downstageProbe.peers.length > {peers}", "another path")
        in_time(took + await picture(browser, 1), resume_s() + 1)
        code = platform.call("POST", f"/v1/sessions/{session['id']}/links").body
        assert code["join_url"].startswith(second)
        seat = platform.call("POST", f"/v1/sessions/{session['id']}/seat", {"code": code["code"]})
        assert seat.status == 200
        assert seat.body["gateways"] == [second, first]
    assert found["revision"] > session["revision"]


async def over_websockets(platform: ServedPlatform) -> None:
    """The picture is back in two seconds, by the other gateway, and stays there."""
    session = create(platform, "gateway-2")
    link = platform.link(session["id"], transport="websocket", resolution="1280x720")
    async with watching(link) as browser:
        await asyncio.to_thread(platform.kill_service, "gateway-2")
        at_first = f"{VIEWER}.state.session.home === '{platform.facts['gateway']}'"
        took = await until(browser, at_first, "signalling at the other gateway")
        took += await picture(browser, 1)
        print(f"back after {took:.2f} s")
        in_time(took, resume_s())
        await moved(platform, session["id"], "gateway")
        # The dead one comes back: it takes nothing, and the page stays where it is.
        await asyncio.to_thread(platform.start_service, "gateway-2")
        assert row(platform, session["id"], "gateway-2")["home"] == platform.facts["gateway"]
        await picture(browser, 30)
        assert await browser.evaluate(at_first)
        # A reload of the page whose own gateway is not home: by what the tab remembers.
        await browser.call("Page.reload")
        await until(browser, f"{VIEWER}?.state.phase === 'playing'", "the page again")
        assert await browser.evaluate(at_first)


async def over_another_network(platform: ServedPlatform) -> None:
    """A page finds a new path as soon as it is online again, and survives its reload."""
    session = create(platform, "gateway")
    link = platform.link(session["id"], transport="webrtc", resolution="1280x720")
    async with watching(link) as browser:
        peers = await browser.evaluate("downstageProbe.peers.length")
        for offline in (True, False):
            await browser.call(
                "Network.emulateNetworkConditions",
                offline=offline, latency=0, downloadThroughput=-1, uploadThroughput=-1,
            )  # fmt: skip
        took = await until(browser, f"downstageProbe.peers.length > {peers}", "another path")
        took += await picture(browser, 1)
        in_time(took, resume_s())
        began = time.monotonic()
        await browser.call("Page.reload")
        await until(browser, f"{VIEWER}?.state.phase === 'playing'", "the page again")
        took = time.monotonic() - began
        print(f"reloaded in {took:.2f} s")
        in_time(took, resume_s())


async def test_S04_pages_play_on_while_gateways_die(platform: ServedPlatform) -> None:
    for scenario in (over_another_network, over_webrtc, over_websockets):
        await in_some_try(scenario, platform)


async def in_some_try(scenario: Scenario, platform: ServedPlatform) -> None:
    """What must never happen fails at once; what came late may be tried again."""
    for number in range(TRIES):
        try:
            await scenario(platform)
        except TooLate as error:
            print(f"{scenario.__name__}: {error}")
            if number == TRIES - 1:
                raise
        else:
            return
        finally:
            await clear(platform)


async def clear(platform: ServedPlatform) -> None:
    """Both gateways run, and no session is left."""
    for name in ("gateway", "gateway-2"):
        if not platform.is_running(name):
            await asyncio.to_thread(platform.start_service, name)
    for session in platform.call("GET", "/v1/sessions").body["items"]:
        if session["state"] != "ended":
            await asyncio.to_thread(end, platform, session["id"])
