"""Streams as they stand: listed, looked at, described, trimmed, deleted."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, cast

from downstage.kernel.errors import (
    Conflict,
    DurabilityUnavailable,
    InvalidField,
    NotFound,
)
from downstage.streams import names, specs
from downstage.streams.engine import NotReady, encode
from downstage.streams.index import Catalog, Index
from downstage.streams.model import (
    Caller,
    Durability,
    EntryId,
    Right,
    StreamInfo,
    StreamSpec,
)
from downstage.streams.outlets import RANK
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.pipeline import gather, transact, weigh
from downstage.streams.stats import Figures

__all__ = ["Deleted", "Listing"]

AT_ONCE = 16
"""Streams that are looked at together: the engine tells their first and last entries whole."""


@dataclass(frozen=True, slots=True)
class Deleted:
    """What was deleted of one stream."""

    described: bool
    """There was a description."""
    entries: int
    existed: bool
    """It held entries, or had held some."""


class Listing:
    """The way to streams as a whole."""

    def __init__(self, parts: Parts, index: Index, figures: Figures) -> None:
        self._parts = parts
        self._index = index
        self._figures = figures

    async def names(self, caller: Caller, pattern: str, *, everything: bool) -> list[str]:
        """Names that fit and may be read, sorted."""
        matcher = names.matcher(pattern)
        catalog = await self._index.fresh(caller.tenant)
        known = catalog.made.keys() | catalog.specs.keys() if everything else catalog.made.keys()
        return sorted(
            name for name in known if matcher.match(name) and Right.READ in caller.rights(name)
        )

    async def infos(self, caller: Caller, found: Sequence[str]) -> list[StreamInfo]:
        """What there is to say of streams, some at a time."""
        catalog = await self._index.catalog(caller.tenant)
        infos: list[StreamInfo] = []
        for at in range(0, len(found), AT_ONCE):
            by_part: dict[Part, list[str]] = {}
            for name in found[at : at + AT_ONCE]:
                part = self._parts.of(caller.tenant, name, catalog.spec(name))
                by_part.setdefault(part, []).append(name)
            for part, mine in by_part.items():
                infos += await self._look(catalog, part, mine)
        return sorted(infos, key=lambda info: info.name)

    async def _look(self, catalog: Catalog, part: Part, mine: list[str]) -> list[StreamInfo]:
        commands: list[bytes] = []
        for name in mine:
            key = part.keys.stream(catalog.tenant, name)
            commands += [encode("XINFO", "STREAM", key), weigh(key)]
        replies = await gather(part.command, commands)
        return [
            self._info(catalog, name, replies[2 * at], replies[2 * at + 1])
            for at, name in enumerate(mine)
        ]

    def _info(self, catalog: Catalog, name: str, engine: Any, size: Any) -> StreamInfo:
        if isinstance(engine, NotReady):
            raise engine
        facts: dict[str, Any] = {}
        if isinstance(engine, list):
            flat = cast("list[Any]", engine)
            pairs = zip(flat[::2], flat[1::2], strict=True)
            facts = {bytes(word).decode(): _plain(value) for word, value in pairs}
        figures = self._figures.of(catalog.tenant, name)
        first, last = facts.get("first-entry"), facts.get("last-generated-id")
        added = int(facts.get("entries-added", 0))
        at = catalog.made.get(name)
        return StreamInfo(
            name,
            catalog.spec(name),
            int(facts.get("length", 0)),
            EntryId.parse(first) if first else None,
            EntryId.parse(last) if last and last != "0-0" else None,
            added,
            size if isinstance(size, int) else 0,
            figures.sampled(added, time.monotonic()),
            datetime.fromtimestamp(at / 1000, UTC) if at else None,
            facts,
        )

    async def info(self, caller: Caller, name: str) -> StreamInfo:
        """See `Streams.info`."""
        names.check(name)
        caller.need(name, Right.READ)
        catalog = await self._index.fresh(caller.tenant)
        if name not in catalog.made and name not in catalog.specs:
            raise NotFound(f"There is no stream {name}.")
        return (await self.infos(caller, [name]))[0]

    async def describe(
        self, caller: Caller, name: str, changes: Mapping[str, Any], *, replace: bool
    ) -> StreamInfo:
        """See `Streams.describe`."""
        names.check(name)
        caller.need(name, Right.WRITE)
        catalog = await self._index.fresh(caller.tenant)
        before = catalog.spec(name)
        spec = specs.change(before, changes, whole=replace)
        if spec.durability is not before.durability and name in catalog.made:
            raise Conflict(
                f"The stream {name} holds entries: its durability stays {before.durability.value}."
            )
        if spec.durability is not before.durability or "durability" in changes:
            await self._promise(caller.tenant, name, spec)
        await self._index.describe(caller.tenant, name, spec, before)
        return (await self.infos(caller, [name]))[0]

    async def _promise(self, tenant: str, name: str, spec: StreamSpec) -> None:
        """Return if the durability of *spec* can be had."""
        wanted = spec.durability
        if wanted is Durability.ALWAYS:
            await self._parts.prepare_durable()
            return
        part = self._parts.of(tenant, name, spec)
        if wanted is Durability.REPLICATED:
            part.check_replicated()
        elif RANK[part.durability] < RANK[wanted]:
            raise DurabilityUnavailable(
                f"This engine keeps entries as {part.durability.value} only."
            )

    async def delete(self, caller: Caller, name: str) -> Deleted:
        """See `Streams.delete`."""
        names.check(name)
        caller.need(name, Right.WRITE)
        catalog = await self._index.fresh(caller.tenant)
        part = self._parts.of(caller.tenant, name, catalog.spec(name))
        key = part.keys.stream(caller.tenant, name)
        length, existed = await transact(part.command, [encode("XLEN", key), encode("DEL", key)])
        described = await self._index.remove(caller.tenant, name)
        if not await self._index.is_made(caller.tenant, name):
            # What was on its way while it was deleted has made the key anew.
            await transact(part.command, [encode("DEL", key)])
        return Deleted(described, int(length), bool(existed))

    async def trim(
        self, caller: Caller, name: str, *, count: int | None, before: EntryId | None
    ) -> int:
        """See `Streams.trim`."""
        names.check(name)
        caller.need(name, Right.WRITE)
        if (count is None) == (before is None):
            raise InvalidField("count", "Say either how many to keep or from which id on.")
        if count is not None and count < 0:
            raise InvalidField("count", "Say how many to keep: 0 or more.")
        catalog = await self._index.catalog(caller.tenant)
        part = self._parts.of(caller.tenant, name, catalog.spec(name))
        key = part.keys.stream(caller.tenant, name)
        how = ("MAXLEN", count) if count is not None else ("MINID", str(before))
        (gone,) = await transact(part.command, [encode("XTRIM", key, how[0], "=", how[1] or 0)])
        return int(gone)


def _plain(value: Any) -> Any:
    """A value of XINFO without payloads: of an entry its id."""
    if isinstance(value, list):
        return bytes(cast("list[Any]", value)[0]).decode() if value else None
    return value.decode("latin-1") if isinstance(value, bytes) else value
