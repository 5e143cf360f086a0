"""Pages that play sessions, and how long they went without a new picture."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any, Literal

import pytest
from measuring.browser import Browser

Transport = Literal["webrtc", "websocket"]
VIEWER = "document.querySelector('downstage-viewer')"
COUNT = f"{VIEWER}?.stats().then(s => s.decodedFrames)"
GAPS = """
window.gaps = (() => {
  let last = performance.now(), most = 0;
  const note = (at) => { most = Math.max(most, at - last); last = Math.max(last, at); };
  return {
    note,
    take() { const found = Math.max(most, performance.now() - last); most = 0; return found; },
    now() { return performance.now() - last; },
  };
})();
"""
# When the last packet of each frame arrived: what the machine does with it later is not counted.
OF_WEBRTC = f"""(() => {{
  {GAPS}
  let video = null;
  const seen = (now, facts) => {{
    gaps.note(facts.receiveTime ?? now);
    video.requestVideoFrameCallback(seen);
  }};
  setInterval(() => {{
    const found = {VIEWER}?.renderRoot?.querySelector('video');
    if (found && found !== video) {{ video = found; video.requestVideoFrameCallback(seen); }}
  }}, 50);
}})()"""
OF_WEBSOCKET = f"""(async () => {{
  {GAPS}
  let count = -1;
  const look = async () => {{
    const found = await Promise.resolve({COUNT}).catch(() => count);
    if (found > 0 && found !== count) {{ count = found; gaps.note(performance.now()); }}
    setTimeout(look, 20);
  }};
  look();
}})()"""


class Viewer:
    """One page, one session."""

    def __init__(self, browser: Browser, transport: Transport, session_id: str) -> None:
        self.browser = browser
        self.transport: Transport = transport
        self.session_id = session_id

    async def gap_ms(self) -> float:
        """The longest time without a new picture since this was asked last."""
        return float(await self.browser.evaluate("gaps.take()"))

    async def silence_ms(self) -> float:
        """How long ago the last picture came."""
        return float(await self.browser.evaluate("gaps.now()"))

    async def home(self) -> str:
        """Whom the page talks to."""
        return str(await self.browser.evaluate(f"{VIEWER}?.state?.session?.home"))

    async def state(self) -> Any:
        """What the page knows, for a failure's text."""
        return await self.browser.evaluate(f"JSON.stringify({VIEWER}?.state)")

    async def until(self, expression: str, seconds: float, what: str) -> float:
        """Seconds until *expression* is true in the page."""
        began = time.monotonic()
        while not await self.browser.evaluate(expression):
            if time.monotonic() - began > seconds:
                state, written = await self.state(), self.browser.console
                pytest.fail(f"{self.transport}: {what}: not within {seconds} s: {state} {written}")
            await asyncio.sleep(0.05)
        return time.monotonic() - began

    async def pictures(self, count: int = 10, seconds: float = 20) -> None:
        """Return once so many more have come, or so many of a new stream."""
        before = int(await self.browser.evaluate(COUNT) or 0)
        more = f"{COUNT}.then(n => n >= {before + count} || (n < {before} && n >= {count}))"
        await self.until(more, seconds, "pictures")


@asynccontextmanager
async def watching(
    url: str, transport: Transport, session_id: str, trusted: tuple[str, ...]
) -> AsyncGenerator[Viewer]:
    """Play it; *trusted* are origins without TLS whose pages may decode pictures themselves."""
    flag = f"--unsafely-treat-insecure-origin-as-secure={','.join(trusted)}"
    async with Browser((640, 360), flags=(flag,)) as browser:
        await browser.navigate(url)
        viewer = Viewer(browser, transport, session_id)
        await viewer.until(f"{VIEWER}?.state?.phase === 'playing'", 40, "the page plays")
        found = await browser.evaluate(f"{VIEWER}.stats().then(s => s.transport)")
        assert found == transport, await viewer.state()
        await browser.evaluate(OF_WEBRTC if transport == "webrtc" else OF_WEBSOCKET)
        await viewer.pictures(20, 40)
        yield viewer
