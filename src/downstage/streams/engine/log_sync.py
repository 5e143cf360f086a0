"""The log of our own engine, brought to the disk each second.

Told to do that itself (``appendfsync everysec``) an engine holds back what it has to write for as
long as a sync goes on, up to two seconds, and answers all the same: a crash of its process would
lose what was acknowledged meanwhile. So ours writes before it answers and never syncs
(``appendfsync no``), and this does. Then a crash of the process loses nothing, ever.
"""

from __future__ import annotations

import os
import time
from pathlib import Path

import anyio
import anyio.to_thread

from downstage.kernel.logging import get_logger

__all__ = ["LogSync"]

EVERY_S = 1.0
SLOW_S = 2.0
log = get_logger(__name__)


class LogSync:
    """Syncs the files of a log that have changed.

    Args:
        folder: of the log; may come later.
    """

    def __init__(self, folder: Path) -> None:
        self.syncs = 0
        """Files that were synced."""
        self._folder = folder
        self._synced: dict[str, tuple[int, int]] = {}
        self._is_slow = False

    async def run(self) -> None:
        """Each second, until cancelled."""
        while True:
            await anyio.sleep(EVERY_S)
            await anyio.to_thread.run_sync(self.sync)

    def sync(self) -> None:
        """Once; blocks for as long as the disk takes."""
        began = time.monotonic()
        try:
            found = {entry.path: entry.stat() for entry in os.scandir(self._folder)}
        except OSError:
            return  # not there yet
        states = {path: (stat.st_size, stat.st_mtime_ns) for path, stat in found.items()}
        for path, state in states.items():
            if self._synced.get(path) != state:
                self._sync_one(path)
        self._synced = states
        is_slow = time.monotonic() - began > SLOW_S
        if is_slow and not self._is_slow:
            log.warning("engine.sync_slow", seconds=round(time.monotonic() - began, 1))
        self._is_slow = is_slow

    def _sync_one(self, path: str) -> None:
        try:
            file = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        except OSError:
            return  # the log was rewritten just now
        try:
            os.fdatasync(file)
            self.syncs += 1
        except OSError as error:
            log.error("engine.sync_failed", why=str(error))  # noqa: TRY400 - no defect of ours
        finally:
            os.close(file)
