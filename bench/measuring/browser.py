"""One headless Chromium with one page, over the DevTools protocol; new profile each time."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any, Self

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed

__all__ = ["Browser"]

PROBE = Path(__file__).with_name("probe.js").read_text(encoding="utf-8")
FLAGS = (
    "--headless=new",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--no-default-browser-check",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--autoplay-policy=no-user-gesture-required",
    "--ignore-certificate-errors",
    "--mute-audio",
    "--allow-loopback-in-peer-connection",
    "--disable-features=WebRtcHideLocalIpsWithMdns,Translate",
    "--remote-debugging-port=0",
)
PROBE_OBJECT = "window.downstageProbe"


class Browser:
    """Use as ``async with Browser(size) as browser``; *flags* are further ones of Chromium's."""

    def __init__(
        self, size: tuple[int, int], program: str = "/usr/bin/chromium", flags: tuple[str, ...] = ()
    ) -> None:
        self._size = size
        self._program = program
        self._flags = flags
        self._home = Path(tempfile.mkdtemp(prefix="glass-"))
        self._ids = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[dict[str, Any]]] = {}
        self.console: list[str] = []
        """Errors and warnings the page wrote."""

    async def __aenter__(self) -> Self:
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        width, height = self._size
        self.process = subprocess.Popen(
            [
                self._program,
                *FLAGS,
                *self._flags,
                *root,
                f"--user-data-dir={self._home}",
                f"--window-size={width},{height}",
                "about:blank",
            ],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self._socket = await self._attach()
        self._reader = asyncio.create_task(self._read())
        await self.call("Page.enable")
        await self.call("Runtime.enable")
        await self.call(
            "Emulation.setDeviceMetricsOverride",
            width=width,
            height=height,
            deviceScaleFactor=1,
            mobile=False,
        )
        await self.call("Page.addScriptToEvaluateOnNewDocument", source=PROBE)
        return self

    async def __aexit__(self, *_: object) -> None:
        try:
            await asyncio.wait_for(self.call("Browser.close"), 3)
        except (TimeoutError, OSError, RuntimeError, ConnectionClosed, asyncio.CancelledError):
            self.process.kill()
        self._reader.cancel()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self._home, ignore_errors=True)

    async def _attach(self) -> ClientConnection:
        port_file = self._home / "DevToolsActivePort"
        for _ in range(400):
            if port_file.exists() and len(lines := port_file.read_text().split()) == 2:
                break
            await asyncio.sleep(0.05)
        else:
            raise RuntimeError("Chromium did not start within 20 s")
        url = f"http://127.0.0.1:{lines[0]}/json"
        pages = json.load(urllib.request.urlopen(url, timeout=5))
        page = next(p for p in pages if p["type"] == "page")
        return await connect(page["webSocketDebuggerUrl"], max_size=None, compression=None)

    async def _read(self) -> None:
        async for text in self._socket:
            message = json.loads(text)
            future = self._waiting.pop(message.get("id", 0), None)
            if future is not None and not future.done():
                future.set_result(message)
            elif message.get("method") == "Runtime.exceptionThrown":
                details = message["params"]["exceptionDetails"]
                thrown = details.get("exception", {}).get("description")
                self.console.append(thrown or details["text"])
            elif message.get("method") == "Runtime.consoleAPICalled":
                kind, given = message["params"]["type"], message["params"]["args"]
                if kind in ("error", "warning"):
                    self.console.append(" ".join(str(a.get("value", "")) for a in given))

    async def call(self, method: str, **parameters: object) -> dict[str, Any]:
        """One DevTools command."""
        number = next(self._ids)
        future = asyncio.get_running_loop().create_future()
        self._waiting[number] = future
        await self._socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
        answer = await asyncio.wait_for(future, 30)
        if "error" in answer:
            raise RuntimeError(f"{method}: {answer['error']['message']}")
        return answer["result"]

    async def evaluate(self, expression: str) -> Any:
        """The value of a JavaScript expression; promises are awaited."""
        result = await self.call(
            "Runtime.evaluate",
            expression=expression,
            awaitPromise=True,
            returnByValue=True,
            userGesture=True,
        )
        if "exceptionDetails" in result:
            details = result["exceptionDetails"]
            raise RuntimeError(details.get("exception", {}).get("description", details["text"]))
        return result["result"].get("value")

    async def probe(self, expression: str) -> Any:
        """The same, with ``p`` as the probe's object."""
        return await self.evaluate(f"(p => {expression})({PROBE_OBJECT})")

    async def navigate(self, url: str) -> float:
        """Open *url*; returns the monotonic time of the start."""
        began = time.monotonic()
        await self.call("Page.navigate", url=url)
        return began

    async def mouse(self, kind: str, x: float, y: float, **more: object) -> None:
        """One mouse event through the whole browser."""
        await self.call("Input.dispatchMouseEvent", type=kind, x=x, y=y, **more)

    async def screenshot(self, path: Path) -> None:
        """The page as PNG."""
        import base64

        shot = await self.call("Page.captureScreenshot", format="png")
        path.write_bytes(base64.b64decode(shot["data"]))
