"""Handing work to a loop of another thread: what comes within one turn of it wakes it once."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable

__all__ = ["Turns"]


class Turns:
    """To one loop, from any thread; in order."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._lock = threading.Lock()
        self._waiting: list[Callable[[], None]] = []

    def put(self, work: Callable[[], None]) -> None:
        """Run *work* on the loop soon; it must not raise.

        Raises:
            RuntimeError: the loop has ended.
        """
        with self._lock:
            is_first = not self._waiting
            self._waiting.append(work)
        # Waking a loop costs a write to its pipe; for all that wait, one is enough.
        if is_first or self._loop.is_closed():
            self._loop.call_soon_threadsafe(self._run)

    def _run(self) -> None:
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for work in waiting:
            work()
