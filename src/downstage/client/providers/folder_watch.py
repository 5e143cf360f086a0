"""One folder of this machine, watched from the moment that this is made: inotify, by a thread."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path
from typing import Any

__all__ = ["FolderWatch"]

QUIET_MS = 50
"""Events that come within this of another are told as one."""
STEP_MS = 10
LOOK_MS = 1000
"""The thread looks this often whether it is to end."""


class FolderWatch:
    """Make it in a thread: it asks the system.

    Args:
        folder: to watch, not what lies below its folders.
        loop: of whoever awaits `happened`.

    Raises:
        OSError: the folder is not there.
    """

    def __init__(self, folder: Path, loop: asyncio.AbstractEventLoop) -> None:
        # The way that watchfiles documents for those who need to know when watching began.
        from watchfiles._rust_notify import RustNotify

        self._notify: Any = RustNotify([str(folder)], False, False, 0, False, False)
        self._loop = loop
        self._stop = threading.Event()
        self._told = asyncio.Event()
        self._is_over = False
        self._thread = threading.Thread(target=self._run, name="downstage-watch", daemon=True)
        self._thread.start()

    async def happened(self) -> bool:
        """Wait until something happened; False once it was stopped."""
        await self._told.wait()
        self._told.clear()
        return not self._is_over

    def stop(self) -> None:
        """End the thread, some milliseconds later."""
        self._stop.set()

    def _run(self) -> None:
        while not self._stop.is_set():
            found = self._notify.watch(QUIET_MS, STEP_MS, LOOK_MS, self._stop)
            if found in {"stop", "signal"}:
                break
            if found != "timeout":
                self._tell(is_over=False)
        self._notify.close()
        self._tell(is_over=True)

    def _tell(self, *, is_over: bool) -> None:
        try:
            self._loop.call_soon_threadsafe(self._set, is_over)
        except RuntimeError:
            return  # the loop has ended

    def _set(self, is_over: bool) -> None:
        self._is_over = self._is_over or is_over
        self._told.set()
