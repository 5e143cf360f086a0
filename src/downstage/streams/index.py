"""Which streams there are and what they are described as: kept in the engine, cached here.

Every change raises a counter of the tenant. Other processes learn of it by a hint on the bus; since
hints may be lost the counters are looked at each second, and before every answer that must be true.
"""

from __future__ import annotations

import time
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any, Literal, cast

import anyio

from downstage.bus import Bus
from downstage.kernel.errors import PlatformError, QuotaReached
from downstage.kernel.logging import get_logger
from downstage.streams import specs
from downstage.streams.engine import encode
from downstage.streams.model import StreamSpec
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.pipeline import gather, transact

__all__ = ["Catalog", "Change", "Index"]

SUBJECT = "streams.index"
POLL_S = 1.0
MOST_CHANGES = 1024
MULTI, EXEC = encode("MULTI"), encode("EXEC")
What = Literal["made", "described", "gone", "gap"]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Change:
    """Something happened to the index of streams, in any process."""

    tenant: str
    stream: str
    what: What
    """``gap``: changes may have been missed; list again. Tenant and stream are empty then."""


@dataclass(slots=True)
class Catalog:
    """Streams of one tenant."""

    tenant: str
    made: dict[str, int] = field(default_factory=dict[str, int])
    """Streams that were appended to → when they were made, ms."""
    specs: dict[str, StreamSpec] = field(default_factory=dict[str, StreamSpec])
    versions: tuple[int, ...] = ()
    """One for each home; empty: not read yet."""

    def spec(self, name: str) -> StreamSpec:
        """What *name* is described as."""
        return self.specs.get(name) or PLAIN


PLAIN = StreamSpec()


