"""One platform and one browser for all of it; a page for each client, sessions for each module."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Generator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright
from tests.browser.witness import APPLICATIONS, Witness

from downstage.testing.platform import PlatformProcess

HERE = Path(__file__).parent
PATH = "/page-of-a-test.html"
HTML = """<!doctype html><meta charset="utf-8"><title>client</title>
<style>body{margin:0;background:#000}video{display:block;width:1280px;height:720px}</style><body></body>
<script src="/client-of-a-test.js"></script>"""
MEDIA = ("video", "audio")
DISPLAY = {"width": 1280, "height": 720, "fps": 10}
CARD = ["--tone", "440", "--fps", "5"]
"""Few pictures: what is proved here does not need many, and the machine is shared."""
ENVIRONMENT = {
    "DOWNSTAGE_MEDIA__BITRATE_KBPS": "800",
    # Shared sessions stay while tests that do not need them run.
    "DOWNSTAGE_GATEWAY__RESUME_LEASE": "PT15M",
    "DOWNSTAGE_GATEWAY__CONNECT_LEASE": "PT15M",
}
FLAGS = [
    "--no-sandbox",
    "--disable-gpu",
    "--autoplay-policy=no-user-gesture-required",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns,LocalNetworkAccessChecks",
    "--use-fake-device-for-media-stream",
    "--use-fake-ui-for-media-stream",
]


class Client:
    """One client of that dialect in a page of its own."""

    def __init__(self, page: Page, platform: PlatformProcess) -> None:
        self.page, self.platform = page, platform

    async def make(self, **options: Any) -> None:
        """A client that has not connected yet."""
        given = {"token": self.platform.facts["token"], **options}
        await self.page.evaluate(f"window.client = new AnboxClient({json.dumps(given)})")

    async def ask(self, expression: str) -> Any:
        """The value of an expression in the page."""
        return await self.page.evaluate(f"(async () => ({expression}))()")

    async def until(self, expression: str, seconds: float = 20) -> Any:
        """The first true value of *expression*, or of the promise that it is.

        The driver's own waiting takes any promise for something true.
        """
        try:
            async with asyncio.timeout(seconds):
                while not (found := await self.ask(expression)):
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"not within {seconds} s: {expression}; {await self.condition()}")
        return found

    async def condition(self) -> str:
        """How the client is, and what the streamers wrote last."""
        channels = "Object.values(client.channels).map(c => [c.label, c.readyState])"
        signalling = "client.log.map(l => [l[0], l[1].type])"
        state = f"[client.errors, {signalling}, client.iceState, {channels}]"
        told = await self.ask(f"JSON.stringify({state})")
        logs = (self.platform.data / "run").glob("*/streamer.log")
        heard = "\n".join(path.read_text()[-800:] for path in logs)
        return f"the client: {told}; {heard}"

    async def lives(self) -> bool:
        """It is connected, all of its channels are open, and media comes.

        A path whose other end has gone without a word looks connected for a while.
        """
        before = await self._bytes()
        try:
            async with asyncio.timeout(3):
                while await self._bytes() <= before:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            return False
        connected = "client.isConnected && ['connected', 'completed'].includes(client.iceState)"
        opened = "Object.values(client.channels).every(c => c.readyState === 'open')"
        return bool(await self.ask(f"!client.isDone && {connected} && {opened}"))

    async def ready(self) -> None:
        """What was wanted has come, and the control channel is open."""
        await self.until("client.isReady && client.isConnected")
        await self.until("client.channels.control.readyState === 'open'")

    async def _bytes(self) -> int:
        """Of pictures and sound that came so far."""
        stats = await self.ask("client.stats()")
        return sum(int(stats.get(kind, {}).get("totalBytesReceived") or 0) for kind in MEDIA)

    async def playing(self) -> None:
        """Pictures are decoded."""
        await self.ready()
        await self.until("client.videoElement.videoWidth > 0 && client.layout?.width > 0")

    async def create(self, app: str, body: dict[str, Any] | None = None, **options: Any) -> str:
        """A session of its own; its id."""
        await self.make(**options)
        made = await self.ask(f"client.create({json.dumps(app)}, {json.dumps(body or {})})")
        assert made is not None, await self.ask("client.errors")
        return str(made["id"])

    async def join(self, session: str, **options: Any) -> dict[str, Any]:
        """Join one."""
        await self.make(**options)
        joined = await self.ask(f"client.join({json.dumps(session)})")
        assert joined is not None, await self.ask("client.errors")
        return dict(joined)

    async def send(self, kind: str, data: object) -> None:
        """A control message."""
        assert await self.ask(f"client.control({json.dumps(kind)}, {json.dumps(data)})")

    async def decoded(self) -> int:
        """Pictures decoded so far."""
        return int((await self.ask("client.stats()")).get("video", {}).get("framesDecoded", 0))

    async def plays_on(self) -> None:
        """More pictures come."""
        before = await self.decoded()
        try:
            async with asyncio.timeout(20):
                while await self.decoded() < before + 4:
                    await asyncio.sleep(0.05)
        except TimeoutError:
            pytest.fail(f"no picture comes; {await self.condition()}")


Opener = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="session")
def platform() -> Iterator[PlatformProcess]:
    """One that knows the witness, too, and starts without any session."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    try:
        started = PlatformProcess(
            folder / "d", "--app-folder", str(APPLICATIONS), environment=ENVIRONMENT
        )
        with started as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    """Chromium with a camera and a microphone that are made up."""
    assert anyio_backend == "asyncio"
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        await started.close()


@pytest.fixture(scope="module")
def witness(platform: PlatformProcess) -> Iterator[Witness]:
    """Shared; each test forgets what came before."""
    made = Witness(platform, DISPLAY)
    yield made
    made.end()


@pytest.fixture(scope="module")
def card(platform: PlatformProcess) -> Iterator[str]:
    """A test card that plays a tone; whoever joins throws out who was there."""
    with a_card(platform) as session:
        yield session


@contextmanager
def a_card(platform: PlatformProcess) -> Generator[str]:
    """One that is gone afterwards: what draws for nobody takes time from the tests to come."""
    made = platform.create("test-card", display=DISPLAY, arguments=CARD)
    yield str(made["id"])
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")


@pytest.fixture(scope="session")
def opened(platform: PlatformProcess, browser: Browser) -> Opener:
    """Opens a page of the platform's own origin with the client in it.

    Pages are used again: a fresh one costs Chromium a process.
    """
    idle = list[Page]()

    async def fresh() -> Page:
        context = await browser.new_context(
            viewport={"width": 1280, "height": 720}, bypass_csp=True
        )
        page = await context.new_page()
        await page.route(f"**{PATH}", _html)
        await page.route("**/client-of-a-test.js", _script)
        return page

    @asynccontextmanager
    async def open_() -> AsyncIterator[Client]:
        page = idle.pop() if idle else await fresh()
        try:
            await page.goto(platform.url + PATH)
            yield Client(page, platform)
        finally:
            for other in page.context.pages:
                if other is not page:
                    await other.close()
            await page.goto("about:blank")
            idle.append(page)

    return open_


async def _html(route: Route) -> None:
    await route.fulfill(body=HTML, content_type="text/html")


async def _script(route: Route) -> None:
    await route.fulfill(path=HERE / "client.js", content_type="text/javascript")
