"""A desk: a display of its own with one application on it, eyes on the picture, two hands."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias

import anyio
import numpy as np
import pytest
from numpy.typing import NDArray
from Xlib import XK, X
from Xlib.display import Display
from Xlib.error import BadWindow
from Xlib.ext import xtest

from downstage.apps.test_card.strip import CELLS, Reading, cell_bounds, read_strip
from downstage.media.source import randr
from downstage.media.source.geometry import Size
from downstage.testing.streaming import XDisplay, run_program

Picture: TypeAlias = NDArray[np.uint8]
TICKS = os.sysconf("SC_CLK_TCK")


@dataclass
class Desk:
    """An application on a display, and what a person can do there."""

    process: subprocess.Popen[bytes]
    display: Any

    def look(self) -> Picture:
        """The whole display now: (height, width, 3), red first."""
        root = self.display.screen().root
        shape = root.get_geometry()
        image = root.get_image(0, 0, shape.width, shape.height, X.ZPixmap, 0xFFFFFFFF)
        rows = np.frombuffer(image.data, dtype=np.uint8).reshape(shape.height, shape.width, 4)
        return rows[:, :, 2::-1]

    def strip(self) -> Reading | None:
        """What the strip says now."""
        picture = self.look()
        row = picture[max(1, picture.shape[0] // 60), :, 1]
        middles = [sum(cell_bounds(index, len(row))) // 2 for index in range(CELLS)]
        return read_strip([bool(row[middle] > 127) for middle in middles])

    async def until(self, claim: Callable[[], object], within_s: float = 20.0) -> None:
        """Look again and again until *claim* holds."""
        with anyio.fail_after(within_s):
            while not claim():
                assert self.process.poll() is None, "the application has ended"
                await anyio.sleep(0.03)

    def press(self, x: int, y: int, button: int = 1) -> None:
        """Click."""
        xtest.fake_input(self.display, X.MotionNotify, x=x, y=y)
        xtest.fake_input(self.display, X.ButtonPress, button)
        xtest.fake_input(self.display, X.ButtonRelease, button)
        self.display.sync()

    def drag(self, start: tuple[int, int], end: tuple[int, int]) -> None:
        """Press, move, let go."""
        xtest.fake_input(self.display, X.MotionNotify, x=start[0], y=start[1])
        xtest.fake_input(self.display, X.ButtonPress, 1)
        for part in (0.3, 0.6, 1.0):
            x, y = (round(a + (b - a) * part) for a, b in zip(start, end, strict=True))
            xtest.fake_input(self.display, X.MotionNotify, x=x, y=y)
        xtest.fake_input(self.display, X.ButtonRelease, 1)
        self.display.sync()

    def type(self, key: str) -> None:
        """Press and let go one key."""
        code = self.display.keysym_to_keycode(XK.string_to_keysym(key))
        xtest.fake_input(self.display, X.KeyPress, code)
        xtest.fake_input(self.display, X.KeyRelease, code)
        self.display.sync()

    def resize(self, width: int, height: int) -> None:
        """Change the display's size, and nothing else."""
        assert randr._set_mode(self.display, Size(width, height))
        self.display.sync()

    def title(self) -> str:
        """The name of the application's window."""
        name = self.display.intern_atom("_NET_WM_NAME")
        windows = self.display.screen().root.query_tree().children
        try:
            told = [window.get_full_text_property(name) for window in windows]
        except BadWindow:
            return ""
        return " ".join(str(text) for text in told if text)

    def cpu_s(self) -> float:
        """Processor time that the application has used."""
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / TICKS

    def wakes(self) -> int:
        """How often the application's main thread has gone to sleep so far."""
        status = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

    def rests(self) -> bool:
        """It neither used the processor nor woke up in half a second."""
        before = self.cpu_s(), self.wakes()
        time.sleep(0.5)
        return (self.cpu_s(), self.wakes()) == before


OpenDesk: TypeAlias = Callable[..., AbstractAsyncContextManager[Desk]]


@pytest.fixture
def desk(anyio_backend: str) -> OpenDesk:
    """Opens a desk: ``async with desk("test_card", "--still") as one: ...``."""
    assert anyio_backend == "asyncio"
    return _open


@asynccontextmanager
async def _open(
    application: str,
    *arguments: str,
    screen: str = "640x360",
    environment: dict[str, str] | None = None,
) -> AsyncIterator[Desk]:
    command = [sys.executable, "-m", f"downstage.apps.{application}", *arguments]
    async with XDisplay.start(f"{screen}x24") as server:
        variables = {
            "DISPLAY": server.name,
            "SDL_VIDEODRIVER": "x11",
            "SDL_FRAMEBUFFER_ACCELERATION": "0",
            "LP_NUM_THREADS": "1",
            **(environment or {}),
        }
        async with run_program(command, variables) as process:
            display = Display(server.name)
            try:
                yield Desk(process, display)
                process.terminate()
                await anyio.to_thread.run_sync(lambda: process.wait(timeout=5))
            finally:
                display.close()