class Index:
    """Every tenant's catalog, as far as somebody asked for it.

    Args:
        parts: where it is kept.
        bus: tells other processes.
        process: name of this one.
        most: streams that a tenant may have.
    """

    def __init__(self, parts: Parts, bus: Bus, process: str, most: int) -> None:
        self.on_change: set[Callable[[Change], None]] = set()
        self._parts = parts
        self._bus = bus
        self._process = process
        self._most = most
        self._catalogs: dict[str, Catalog] = {}
        self._locks: dict[str, anyio.Lock] = {}

    # --- reading -------------------------------------------------------------------------------

    def cached(self, tenant: str) -> Catalog | None:
        """What is known here; at most a second old, or so."""
        found = self._catalogs.get(tenant)
        return found if found is not None and found.versions else None

    async def catalog(self, tenant: str) -> Catalog:
        """The same, read where it is not known."""
        return self.cached(tenant) or await self.fresh(tenant)

    async def fresh(self, tenant: str) -> Catalog:
        """As it is now.

        Raises:
            NotReady: the engine does not answer.
        """
        async with self._lock(tenant):
            found = self._catalogs.get(tenant)
            homes = self._parts.homes
            versions = tuple([await _version(home, tenant) for home in homes])
            if found is None or found.versions != versions:
                found = await self._read(tenant, versions)
            return found

    async def spec(self, tenant: str, name: str) -> StreamSpec:
        """What *name* is described as now, whoever has just done it.

        Raises:
            NotReady: the engine does not answer.
        """
        for home in self._parts.homes:
            text = await home.command.call("HGET", home.keys.specs(tenant), name)
            if text is not None:
                return specs.load(bytes(text))
        return PLAIN

    async def is_made(self, tenant: str, name: str) -> bool:
        """Whether *name* is appended to, whoever has just done it.

        Raises:
            NotReady: the engine does not answer.
        """
        for home in self._parts.homes:
            if await home.command.call("HEXISTS", home.keys.made(tenant), name):
                return True
        return False

    async def _read(self, tenant: str, versions: tuple[int, ...]) -> Catalog:
        made: dict[str, int] = {}
        described: dict[str, StreamSpec] = {}
        for home in self._parts.homes:
            keys = home.keys
            all_made, all_specs = await transact(
                home.command,
                [encode("HGETALL", keys.made(tenant)), encode("HGETALL", keys.specs(tenant))],
            )
            made |= {name: int(at) for name, at in _text_pairs(all_made)}
            described |= {name: specs.load(text) for name, text in _text_pairs(all_specs)}
        found = self._catalogs.setdefault(tenant, Catalog(tenant))
        is_first = not found.versions
        before = (found.made, found.specs)
        found.made, found.specs, found.versions = made, described, versions
        if not is_first:
            self._tell_differences(tenant, *before, found)
        return found

    def _tell_differences(
        self, tenant: str, made: dict[str, int], described: dict[str, StreamSpec], now: Catalog
    ) -> None:
        for name in made.keys() - now.made.keys():
            self._tell(Change(tenant, name, "gone"))
        for name, at in now.made.items():
            if made.get(name) != at:
                if name in made:
                    self._tell(Change(tenant, name, "gone"))
                self._tell(Change(tenant, name, "made"))
        for name in described.keys() | now.specs.keys():
            if described.get(name) != now.specs.get(name):
                self._tell(Change(tenant, name, "described"))

    # --- changing --------------------------------------------------------------------------------

    async def make(self, tenant: str, name: str, spec: StreamSpec) -> int:
        """Note that *name* is appended to; when that was first so, ms.

        Raises:
            QuotaReached: the tenant has as many streams as it may.
            StoreFull, NotReady: the engine.
        """
        catalog = await self.catalog(tenant)
        if name in catalog.made:
            # It may have been deleted by another process that was not heard of yet.
            catalog = await self.fresh(tenant)
        if name in catalog.made:
            return catalog.made[name]
        home = self._parts.home(spec)
        keys, now = home.keys, time.time_ns() // 1_000_000
        is_new, at, count, version, _ = await self._transact(
            home,
            [
                encode("HSETNX", keys.made(tenant), name, now),
                encode("HGET", keys.made(tenant), name),
                encode("HLEN", keys.made(tenant)),
                encode("INCR", keys.version(tenant)),
                encode("SADD", keys.tenants(), tenant),
            ],
        )
        if is_new and count > self._most:
            await self._transact(
                home,
                [encode("HDEL", keys.made(tenant), name), encode("INCR", keys.version(tenant))],
            )
            raise QuotaReached(f"There may be {self._most} streams, and there are.", stream=name)
        catalog.made[name] = int(at)
        self._changed(catalog, home, int(version), Change(tenant, name, "made"), quiet=not is_new)
        return int(at)

    async def describe(self, tenant: str, name: str, spec: StreamSpec, before: StreamSpec) -> None:
        """Keep *spec*.

        Raises:
            QuotaReached: as many streams are described as there may be.
        """
        catalog = await self.catalog(tenant)
        known = catalog.specs.keys() | catalog.made.keys()
        if name not in known and len(known) >= self._most:
            raise QuotaReached(f"There may be {self._most} streams, and there are.", stream=name)
        home, old = self._parts.home(spec), self._parts.home(before)
        text = specs.dump(spec)
        if old is not home:
            await self._transact(
                old,
                [
                    encode("HDEL", old.keys.specs(tenant), name),
                    encode("INCR", old.keys.version(tenant)),
                ],
            )
        _, version, _ = await self._transact(
            home,
            [
                encode("HSET", home.keys.specs(tenant), name, text),
                encode("INCR", home.keys.version(tenant)),
                encode("SADD", home.keys.tenants(), tenant),
            ],
        )
        catalog.specs[name] = spec
        self._changed(catalog, home, int(version), Change(tenant, name, "described"))

    async def remove(self, tenant: str, name: str) -> bool:
        """Forget *name*; whether it was described."""
        catalog = await self.catalog(tenant)
        was_described = False
        for home in self._parts.homes:
            keys = home.keys
            _, gone, version = await self._transact(
                home,
                [
                    encode("HDEL", keys.made(tenant), name),
                    encode("HDEL", keys.specs(tenant), name),
                    encode("INCR", keys.version(tenant)),
                ],
            )
            was_described = was_described or bool(gone)
            self._note_version(catalog, home, int(version))
        catalog.made.pop(name, None)
        catalog.specs.pop(name, None)
        self._publish(Change(tenant, name, "gone"))
        return was_described

    async def tenants(self) -> list[str]:
        """All that have streams."""
        found = set[str]()
        for home in self._parts.homes:
            found |= {
                bytes(name).decode()
                for name in await home.command.call("SMEMBERS", home.keys.tenants())
            }
        return sorted(found)

    async def _transact(self, home: Part, commands: list[bytes]) -> list[Any]:
        replies = await gather(home.command, [MULTI, *commands, EXEC])
        if not isinstance(replies[-1], list):
            raise next(reply for reply in replies if isinstance(reply, PlatformError))
        return cast("list[Any]", replies[-1])

    def _changed(
        self, catalog: Catalog, home: Part, version: int, change: Change, *, quiet: bool = False
    ) -> None:
        self._note_version(catalog, home, version)
        if not quiet:
            self._publish(change)

    def _note_version(self, catalog: Catalog, home: Part, version: int) -> None:
        at = self._parts.homes.index(home)
        versions = list(catalog.versions)
        # Another number means that another process changed something, too: read again then.
        if at < len(versions) and versions[at] == version - 1:
            versions[at] = version
            catalog.versions = tuple(versions)

    # --- other processes -------------------------------------------------------------------------

    def _publish(self, change: Change) -> None:
        self._tell(change)
        self._bus.publish(SUBJECT, {"tenant": change.tenant, "process": self._process})

    def _tell(self, change: Change) -> None:
        for tell in tuple(self.on_change):
            tell(change)

    async def listen(self) -> None:
        """Follow the hints of other processes, until cancelled."""
        async with self._bus.subscribe(SUBJECT) as messages:
            async for message in messages:
                if message.payload.get("process") == self._process and not message.gap:
                    continue
                tenant = message.payload.get("tenant")
                names = list(self._catalogs) if message.gap else [str(tenant)]
                await self._look(names)

    async def poll(self) -> None:
        """Look at the counters, for hints that were lost, until cancelled."""
        while True:
            await anyio.sleep(POLL_S)
            await self._look(list(self._catalogs))

    async def _look(self, tenants: list[str]) -> None:
        for tenant in tenants:
            if self.cached(tenant) is not None:
                try:
                    await self.fresh(tenant)
                except PlatformError as error:
                    log.debug("streams.index_not_read", why=error.detail)
                    return

    @asynccontextmanager
    async def changes(self) -> AsyncGenerator[AsyncIterator[Change]]:
        """What happens from now on; bounded, see `Change.what`."""
        send, receive = anyio.create_memory_object_stream[Change](MOST_CHANGES)
        missed = False

        def tell(change: Change) -> None:
            nonlocal missed
            try:
                if missed:
                    send.send_nowait(Change("", "", "gap"))
                    missed = False
                send.send_nowait(change)
            except anyio.WouldBlock:
                missed = True

        self.on_change.add(tell)
        try:
            yield receive
        finally:
            self.on_change.discard(tell)
            send.close()
            receive.close()

    def _lock(self, tenant: str) -> anyio.Lock:
        return self._locks.setdefault(tenant, anyio.Lock())


async def _version(home: Part, tenant: str) -> int:
    return int(await home.command.call("GET", home.keys.version(tenant)) or 0)


def _text_pairs(flat: list[bytes]) -> list[tuple[str, bytes]]:
    return [(flat[at].decode(), flat[at + 1]) for at in range(0, len(flat), 2)]
