"""A page that shows a session, in a Chromium of its own or in the one that runs."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from typing import Any

import pytest
from measuring.browser import Browser
from tests.browser.viewer import tabs

SIZE = (1280, 720)
VIEWER = "document.querySelector('downstage-viewer')"
POLL_S = 0.05


class Page:
    """What a person sees and does there."""

    def __init__(self, browser: Browser) -> None:
        self.browser = browser

    async def until(self, expression: str, seconds: float = 20) -> Any:
        """The first true value of *expression*; fails with what the page shows instead."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + seconds
        while loop.time() < deadline:
            value = await self.browser.evaluate(f"(async () => {expression})()")
            if value:
                return value
            await asyncio.sleep(POLL_S)
        state = await self.browser.evaluate(
            f"JSON.stringify({VIEWER}?.state ?? document.body.innerText)"
        )
        written = self.browser.console
        pytest.fail(f"not within {seconds} s: {expression}; the page: {state} {written}")

    async def until_playing(self, seconds: float = 20) -> None:
        """A picture is there, and what a person does goes to the application."""
        await self.until(f"{VIEWER}?.state.phase === 'playing'", seconds)
        await self.until(f"{VIEWER}.state.stream !== null", seconds)

    async def stats(self) -> dict[str, Any]:
        """The viewer's own figures."""
        return await self.browser.evaluate(f"{VIEWER}.stats()")

    async def key(self, code: str, key: str, *, down: bool) -> None:
        """One key event: its place on the keyboard, and what it types on this layout."""
        typed = {"text": key} if down and len(key) == 1 else {}
        await self.browser.call(
            "Input.dispatchKeyEvent", type="keyDown" if down else "keyUp", code=code, key=key,
            windowsVirtualKeyCode=ord(key.upper()) if len(key) == 1 else 0, **typed,
        )  # fmt: skip

    async def press(self, x: float, y: float) -> None:
        """The left button goes down."""
        await self.browser.mouse("mouseMoved", x, y)
        await self.browser.mouse("mousePressed", x, y, button="left", clickCount=1)

    async def click(self, x: float, y: float) -> None:
        """The left button goes down and up."""
        await self.press(x, y)
        await self.browser.mouse("mouseReleased", x, y, button="left", clickCount=1)


Opener = Callable[..., AbstractAsyncContextManager[Page]]


@pytest.fixture(scope="session", autouse=True)
def _one_chromium() -> Iterator[None]:
    """The one that many tests have their tabs in ends with the last of them."""
    yield
    tabs.end()


@asynccontextmanager
async def _open(url: str, *flags: str, script: str = "", own: bool = False) -> AsyncGenerator[Page]:
    made = Browser(SIZE, flags=flags) if flags or own else tabs.Tab(SIZE)
    async with made as browser:
        await browser.call("Page.addScriptToEvaluateOnNewDocument", source=script)
        await browser.navigate(url)
        yield Page(browser)


@pytest.fixture
def open_page() -> Opener:
    """Opens an address; with a script to run before its own.

    In a Chromium of its *own*, or one with further flags, where that is asked for.
    """
    return _open
