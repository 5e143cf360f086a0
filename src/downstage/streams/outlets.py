"""The streams that this process appends to: opened once, then known."""

from __future__ import annotations

import time
import uuid
from collections.abc import Sequence

import anyio

from downstage.kernel.errors import DurabilityUnavailable
from downstage.kernel.settings import Streams as Settings
from downstage.streams.engine import NotReady, encode
from downstage.streams.guard import Guard, Guarded, store
from downstage.streams.index import Change, Index
from downstage.streams.model import AUTO, Durability, Receipt
from downstage.streams.outlet import Outlet
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.pipeline import gather, weigh
from downstage.streams.retention import bounds
from downstage.streams.stats import Figures
from downstage.streams.words import Data

__all__ = [
    "IDLE_S",
    "Outlets",
    "check_wanted",
    "durability_of",
    "is_copied",
    "needs_guard",
]

IDLE_S = 300.0
MOST_DOUBTFUL = 10_000
RANK = {
    Durability.MEMORY: 0,
    Durability.EVERYSEC: 1,
    Durability.ALWAYS: 2,
    Durability.REPLICATED: 3,
}


class Outlets:
    """Opens streams for appending, and appends guardedly."""

    def __init__(self, parts: Parts, index: Index, figures: Figures, settings: Settings) -> None:
        self.figures = figures
        self._parts = parts
        self._index = index
        self._settings = settings
        self._kept: dict[tuple[str, str], Outlet] = {}
        self._opening: dict[tuple[str, str], anyio.Lock] = {}
        self._doubtful: set[tuple[str, str]] = set()
        index.on_change.add(self._changed)

    def known(self, tenant: str, name: str) -> Outlet | None:
        """The outlet of a stream that may be appended to at once."""
        found = self._kept.get((tenant, name))
        return found if found is not None and found.is_made else None

    async def open(self, tenant: str, name: str) -> Outlet:
        """The outlet of a stream, which is made where there is none.

        Raises:
            InvalidField: that is no name.
            QuotaReached, StoreFull: not another one.
            NotReady: the engine does not answer.
        """
        found = self.known(tenant, name)
        if found is not None:
            return found
        lock = self._opening.setdefault((tenant, name), anyio.Lock())
        try:
            async with lock:
                return self.known(tenant, name) or await self._open(tenant, name)
        finally:
            if not lock.statistics().tasks_waiting:
                self._opening.pop((tenant, name), None)

    async def _open(self, tenant: str, name: str) -> Outlet:
        # Not what is known here: where it is kept must not depend on which process heard of it.
        spec = await self._index.spec(tenant, name)
        part = self._parts.of(tenant, name, spec)
        key = part.keys.stream(tenant, name)
        made_at = await self._index.make(tenant, name, spec)
        found = self._kept.get((tenant, name))
        if found is None:
            found = Outlet(
                key,
                part,
                spec,
                bounds(spec.retention, self._settings),
                self.figures.of(tenant, name),
            )
        await self._weigh(part, found)
        found.used_at = time.monotonic()
        found.made_at = made_at
        found.is_made = True
        self._kept[tenant, name] = found
        return found

    async def _weigh(self, part: Part, outlet: Outlet) -> None:
        commands = [encode("XLEN", outlet.key), weigh(outlet.key)]
        length, size = await gather(part.command, commands)
        if isinstance(length, NotReady):
            raise length
        is_known = isinstance(length, int) and isinstance(size, int)
        outlet.account.start(length if is_known else 0, size if is_known else 0)
        outlet.settle()

    def _changed(self, change: Change) -> None:
        found = self._kept.get((change.tenant, change.stream))
        if found is None:
            return
        if change.what == "gone":
            # What is put next makes it anew; what was put before it was known here is looked for.
            if len(self._doubtful) < MOST_DOUBTFUL:
                self._doubtful.add((change.tenant, change.stream))
            found.is_made = False
            found.last_id = None
            del self._kept[change.tenant, change.stream]
        elif change.what == "described":
            catalog = self._index.cached(change.tenant)
            if catalog is not None:
                spec = catalog.spec(change.stream)
                found.describe(spec, bounds(spec.retention, self._settings))

    def forget_idle(self, now: float) -> None:
        """Let go of streams that nobody appended to lately."""
        for key, outlet in list(self._kept.items()):
            if now - max(outlet.used_at, outlet.figures.used_at) > IDLE_S and not outlet.users:
                outlet.is_made = False
                del self._kept[key]

    async def adopt(self) -> None:
        """Make anew what was appended to after it was deleted elsewhere: nobody would find it.

        Raises:
            NotReady: the engine does not answer.
        """
        for tenant, name in tuple(self._doubtful):
            spec = await self._index.spec(tenant, name)
            part = self._parts.of(tenant, name, spec)
            if await part.command.call("EXISTS", part.keys.stream(tenant, name)):
                await self._index.make(tenant, name, spec)
            self._doubtful.discard((tenant, name))

    # --- guarded appends -----------------------------------------------------------------------

    async def guarded(
        self,
        items: Sequence[tuple[Outlet, bytes, Data]],
        key: str | None,
        *,
        copied: bool = False,
    ) -> Receipt:
        """Store all of *items* after a look at what is there.

        Raises:
            BadId, QuotaReached, StoreFull, Unavailable: see `Guard.store`.
        """
        by_part: dict[Part, list[int]] = {}
        for at, (outlet, _, _) in enumerate(items):
            by_part.setdefault(outlet.part, []).append(at)
        name = key if key is not None else f"~{uuid.uuid4().hex}"
        pushes: list[tuple[Guard, Guarded]] = []
        for part, places in by_part.items():
            mine = [items[at] for at in places]
            first = mine[0][0]
            note = part.keys.push(first.tenant, first.name, name)
            wanted = copied or any(is_copied(outlet) for outlet, _, _ in mine)
            pushes.append((self._parts.guard(part), Guarded(mine, note, wanted)))
        await store(pushes)
        ids: dict[int, bytes] = {}
        for places, (_, push) in zip(by_part.values(), pushes, strict=True):
            ids |= zip(places, push.ids, strict=True)
        outlets = [outlet for outlet, _, _ in items]
        repeated = all(push.repeated for _, push in pushes)
        return Receipt(
            tuple(ids[at] for at in range(len(items))),
            durability_of(outlets, copied=copied),
            repeated,
        )


