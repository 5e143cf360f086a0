"""Chromium watches the streamer over both transports: pictures, clicks, sound, restarts."""

from __future__ import annotations

import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import pytest
from playwright.async_api import Browser, Page, async_playwright

from downstage.testing.streaming import (
    GatewayEnd,
    Streamer,
    XDisplay,
    run_program,
    run_streamer,
)

pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(120)]

CARD = [sys.executable, "-m", "downstage.apps.test_card"]
FLAGS = [
    "--no-sandbox",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns",
]
HERE = Path(__file__).parent
WINDOW_S = 1.5
DECODED = {
    "ws": "state.decoded",
    "rtc": """(async () => {
        let n = 0;
        const video = r => r.type === 'inbound-rtp' && r.kind === 'video';
        (await state.connection.getStats()).forEach(r => { if (video(r)) n = r.framesDecoded; });
        return n;
    })()""",
}


Playing = Callable[..., AbstractAsyncContextManager[tuple[Streamer, GatewayEnd, Page]]]


@pytest.fixture(scope="module")
async def chromium(anyio_backend: str) -> AsyncIterator[Browser]:
    """One for all of them: each opens a context of its own in it."""
    assert anyio_backend == "asyncio"
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        await started.close()


@pytest.fixture
def playing(chromium: Browser, data: Path) -> Playing:
    """Starts a card on a display and a streamer; with a page at hand."""

    @asynccontextmanager
    async def start(
        kind: str, *arguments: str, folder: Path = data, **config: Any
    ) -> AsyncIterator[tuple[Streamer, GatewayEnd, Page]]:
        gateway = GatewayEnd(folder, HERE / "page.html")
        await gateway.open()
        context = await chromium.new_context(viewport={"width": 1280, "height": 720})
        page = await context.new_page()
        try:
            if kind == "wayland":
                async with _card(folder, None, arguments, config) as streamer:
                    yield streamer, gateway, page
            else:
                async with (
                    XDisplay.start() as display,
                    _card(folder, display, arguments, config) as streamer,
                ):
                    yield streamer, gateway, page
        finally:
            await context.close()
            await gateway.close()

    return start


@asynccontextmanager
async def _card(
    data: Path, display: XDisplay | None, arguments: tuple[str, ...], config: dict[str, Any]
) -> AsyncIterator[Streamer]:
    async with run_streamer(data, display=display, **config) as streamer:
        environment = {**streamer.environment, "PULSE_SERVER": config.get("pulse_server", "none:")}
        async with run_program([*CARD, *arguments], environment):
            await streamer.line("FIRST-PICTURE")
            yield streamer


async def look(
    page: Page, gateway: GatewayEnd, transport: str, role: str = "controller", **more: str
) -> float:
    """Open the viewer; milliseconds to its first picture."""
    query = urlencode({"t": transport, "role": role, **more})
    await page.goto(f"http://127.0.0.1:{gateway.port}/?{query}")
    await page.wait_for_function("state.first", timeout=20_000)
    return float(await page.evaluate("state.first"))


async def decoded_fps(page: Page, transport: str, *, enough: float, windows: int = 10) -> float:
    """Decoded pictures a second: the best of some windows, since others use this machine too."""
    best = 0.0
    for _ in range(windows):
        began, first = time.monotonic(), await page.evaluate(DECODED[transport])
        await anyio.sleep(WINDOW_S)
        more = await page.evaluate(DECODED[transport]) - first
        best = max(best, more / (time.monotonic() - began))
        if best >= enough:
            break
    return best


async def usual_fps(page: Page) -> float:
    """Forty, or on a machine that has less time two thirds of what it shows undisturbed."""
    return min(40.0, await decoded_fps(page, "rtc", enough=60, windows=1) * 2 / 3)


@pytest.mark.parametrize("kind", ["x11", "wayland"])
@pytest.mark.parametrize("transport", ["rtc", "ws"])
async def test_a_moving_card_is_decoded_at_its_rate(
    playing: Playing, data: Path, kind: str, transport: str
) -> None:
    # On a shared machine a card now and then stays at 52 to 54 of its 60, window after window, and
    # the next one does not: seen with this and with older versions alike. Three may try.
    best = 0.0
    for number in range(3):
        (data / str(number)).mkdir()
        best = max(best, await one_card(playing, data / str(number), kind, transport))
        if best >= 55:
            break
    assert best >= 55


async def one_card(playing: Playing, folder: Path, kind: str, transport: str) -> float:
    async with playing(kind, folder=folder) as (_, gateway, page):
        await look(page, gateway, transport)
        fps = await decoded_fps(page, transport, enough=55, windows=6)
        assert await page.evaluate("state.error ?? null") is None
        facts = await page.evaluate("state.stream")
        assert (facts["width"], facts["height"], facts["encoder"]) == (1280, 720, "x264")
        if transport == "rtc":
            await gateway.hear("peer.connected", peer="peer-1")
            assert sorted(await page.evaluate("state.channels")) == ["input", "pointer"]
        return fps


READ_HITS = """() => {
    const e = document.querySelector('video,canvas');
    const w = e.videoWidth || e.width, h = e.videoHeight || e.height;
    const c = new OffscreenCanvas(40, 1).getContext('2d'); c.imageSmoothingEnabled = false;
    c.drawImage(e, 0, Math.round(h / 60), w, 1, 0, 0, 40, 1);
    const d = c.getImageData(0, 0, 40, 1).data; let bits = '';
    for (let i = 0; i < 40; i++) bits += d[i * 4 + 1] > 127 ? 1 : 0;
    return bits.startsWith('1010') ? parseInt(bits.slice(28, 36), 2) : null;
}"""


