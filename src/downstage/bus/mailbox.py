"""What waits for one subscriber: bounded, the oldest dropped first, and it is told of it."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncIterator
from dataclasses import replace

import anyio

from downstage.bus.bus import Message

__all__ = ["QUEUE", "Mailbox"]

QUEUE = 1024
"""Messages held for a slow subscriber; then the oldest go and the next one says so."""


class Mailbox:
    """Messages of one subscription; iterate from one task."""

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._queue: deque[Message] = deque()
        self._gap = False
        self._arrived = anyio.Event()

    def push(self, message: Message) -> None:
        """Add *message*; never waits."""
        if len(self._queue) >= QUEUE:
            self._queue.popleft()
            self._gap = True
        self._queue.append(message)
        self._arrived.set()

    def push_gap(self) -> None:
        """Say that something was lost, with the next message or with one of its own."""
        if self._queue:
            self._gap = True
        else:
            self.push(Message("", {}, gap=True))

    def __aiter__(self) -> AsyncIterator[Message]:
        """Itself."""
        return self

    async def __anext__(self) -> Message:
        """The next message; waits for it."""
        while not self._queue:
            self._arrived = anyio.Event()
            await self._arrived.wait()
        message = self._queue.popleft()
        if not self._gap:
            return message
        self._gap = False
        return replace(message, gap=True)
