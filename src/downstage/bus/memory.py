"""The bus of one process: a bounded queue for each subscriber, the oldest dropped first."""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import replace

import anyio

from downstage.bus.bus import Message

__all__ = ["MemoryBus", "fits"]

QUEUE = 1024
"""Messages held for a slow subscriber; then the oldest go and the next one says so."""


def fits(pattern: str, subject: str) -> bool:
    """Whether *subject* falls under *pattern* (``a.*.c``, ``a.>``)."""
    wanted, parts = pattern.split("."), subject.split(".")
    for at, part in enumerate(wanted):
        if part == ">" and at == len(wanted) - 1:
            return len(parts) > at
        if at >= len(parts) or part not in ("*", parts[at]):
            return False
    return len(wanted) == len(parts)


class _Subscription:
    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self.queue: deque[Message] = deque()
        self.gap = False
        self.arrived = anyio.Event()

    def push(self, message: Message) -> None:
        if len(self.queue) >= QUEUE:
            self.queue.popleft()
            self.gap = True
        self.queue.append(message)
        self.arrived.set()

    def __aiter__(self) -> AsyncIterator[Message]:
        return self

    async def __anext__(self) -> Message:
        while not self.queue:
            self.arrived = anyio.Event()
            await self.arrived.wait()
        message = self.queue.popleft()
        if not self.gap:
            return message
        self.gap = False
        return replace(message, gap=True)


class MemoryBus:
    """Delivers within one event loop; publish and subscribe from that loop alone."""

    def __init__(self) -> None:
        self._subscriptions: set[_Subscription] = set()

    def publish(self, subject: str, payload: Mapping[str, object]) -> None:
        """Queue a copy for every subscriber whose pattern fits."""
        message = Message(subject, dict(payload))
        for subscription in self._subscriptions:
            if fits(subscription.pattern, subject):
                subscription.push(message)

    @asynccontextmanager
    async def subscribe(self, pattern: str) -> AsyncGenerator[AsyncIterator[Message]]:
        """Listen from the moment of entering until leaving."""
        subscription = _Subscription(pattern)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
