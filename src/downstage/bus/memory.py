"""The bus of one process: a bounded queue for each subscriber, the oldest dropped first."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager

from downstage.bus.bus import Message, check_subject, decode, encode
from downstage.bus.mailbox import QUEUE, Mailbox

__all__ = ["QUEUE", "MemoryBus", "fits"]


def fits(pattern: str, subject: str) -> bool:
    """Whether *subject* falls under *pattern* (``a.*.c``, ``a.>``)."""
    wanted, parts = pattern.split("."), subject.split(".")
    for at, part in enumerate(wanted):
        if part == ">" and at == len(wanted) - 1:
            return len(parts) > at
        if at >= len(parts) or part not in ("*", parts[at]):
            return False
    return len(wanted) == len(parts)


class MemoryBus:
    """Delivers within one event loop; publish and subscribe from that loop alone."""

    def __init__(self) -> None:
        self._subscriptions: set[Mailbox] = set()

    def publish(self, subject: str, payload: Mapping[str, object]) -> None:
        """Queue a copy for every subscriber whose pattern fits."""
        check_subject(subject)
        # Through JSON, as between processes: what works here works there, and nothing is shared.
        data = encode(payload)
        for subscription in self._subscriptions:
            if fits(subscription.pattern, subject):
                subscription.push(Message(subject, decode(data)))

    @asynccontextmanager
    async def subscribe(self, pattern: str) -> AsyncGenerator[AsyncIterator[Message]]:
        """Listen from the moment of entering until leaving."""
        subscription = Mailbox(pattern)
        self._subscriptions.add(subscription)
        try:
            yield subscription
        finally:
            self._subscriptions.discard(subscription)
