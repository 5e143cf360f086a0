"""A gateway that says nothing any more, and resets no connection: pictures go on by another."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.postgres import PostgresServer
from downstage.testing.served import ServedPlatform

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(240)]

VIEWER = "document.querySelector('downstage-viewer')"
FRAMES = f"{VIEWER}.stats().then(s => s.decodedFrames)"
DISPLAY = {"width": 640, "height": 360, "fps": 20}
PATIENCE_S = 60.0


@pytest.fixture
def gateways(postgres: PostgresServer) -> Iterator[ServedPlatform]:
    """Two of them on one database; one that is frozen loses its sessions after two seconds."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    environment = {
        "DOWNSTAGE_PLATFORM__DATABASE": postgres.database(),
        "DOWNSTAGE_GATEWAY__HOME_LEASE": "PT2S",
    }
    try:
        with ServedPlatform(
            folder / "data", environment=environment, gateways=2, without=("content", "streams")
        ) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


async def more(page: Any, frames: int = 20) -> None:
    """Return once so many more pictures have come, or so many of a new socket."""
    before = int(await page.browser.evaluate(FRAMES) or 0)
    after = f"n => n >= {before + frames} || (n < {before} && n >= {frames})"
    await page.until(f"{FRAMES}.then({after})", PATIENCE_S)


async def test_a_frozen_gateway_is_left_by_both_ways_of_the_picture(
    gateways: ServedPlatform, open_page: Any
) -> None:
    gateways.facts["url"] = first = gateways.facts["gateway"]
    second = gateways.facts["gateway-2"]
    pages = dict[str, Any]()
    async with AsyncExitStack() as stack:
        for transport in ("webrtc", "websocket"):
            made = gateways.create("test-card", display=DISPLAY)
            link = gateways.link(made["id"], transport=transport, resolution="640x360")
            page = pages[transport] = await stack.enter_async_context(open_page(link))
            await page.until_playing(PATIENCE_S)
            await more(page)
            assert (await page.stats())["transport"] == transport
        rtc = pages["webrtc"].browser
        video = "document.querySelector('downstage-viewer').renderRoot.querySelector('video')"
        await rtc.evaluate(f"window.video = {video}; 0")
        gateways.freeze_service("gateway")
        try:
            for page in pages.values():
                await page.until(f"{VIEWER}.state.session?.home === {second!r}", PATIENCE_S)
                await page.until(f"{VIEWER}.state.phase === 'playing'", PATIENCE_S)
                await more(page)
        finally:
            gateways.thaw_service("gateway")
        # The peer connection was not touched: its picture is in the same place as before.
        assert await rtc.evaluate(f"window.video === {video} && !window.video.paused")
        # Back again it finds that it lost them, and pages stay where they are.
        for page in pages.values():
            await more(page)
            assert await page.browser.evaluate(f"{VIEWER}.state.session.home") == second
        told = gateways.call("GET", "/v1/sessions")
        assert {item["home"] for item in told.body["items"]} == {second}
        assert gateways.facts["url"] == first
