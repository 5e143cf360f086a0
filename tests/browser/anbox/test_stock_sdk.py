"""The JavaScript SDK of the original as it is, from a file outside of this tree (Apache-2.0).

``ANBOX_SDK_JS`` names it: ``js/anbox-stream-sdk.js`` of the public repository, 1.31.0 was tried.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Page, Route
from tests.browser.anbox.conftest import CARD, DISPLAY, Client, Opener

from downstage.testing.platform import PlatformProcess

SDK = os.environ.get("ANBOX_SDK_JS", "")
pytestmark = [
    pytest.mark.browser,
    pytest.mark.anyio,
    pytest.mark.timeout(120),
    pytest.mark.skipif(not SDK, reason="ANBOX_SDK_JS names no copy of the stock SDK"),
]

LOAD = """async () => {
    const path = "/sdk-of-a-test.js", names = "{AnboxStream, AnboxStreamGatewayConnector}";
    window.sdk = await import(path).catch(() => ({}));
    if (sdk.AnboxStream) return;
    const script = document.createElement("script");     // made for pages without modules
    script.src = path;
    await new Promise((resolve) => { script.onload = resolve; document.head.append(script); });
    window.sdk = (0, eval)(`(${names})`);
}"""
CONNECT = """([url, token, session]) => {
    document.body.innerHTML = '<div id="place" style="width:1280px;height:720px"></div>';
    const told = window.told = {ready: false, error: null, done: false, got: [], stats: null};
    window.stream = new sdk.AnboxStream({
        connector: new sdk.AnboxStreamGatewayConnector({url, authToken: token, session,
            screen: {width: 1280, height: 720, fps: 30}}),
        targetElement: 'place', enableStats: true,
        dataChannels: {chat: {callbacks: {message: (data) => told.got.push(data)}}},
        callbacks: {ready: () => { told.ready = true; }, done: () => { told.done = true; },
            statsUpdated: (stats) => { told.stats = structuredClone(stats); },
            error: (error) => { told.error = String(error.message ?? error); }},
    });
    window.stream.connect();
}"""
EARS = """() => {
    window.ears = Object.create(AnboxClient.prototype);
    ears.videoElement = document.querySelector('#place video');
    ears.listen(document.querySelector('#place audio').srcObject);
}"""
"""Reads the card's strip in the picture and the pitch in the sound: of ours, beside the SDK."""


async def _sdk(route: Route) -> None:
    await route.fulfill(path=Path(SDK), content_type="text/javascript")


async def connected(client: Client, session: dict[str, Any]) -> Page:
    """A page in which the SDK has connected to *session*, and shows pictures."""
    page, platform = client.page, client.platform
    await page.route("**/sdk-of-a-test.js", _sdk)
    await page.evaluate(LOAD)
    await page.evaluate(CONNECT, [platform.url, platform.facts["token"], session])
    await page.wait_for_function("told.ready || told.error", timeout=30_000)
    assert await page.evaluate("told.error") is None
    await page.evaluate(EARS)
    await page.wait_for_function("ears.videoElement.videoWidth === 1280", timeout=15_000)
    await page.wait_for_function("ears.strip() !== null", timeout=15_000)
    return page


async def disconnected(page: Page) -> None:
    await page.evaluate("stream.disconnect()")
    await page.wait_for_function("told.done", timeout=10_000)
    assert await page.evaluate("told.error") is None


async def acts(page: Page) -> None:
    """A click arrives: the card counts presses in its picture."""
    before = int(await page.evaluate("ears.strip()"))
    await page.mouse.click(640, 400)
    await page.wait_for_function(f"ears.strip() === {(before + 1) % 256}", timeout=10_000)


async def test_the_stock_sdk_plays_acts_speaks_and_leaves(opened: Opener) -> None:
    async with opened() as client:
        page = await connected(client, {"app": "test-card", "joinable": True})
        await acts(page)
        await page.evaluate("stream.sendData('chat', 'hello')")
        await page.wait_for_function("told.got[0] === 'hello'", timeout=10_000)
        await page.wait_for_function("told.stats?.video.framesDecoded > 0", timeout=15_000)
        await disconnected(page)


async def test_the_stock_sdk_joins_hears_and_leaves(
    opened: Opener, platform: PlatformProcess
) -> None:
    made = platform.create("test-card", display=DISPLAY, arguments=CARD)
    async with opened() as client:
        page = await connected(client, {"id": made["id"]})
        await page.wait_for_function("Math.abs((ears.pitch() ?? 0) - 440) <= 6", timeout=15_000)
        await page.wait_for_function("told.stats?.audioOutput.packetsReceived > 0", timeout=15_000)
        await acts(page)
        await disconnected(page)
