"""All parts of the store, and which stream belongs to which."""

from __future__ import annotations

from binascii import crc32
from collections.abc import Callable

import anyio
import anyio.abc

from downstage.kernel.errors import PlatformError, Unavailable
from downstage.streams.engine import Engine
from downstage.streams.guard import Guard
from downstage.streams.model import Durability, StreamSpec
from downstage.streams.part import PARTS, Part

__all__ = ["Parts"]

DURABLE_TAG = b"{durable}"


class Parts:
    """Made once the engine is known: a cluster has as many as `PARTS`, everything else one.

    Durable streams have a part of their own, on the engine for them, once there is one.
    """

    def __init__(self, engine: Engine, process: str, high: int, tasks: anyio.abc.TaskGroup) -> None:
        if not engine.shards:
            raise Unavailable(engine.state.detail or "The engine of streams was not reached yet.")
        self.engine = engine
        self.on_new: set[Callable[[Part], None]] = set()
        self.process = process
        """Name of this process."""
        self._high = high
        self._tasks = tasks
        tags = [b"{%d}" % n for n in range(PARTS)] if engine.is_cluster else [b""]
        self._main = [self._make(tag, durable=False) for tag in tags]
        self._durable: Part | None = None
        self._guards: dict[Part, Guard] = {}
        self._find_durable()

    @property
    def all(self) -> tuple[Part, ...]:
        """Every part that there is now."""
        return (*self._main, *((self._durable,) if self._durable else ()))

    @property
    def homes(self) -> tuple[Part, ...]:
        """Where the index lies: one part of each engine."""
        return (self._main[0], *((self._durable,) if self._durable else ()))

    def home(self, spec: StreamSpec) -> Part:
        """Where the index keeps a stream with *spec*."""
        return self.homes[-1] if spec.durability is Durability.ALWAYS else self._main[0]

    def of(self, tenant: str, name: str, spec: StreamSpec) -> Part:
        """Where a stream is."""
        if spec.durability is Durability.ALWAYS and self._durable is not None:
            return self._durable
        if len(self._main) == 1:
            return self._main[0]
        return self._main[crc32(f"{tenant}/{name}".encode()) % len(self._main)]

    def guard(self, part: Part) -> Guard:
        """What appends guardedly into *part*."""
        found = self._guards.get(part)
        if found is None:
            found = self._guards[part] = Guard(part)
        return found

    async def prepare_durable(self) -> None:
        """See that there is a part for durable streams.

        Raises:
            DurabilityUnavailable: the engine is somebody's own and cannot.
        """
        await self.engine.prepare_durable()
        self._find_durable()

    def _find_durable(self) -> None:
        if self._durable is not None:
            return
        try:
            self.engine.shard_of(DURABLE_TAG, durable=True)
        except PlatformError:
            return
        self._durable = self._make(DURABLE_TAG, durable=True)

    def _make(self, tag: bytes, *, durable: bool) -> Part:
        part = Part(self.engine, tag, self.process, self._high, durable=durable)
        self._tasks.start_soon(part.run)
        for tell in tuple(self.on_new):
            tell(part)
        return part

    @property
    def in_flight(self) -> int:
        """Bytes that engines have not answered yet."""
        return sum(part.outbox.in_flight + part.copied.in_flight for part in self.all)

    @property
    def lost(self) -> int:
        """Entries that nobody waited for and whose fate is unknown."""
        return sum(part.outbox.lost + part.copied.lost for part in self.all)

    def expire(self, now: float) -> None:
        """Refuse what has waited too long for an engine that is away."""
        for part in self.all:
            part.expire(now)

    def close(self) -> None:
        """Answer everything that waits."""
        for part in self.all:
            part.give_up()
        for guard in self._guards.values():
            guard.close()
