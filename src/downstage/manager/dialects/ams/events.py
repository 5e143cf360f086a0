"""What happens, told to who listens in the same tenant: operations, and lives of instances.

Each event has a number that grows by one; the newest are kept, so that a client that was cut off
asks for what came after the last it saw (``?since=``), and is told where some are lost.
"""

from __future__ import annotations

from collections import deque
from collections.abc import AsyncGenerator, Collection
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import anyio

__all__ = ["EventHub", "Kind", "Listener"]

Kind = Literal["operation", "lifecycle"]
KEPT = 1000
WAITING = 1000
"""Events that wait for one listener; one that is slower is cut off."""


@dataclass(slots=True, eq=False)
class Listener:
    """Somebody who is told of one tenant; `is_behind` once it was too slow."""

    tenant: str
    kinds: Collection[Kind]
    waiting: deque[dict[str, Any]] = field(default_factory=deque[dict[str, Any]])
    is_behind: bool = False
    news: anyio.Event = field(default_factory=anyio.Event)

    async def next(self) -> dict[str, Any] | None:
        """The next event; None once it was cut off."""
        while not self.waiting:
            if self.is_behind:
                return None
            await self.news.wait()
            self.news = anyio.Event()
        return self.waiting.popleft()


class EventHub:
    """Publishes events to listeners; nothing here waits."""

    def __init__(self) -> None:
        self._listeners: set[Listener] = set()
        self._kept: deque[tuple[str, dict[str, Any]]] = deque(maxlen=KEPT)
        self._number = 0

    def tell(self, kind: Kind, tenant: str, metadata: dict[str, Any]) -> None:
        """Something happened, which concerns *tenant* alone."""
        self._number += 1
        event = {
            "type": kind,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "metadata": metadata,
            "sequence": self._number,
        }
        self._kept.append((tenant, event))
        for listener in self._listeners:
            _hand(listener, tenant, event)

    @asynccontextmanager
    async def listen(
        self, tenant: str, kinds: Collection[Kind], since: int | None = None
    ) -> AsyncGenerator[Listener]:
        """Be told of *kinds* until the block ends; after *since* where it is given."""
        listener = Listener(tenant, kinds)
        if since is not None:
            for whose, event in self._kept:
                if event["sequence"] > since:
                    _hand(listener, whose, event)
        self._listeners.add(listener)
        try:
            yield listener
        finally:
            self._listeners.discard(listener)


def _hand(listener: Listener, tenant: str, event: dict[str, Any]) -> None:
    if listener.tenant != tenant or event["type"] not in listener.kinds or listener.is_behind:
        return
    if len(listener.waiting) >= WAITING:
        listener.is_behind = True
    else:
        listener.waiting.append(event)
    listener.news.set()