def is_copied(outlet: Outlet) -> bool:
    """Whether a replica must have what goes there."""
    return outlet.spec.durability is Durability.REPLICATED


def durability_of(outlets: Sequence[Outlet], *, copied: bool = False) -> Durability:
    """What an answer for entries of *outlets* promises: the weakest of them."""
    found = Durability.REPLICATED
    for outlet in {id(outlet): outlet for outlet in outlets}.values():
        mine = Durability.REPLICATED if copied or is_copied(outlet) else outlet.part.durability
        found = min(found, mine, key=RANK.__getitem__)
    return found


def check_wanted(outlets: Sequence[Outlet], want: Durability) -> None:
    """Return if *want* can be promised for all of *outlets*.

    Raises:
        DurabilityUnavailable: it cannot.
    """
    for outlet in outlets:
        part = outlet.part
        if want is Durability.REPLICATED:
            part.check_replicated()
        elif RANK[part.durability] < RANK[want]:
            raise DurabilityUnavailable(
                f"Entries of {outlet.name} are kept as {part.durability.value} only.",
                stream=outlet.name,
            )


def needs_guard(items: Sequence[tuple[Outlet, bytes, Data]], key: str | None) -> bool:
    """Whether *items* can only be stored after a look at what is there."""
    if key is not None or any(outlet.bounds.refuse for outlet, _, _ in items):
        return True
    return len(items) > 1 and any(given != AUTO for _, given, _ in items)
