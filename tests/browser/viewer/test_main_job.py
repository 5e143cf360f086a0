"""The main job in a real Chromium: the picture moves, a click is seen back, a tone is heard."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from measuring.browser import Browser
from tests.browser.viewer.tabs import Tab

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(180)]

SIZE = (1280, 720)
VIEWER = "document.querySelector('downstage-viewer')"
TRANSPORTS = ["webrtc", "websocket"]


@asynccontextmanager
async def page(url: str) -> AsyncGenerator[Browser]:
    async with Tab(SIZE) as browser:
        await browser.navigate(url)
        yield browser


async def until(browser: Browser, expression: str, seconds: float = 20) -> Any:
    """The first true value of *expression*; fails with what the page shows instead."""
    deadline = asyncio.get_running_loop().time() + seconds
    while asyncio.get_running_loop().time() < deadline:
        value = await browser.evaluate(f"(async () => {expression})()")
        if value:
            return value
        await asyncio.sleep(0.05)
    state = await browser.evaluate(f"JSON.stringify({VIEWER}?.state ?? document.body.innerText)")
    pytest.fail(f"never came true: {expression}; the page: {state} {browser.console}")


async def decoded(browser: Browser) -> int:
    return await browser.evaluate(f"{VIEWER}?.stats().then(s => s.decodedFrames)")


async def decoded_fps(browser: Browser, seconds: float = 2) -> float:
    loop = asyncio.get_running_loop()
    before, began = await decoded(browser), loop.time()
    await asyncio.sleep(seconds)
    return (await decoded(browser) - before) / (loop.time() - began)


async def best_fps(browser: Browser, wanted: float) -> float:
    """The best of some windows: the machine is shared, and a neighbour's second is not ours."""
    best = 0.0
    for _ in range(15):
        best = max(best, await decoded_fps(browser))
        if best >= wanted:
            break
    return best


@pytest.fixture(scope="module")
def card(platform: PlatformProcess) -> Iterator[str]:
    """A moving test card at 720p60; its session id."""
    display = {"width": 1280, "height": 720, "fps": 60}
    made = platform.create("test-card", display=display, arguments=["--tone", "440"])
    yield made["id"]
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_the_card_moves_at_full_rate(
    platform: PlatformProcess, card: str, transport: str
) -> None:
    async with page(platform.link(card, transport=transport, resolution="1280x720")) as browser:
        await until(browser, "window.downstageProbe.first !== null")
        best = await best_fps(browser, 55)
        used = await browser.evaluate(f"{VIEWER}?.stats().then(s => s.transport)")
    assert used == transport
    assert best >= 55


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_click_is_seen_in_the_picture(
    platform: PlatformProcess, card: str, transport: str
) -> None:
    async with page(platform.link(card, transport=transport, resolution="1280x720")) as browser:
        await until(browser, "window.downstageProbe.first !== null")
        await until(browser, f"{VIEWER}?.state.phase === 'playing'")
        await until(browser, f"{VIEWER}.state.stream !== null")
        x, y = await browser.probe("p.middle()")
        await browser.mouse("mouseMoved", x, y)
        await browser.probe("p.arm()")
        await browser.mouse("mousePressed", x, y, button="left", clickCount=1)
        await browser.mouse("mouseReleased", x, y, button="left", clickCount=1)
        assert await browser.probe("p.answer(15000)") is not None


@pytest.mark.parametrize("transport", TRANSPORTS)
async def test_a_tone_of_440_hz_is_heard(
    platform: PlatformProcess, card: str, transport: str
) -> None:
    async with page(platform.link(card, transport=transport, resolution="1280x720")) as browser:
        await until(browser, "window.downstageProbe.first !== null")
        await until(browser, f"!!{VIEWER}?.audioStream")
        pitch = await until(
            browser,
            f"""{{
              if (!window.ear) {{
                const context = new AudioContext();
                await context.resume();
                const ear = window.ear = context.createAnalyser();
                ear.fftSize = 32768;
                ear.smoothingTimeConstant = 0;
                context.createMediaStreamSource({VIEWER}.audioStream).connect(ear);
              }}
              const bins = new Float32Array(window.ear.frequencyBinCount);
              window.ear.getFloatFrequencyData(bins);
              let top = 0;
              for (let i = 1; i < bins.length; i++) if (bins[i] > bins[top]) top = i;
              const hertz = top * window.ear.context.sampleRate / window.ear.fftSize;
              return bins[top] > -60 && Math.abs(hertz - 440) <= 5 ? hertz : 0;
            }}""",
        )
    assert abs(pitch - 440) <= 5


async def test_a_reload_keeps_the_seat(platform: PlatformProcess, card: str) -> None:
    async with page(platform.link(card, resolution="1280x720")) as browser:
        await until(browser, "window.downstageProbe.first !== null")
        assert "#" not in await browser.evaluate("location.href")
        await browser.call("Page.reload")
        await until(browser, "window.downstageProbe?.first != null")


async def test_a_link_opens_once(platform: PlatformProcess, card: str) -> None:
    link = platform.link(card, resolution="1280x720")
    async with page(link) as browser:
        await until(browser, "window.downstageProbe.first !== null")
    async with page(link) as browser:
        await until(browser, f"!{VIEWER} || {VIEWER}.state.phase !== 'playing'")
        text = await until(browser, "document.body.innerText || ' '")
        assert await browser.evaluate("window.downstageProbe.first") is None, text


async def test_the_picture_follows_the_window(platform: PlatformProcess) -> None:
    made = platform.create("test-card")
    async with page(platform.link(made["id"])) as browser:
        await until(browser, "window.downstageProbe.first !== null")
        await browser.call(
            "Emulation.setDeviceMetricsOverride",
            width=900,
            height=500,
            deviceScaleFactor=1,
            mobile=False,
        )
        await until(browser, f"{VIEWER}?.stats().then(s => s.width === 900 && s.height === 500)")
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")


async def test_the_demo_stage_moves(platform: PlatformProcess) -> None:
    made = platform.create("usd-viewer")
    async with page(platform.link(made["id"], resolution="1280x720")) as browser:
        await until(browser, f"{VIEWER}?.stats().then(s => s.decodedFrames > 30)", 40)
        best = await best_fps(browser, 20)
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")
    assert best >= 20
