"""What the tests of the store share: callers, and a sink that does as it is told."""

from __future__ import annotations

import uuid
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from downstage.kernel.errors import PlatformError
from downstage.streams.engine import Engine
from downstage.streams.model import AUTO, Caller, EntryId, Grant, Receipt, Right
from downstage.streams.reading import Delivery
from downstage.streams.service import Item, Streams

ALL = Right.READ | Right.WRITE | Right.RECORD | Right.ADMIN
DEADLINE_S = 20


@dataclass(frozen=True)
class Store:
    """Streams on some engine."""

    kind: str
    engine: Engine
    streams: Streams


def caller_of(tenant: str | None = None, *grants: tuple[str, Right]) -> Caller:
    """Somebody of *tenant* (a new one) with *grants* (everything)."""
    given = grants or (("*", ALL),)
    return Caller(
        "someone", "Someone", tenant or uuid.uuid4().hex, tuple(Grant(*each) for each in given)
    )


def items(stream: str, *payloads: bytes) -> list[Item]:
    """Entries of one stream whose ids the engine gives."""
    return [(stream, AUTO, payload) for payload in payloads]


async def push(streams: Streams, caller: Caller, stream: str, *payloads: bytes) -> Receipt:
    """Append *payloads* at once."""
    return await streams.append(caller, items(stream, *payloads))


@dataclass
class Collector:
    """A sink that keeps everything; it can be slow, and it can hold back."""

    is_stuck: bool = False
    """What is delivered does not leave: it counts as buffered."""
    is_ready: bool = True
    deliveries: list[Delivery] = field(default_factory=list[Delivery])
    gaps: list[tuple[str, int | None, EntryId]] = field(
        default_factory=list[tuple[str, int | None, EntryId]]
    )
    error: PlatformError | None = None
    on_drained: Callable[[], None] | None = None
    one_at_a_time: bool = False
    """Not ready after each delivery, as a client that acknowledges."""
    _waiting: int = 0
    _event: anyio.Event = field(default_factory=anyio.Event)

    def deliver(self, delivery: Delivery) -> None:
        assert self.error is None, "delivered after the end"
        self.deliveries.append(delivery)
        if self.is_stuck:
            self._waiting += delivery.size
        if self.one_at_a_time:
            self.is_ready = False
        self._event.set()

    def buffered(self) -> int:
        return self._waiting

    def ready(self) -> bool:
        return self.is_ready

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        self.gaps.append((stream, lost, after))
        self._event.set()

    def failed(self, error: PlatformError) -> None:
        self.error = error
        self._event.set()

    def drain(self) -> None:
        """What waited has left."""
        self.is_stuck, self._waiting = False, 0
        if self.on_drained is not None:
            self.on_drained()

    @property
    def rows(self) -> list[tuple[str, bytes, bytes]]:
        """Everything that came, in order."""
        return [row for delivery in self.deliveries for row in delivery.rows]

    @property
    def payloads(self) -> list[bytes]:
        """Of everything that came."""
        return [row[2] for row in self.rows]

    async def wait(self, is_so: Callable[[], bool]) -> None:
        """Return once *is_so*; something must come meanwhile."""
        with anyio.fail_after(DEADLINE_S):
            while not is_so():
                self._event = anyio.Event()
                await self._event.wait()

    async def wait_for(self, count: int) -> list[bytes]:
        """Payloads, once there are *count*."""
        await self.wait(lambda: len(self.rows) >= count or self.error is not None)
        assert self.error is None, self.error
        return self.payloads


async def until(is_so: Callable[[], bool]) -> None:
    """Return once *is_so*, which nothing tells."""
    with anyio.fail_after(DEADLINE_S):
        while not is_so():
            await anyio.sleep(0.005)
