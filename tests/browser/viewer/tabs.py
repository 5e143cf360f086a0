"""One Chromium for all tests that need nothing special of it; each has a context of its own in it.

A context shares no cookies, storage or cache with any other, as a fresh browser would not; but
starting one takes a moment of a machine that is shared.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import shutil
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any, Self

from measuring.browser import FLAGS, PROBE, Browser
from websockets.asyncio.client import connect

__all__ = ["Tab", "end"]

START_S = 30.0


class _Chromium:
    """The process, and what is asked of it as a whole."""

    def __init__(self) -> None:
        self.home = Path(tempfile.mkdtemp(prefix="glass-"))
        root = ["--no-sandbox"] if os.geteuid() == 0 else []
        self.process = subprocess.Popen(
            ["/usr/bin/chromium", *FLAGS, *root, f"--user-data-dir={self.home}", "about:blank"],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.port, self._path = self._address()
        self._ids = itertools.count(1)

    def _address(self) -> tuple[str, str]:
        file, deadline = self.home / "DevToolsActivePort", time.monotonic() + START_S
        while time.monotonic() < deadline:
            if file.exists() and len(lines := file.read_text().split()) == 2:
                return lines[0], lines[1]
            time.sleep(0.02)
        raise RuntimeError(f"Chromium did not start within {START_S:.0f} s")

    async def ask(self, method: str, **parameters: object) -> dict[str, Any]:
        """One command to the browser itself."""
        number = next(self._ids)
        url = f"ws://127.0.0.1:{self.port}{self._path}"
        async with asyncio.timeout(START_S), connect(url, compression=None) as socket:
            await socket.send(json.dumps({"id": number, "method": method, "params": parameters}))
            async for text in socket:
                answer = json.loads(text)
                if answer.get("id") == number:
                    return answer["result"]
        raise RuntimeError(f"{method}: Chromium has ended")

    def end(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(5)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        shutil.rmtree(self.home, ignore_errors=True)


_running: _Chromium | None = None


def _chromium() -> _Chromium:
    """The one that runs; another where it has died."""
    global _running  # noqa: PLW0603 - one for all, whoever asks first
    if _running is not None and _running.process.poll() is not None:
        end()
    if _running is None:
        _running = _Chromium()
    return _running


def end() -> None:
    """End it, where it runs."""
    global _running  # noqa: PLW0603 - see above
    if _running is not None:
        _running.end()
        _running = None


class Tab(Browser):
    """What `Browser` is, in the Chromium that runs already."""

    async def __aenter__(self) -> Self:
        """Open the tab."""
        self._of = _chromium()
        self.process = self._of.process
        self._context = (await self._of.ask("Target.createBrowserContext"))["browserContextId"]
        made = await self._of.ask(
            "Target.createTarget", url="about:blank", browserContextId=self._context
        )
        url = f"ws://127.0.0.1:{self._of.port}/devtools/page/{made['targetId']}"
        self._socket = await connect(url, max_size=None, compression=None)
        self._reader = asyncio.create_task(self._read())
        width, height = self._size
        for method, parameters in (
            ("Page.enable", {}),
            ("Runtime.enable", {}),
            (
                "Emulation.setDeviceMetricsOverride",
                {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False},
            ),
            ("Page.addScriptToEvaluateOnNewDocument", {"source": PROBE}),
        ):
            await self.call(method, **parameters)
        return self

    async def __aexit__(self, *_: object) -> None:
        """Close it, and let nothing of it be remembered."""
        try:
            await self._of.ask("Target.disposeBrowserContext", browserContextId=self._context)
        except (OSError, RuntimeError, TimeoutError):
            end()  # it is of no use any more
        self._reader.cancel()
        await self._socket.close()
        shutil.rmtree(self._home, ignore_errors=True)
