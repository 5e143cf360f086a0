"""One platform and one browser for all of it; a page for each client."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page, Route, async_playwright
from playwright.async_api import Error as PlaywrightError

from downstage.testing.platform import PlatformProcess

HERE = Path(__file__).parent
WITNESS = HERE.parent / "viewer"
PATH = "/page-of-a-test.html"
HTML = """<!doctype html><meta charset="utf-8"><title>client</title>
<style>body{margin:0;background:#000}video{display:block;width:1280px;height:720px}</style><body></body>
<script src="/client-of-a-test.js"></script>"""
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

    async def until(self, expression: str, seconds: float = 15) -> Any:
        """The first true value of *expression*."""
        try:
            found = await self.page.wait_for_function(expression, timeout=seconds * 1000)
        except PlaywrightError:
            state = "[client.errors, client.log.map(l => [l[0], l[1].type]), client.iceState]"
            told = await self.ask(f"JSON.stringify({state})")
            logs = (self.platform.data / "run").glob("*/streamer.log")
            heard = "\n".join(path.read_text()[-800:] for path in logs)
            pytest.fail(f"not within {seconds} s: {expression}; the client: {told}; {heard}")
        return await found.json_value()

    async def ready(self) -> None:
        """What was wanted has come, and the control channel is open."""
        await self.until("client.isReady && client.isConnected")
        await self.until("client.channels.control.readyState === 'open'")

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
        async with asyncio.timeout(10):
            while await self.decoded() < before + 4:
                await asyncio.sleep(0.05)


class Witness:
    """A session of an application that writes down what reaches it."""

    def __init__(self, platform: PlatformProcess) -> None:
        before = set((platform.data / "run").glob("*/app.log"))
        self.session: str = platform.create("witness", display=DISPLAY)["id"]
        (self._log,) = set((platform.data / "run").glob("*/app.log")) - before
        self._seen = 0

    def forget(self) -> None:
        """Only what comes from now on counts."""
        self._seen = len(self._log.read_text().splitlines())

    def events(self, kind: str) -> list[list[Any]]:
        """Everything of *kind* so far, without that word."""
        lines = self._log.read_text().splitlines()[self._seen :]
        words = (json.loads(line) for line in lines if line.startswith("["))
        return [said[1:] for said in words if said[0] == kind]

    async def until(self, kind: str, *wanted: list[Any]) -> None:
        """Until the newest events of *kind* are *wanted*."""
        try:
            async with asyncio.timeout(8):
                while self.events(kind)[-len(wanted) :] != list(wanted):
                    await asyncio.sleep(0.03)
        except TimeoutError:
            pytest.fail(f"wanted {kind} {wanted}, came {self.events(kind)[-8:]}")


Opener = Callable[[], AbstractAsyncContextManager[Client]]


@pytest.fixture(scope="package")
def platform() -> Iterator[PlatformProcess]:
    """One that knows the witness, too, and starts without any session."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    try:
        started = PlatformProcess(
            folder / "d", "--app-folder", str(WITNESS), environment=ENVIRONMENT
        )
        with started as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="package")
async def browser(anyio_backend: str) -> AsyncIterator[Browser]:
    """Chromium with a camera and a microphone that are made up."""
    assert anyio_backend == "asyncio"
    async with async_playwright() as driver:
        started = await driver.chromium.launch(executable_path="/usr/bin/chromium", args=FLAGS)
        yield started
        await started.close()


@pytest.fixture(scope="package")
def witness(platform: PlatformProcess) -> Witness:
    """Shared; each test forgets what came before."""
    return Witness(platform)


@pytest.fixture(scope="package")
def card(platform: PlatformProcess) -> str:
    """A test card that plays a tone; whoever joins throws out who was there."""
    made = platform.create("test-card", display=DISPLAY, arguments=CARD)
    return str(made["id"])


@pytest.fixture(scope="package")
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
