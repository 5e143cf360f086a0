"""Entries between the task that receives them and whoever takes them. Bounded."""

from __future__ import annotations

import asyncio
from collections import deque

from downstage.client.streams.model import Entry
from downstage.kernel.errors import PlatformError

__all__ = ["Buffer"]

MOST_BYTES = 16 << 20
MOST = 1024


class Buffer:
    """For one reader.

    Args:
        latest: keep the newest entry of each stream alone.

    Attributes:
        skipped: entries that gave way to newer ones.
    """

    def __init__(self, *, latest: bool) -> None:
        self.skipped = 0
        self._latest = latest
        self._entries: deque[Entry] = deque()
        self._bytes = 0
        self._changed = asyncio.Event()
        self._error: PlatformError | None = None
        self._is_ended = False

    @property
    def is_empty(self) -> bool:
        """Whether `take` would wait."""
        return not self._entries

    async def put(self, entry: Entry) -> None:
        """Add *entry* as soon as there is room."""
        if self._latest:
            for other in self._entries:
                if other.stream == entry.stream:
                    self._entries.remove(other)
                    self._bytes -= len(other.data)
                    self.skipped += 1
                    break
        while self._entries and (self._bytes > MOST_BYTES or len(self._entries) >= MOST):
            self._changed.clear()
            await self._changed.wait()
        self._entries.append(entry)
        self._bytes += len(entry.data)
        self._changed.set()

    async def take(self, most: int) -> list[Entry]:
        """At least one of them, in order; none: nothing will come.

        Raises:
            PlatformError: why nothing will come.
        """
        while not self._entries:
            if self._is_ended:
                if self._error is not None:
                    raise self._error
                return []
            self._changed.clear()
            await self._changed.wait()
        found = [self._entries.popleft() for _ in range(min(most, len(self._entries)))]
        self._bytes -= sum(len(entry.data) for entry in found)
        self._changed.set()
        return found

    def end(self, error: PlatformError | None) -> None:
        """Nothing more will come."""
        self._is_ended, self._error = True, error
        self._changed.set()

    def reopen(self) -> None:
        """More may come."""
        self._is_ended, self._error = False, None