@pytest.mark.parametrize("kind", ["x11", "wayland"])
@pytest.mark.parametrize("transport", ["rtc", "ws"])
async def test_a_click_is_seen_in_the_picture(playing: Playing, kind: str, transport: str) -> None:
    async with playing(kind) as (_, gateway, page):
        await look(page, gateway, transport)
        await page.wait_for_function(f"({READ_HITS})() !== null", timeout=20_000)
        before = await page.evaluate(READ_HITS)
        await page.mouse.click(640, 400)
        await page.wait_for_function(f"({READ_HITS})() === {(before + 1) % 256}", timeout=20_000)
        await page.keyboard.press("KeyA")
        await page.wait_for_function(f"({READ_HITS})() === {(before + 2) % 256}", timeout=20_000)


@pytest.mark.parametrize("transport", ["rtc", "ws"])
async def test_a_tone_is_heard_at_its_pitch(playing: Playing, data: Path, transport: str) -> None:
    home = data / "pulse"
    home.mkdir(mode=0o700)
    command = [
        "pulseaudio", "-n", "--daemonize=no", "--exit-idle-time=-1", "--use-pid-file=no",
        "--disable-shm=yes", "--log-level=error",
        "-L", f"module-native-protocol-unix socket={home}/native auth-anonymous=1",
        "-L", "module-null-sink sink_name=downstage rate=48000 channels=2",
    ]  # fmt: skip
    server = f"unix:{home}/native"
    environment = {"HOME": str(home), "XDG_RUNTIME_DIR": str(home), "PULSE_RUNTIME_PATH": str(home)}
    async with run_program(command, environment):
        with anyio.fail_after(10):
            while not (home / "native").exists():
                await anyio.sleep(0.02)
        async with playing("x11", "--tone", "440", pulse_server=server) as (_, gateway, page):
            await look(page, gateway, transport)
            heard = "state.peak && state.peak().db > -60 && Math.abs(state.peak().hz - 440) <= 5"
            await page.wait_for_function(heard, timeout=20_000)
            assert (await page.evaluate("state.stream"))["audio"] is True


async def test_the_picture_goes_on_while_the_gateway_restarts(playing: Playing) -> None:
    async with playing("x11") as (_, gateway, page):
        await look(page, gateway, "rtc")
        await gateway.hear("peer.connected")
        usual = await usual_fps(page)
        await gateway.close()
        assert await decoded_fps(page, "rtc", enough=usual) >= usual
        gateway.heard.clear()
        await gateway.open()
        hello = await gateway.hear("hello")
        assert hello["peers"] == ["peer-1"], "a gateway that restarted adopts the living"
        assert await decoded_fps(page, "rtc", enough=usual) >= usual


async def test_both_transports_share_one_encoder(playing: Playing) -> None:
    async with playing("x11") as (_, gateway, page):
        await look(page, gateway, "rtc")
        second = await page.context.browser.new_page()
        await look(second, gateway, "ws", "spectator")
        status = await gateway.hear("status", viewers=2)
        assert status["encoder"] == "x264"
        assert await decoded_fps(second, "ws", enough=10) >= 5


async def test_the_size_follows_over_webrtc(playing: Playing) -> None:
    async with playing("x11") as (_, gateway, page):
        await look(page, gateway, "rtc")
        await page.wait_for_function("state.channels?.length === 2")
        await page.evaluate("sendInput(['z', 1001, 700])")
        await page.wait_for_function(
            "(v => v.videoWidth * v.videoHeight === 700000)(document.querySelector('video'))",
            timeout=20_000,
        )


async def test_a_restarted_peer_gets_a_new_offer(playing: Playing) -> None:
    async with playing("x11") as (_, gateway, page):
        await look(page, gateway, "rtc")
        await gateway.hear("peer.connected")
        usual = await usual_fps(page)
        await gateway.tell({"type": "peer.restart", "peer": "peer-1"})
        await gateway.hear("peer.connected", peer="peer-1")
        await page.wait_for_function("state.connection.connectionState === 'connected'")
        assert await decoded_fps(page, "rtc", enough=usual) >= usual


@pytest.mark.parametrize("kind", ["x11", "wayland"])
async def test_a_browser_without_h264_gets_vp8_beside_the_others(
    playing: Playing, kind: str
) -> None:
    async with playing(kind) as (_, gateway, page):
        await look(page, gateway, "rtc", codec="VP8")
        assert (await page.evaluate("state.stream"))["codec"] in {"vp8", None}
        assert await decoded_fps(page, "rtc", enough=10) >= 5
        second = await page.context.browser.new_page()
        await look(second, gateway, "ws", "spectator")
        assert await decoded_fps(second, "ws", enough=10) >= 5
        assert await decoded_fps(page, "rtc", enough=10) >= 5


async def test_a_silent_stun_server_costs_no_time(playing: Playing) -> None:
    servers = [{"urls": "stun:127.0.0.1:9"}]
    async with playing("x11", ice_servers=servers) as (_, gateway, page):
        took_ms = list[float]()
        for _ in range(3):  # the best of some: the machine is shared
            took_ms.append(await look(page, gateway, "rtc"))
            await gateway.hear("peer.connected")
            if took_ms[-1] < 2000:
                break
        assert min(took_ms) < 2000
