"""Named consumers: places in streams that outlive their readers, kept by acknowledgements.

The engine keeps them, as a group of each stream. What was taken and not acknowledged in time is
given again, to whoever takes next.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import anyio
import msgspec

from downstage.kernel.errors import (
    AlreadyExists,
    InvalidField,
    NotFound,
    QuotaReached,
)
from downstage.streams import names
from downstage.streams.bell import Bell
from downstage.streams.groups import Groups, Place, Spot
from downstage.streams.index import Index
from downstage.streams.model import Caller, Entry, EntryId, Right
from downstage.streams.parts import Parts
from downstage.streams.reading import LAST, MOST_STREAMS, NEWEST, Cursor, Sink, Wish
from downstage.streams.reads import bounded
from downstage.streams.subscription import Subscription

__all__ = ["Consumer", "Consumers", "Place", "Taken"]

MOST = 1000
"""Consumers of a tenant."""
LEAST_WAIT_S = 0.1
MOST_WAIT_S = 24 * 3600.0
LONGEST_S = 60.0
LOOK_S = 1.0
Subscribe = Callable[[Caller, Wish, Sink], Subscription]


@dataclass(frozen=True, slots=True)
class Consumer:
    """A named consumer as it stands."""

    name: str
    streams: str
    """A stream or a pattern."""
    ack_wait: timedelta
    """How long an entry may stay unacknowledged before it is given again."""
    created_at: datetime
    places: Mapping[str, Place]


@dataclass(frozen=True, slots=True)
class Taken:
    """An entry that was given and is to be acknowledged."""

    entry: Entry
    deliveries: int
    """How often it was given, this time included."""


class _Kept(msgspec.Struct):
    """What is kept of a consumer."""

    streams: str
    ack_wait_s: float
    at: float


class Consumers:
    """Named consumers of every tenant; readers of one name share its entries."""

    def __init__(self, parts: Parts, index: Index, subscribe: Subscribe) -> None:
        self._parts = parts
        self._index = index
        self._subscribe = subscribe
        self._groups = Groups()

    async def create(
        self,
        caller: Caller,
        name: str,
        streams: str,
        *,
        start: Cursor = LAST,
        ack_wait: timedelta = timedelta(seconds=30),
    ) -> Consumer:
        """Make a consumer of a stream or a pattern; making the same again is fine.

        Args:
            caller: may read the streams.
            name: of the consumer.
            streams: a stream, or a pattern; streams that are made later join from their beginning.
            start: where it begins in streams that are there.
            ack_wait: how long an entry may stay unacknowledged before it is given again.

        Raises:
            AlreadyExists: there is one of that name with other streams.
            QuotaReached: there are as many as there may be.
        """
        names.check(name, "name")
        names.check_pattern(streams, "streams")
        seconds = ack_wait.total_seconds()
        if not LEAST_WAIT_S <= seconds <= MOST_WAIT_S:
            raise InvalidField("ack_wait", "Say 0.1 s to one day.")
        caller.need(streams, Right.READ)
        home = self._parts.homes[0]
        key = home.keys.consumers(caller.tenant)
        kept = _Kept(streams, seconds, datetime.now(UTC).timestamp())
        if await home.command.call("HLEN", key) >= MOST:
            raise QuotaReached(f"There may be {MOST} consumers, and there are.")
        is_new = await home.command.call("HSETNX", key, name, msgspec.json.encode(kept))
        if not is_new:
            known = await self._kept(caller, name)
            if known.streams != streams:
                raise AlreadyExists(f"The consumer {name} is one of {known.streams}.")
            kept = _Kept(streams, seconds, known.at)
            await home.command.call("HSET", key, name, msgspec.json.encode(kept))
        for spot in await self._spots(caller, streams):
            await self._groups.make(spot, name, start)
        return await self.info(caller, name)

    async def list(self, caller: Caller) -> list[Consumer]:
        """Those whose streams the caller may read, by name."""
        home = self._parts.homes[0]
        flat = await home.command.call("HGETALL", home.keys.consumers(caller.tenant))
        found: list[Consumer] = []
        for at in range(0, len(flat), 2):
            kept = msgspec.json.decode(flat[at + 1], type=_Kept)
            if Right.READ in caller.rights(kept.streams):
                found.append(await self._consumer(caller, flat[at].decode(), kept))
        return sorted(found, key=lambda consumer: consumer.name)

    async def info(self, caller: Caller, name: str) -> Consumer:
        """One of them, with its places and lag.

        Raises:
            NotFound: there is none.
        """
        return await self._consumer(caller, name, await self._kept(caller, name))

    async def _consumer(self, caller: Caller, name: str, kept: _Kept) -> Consumer:
        places = {
            spot.name: place
            for spot in await self._spots(caller, kept.streams)
            if (place := await self._groups.place(spot, name)) is not None
        }
        return Consumer(
            name,
            kept.streams,
            timedelta(seconds=kept.ack_wait_s),
            datetime.fromtimestamp(kept.at, UTC),
            places,
        )

    async def delete(self, caller: Caller, name: str) -> None:
        """Forget it and its places.

        Raises:
            NotFound: there is none.
        """
        kept = await self._kept(caller, name)
        home = self._parts.homes[0]
        await home.command.call("HDEL", home.keys.consumers(caller.tenant), name)
        for spot in await self._spots(caller, kept.streams):
            await self._groups.destroy(spot, name)

    async def take(
        self, caller: Caller, name: str, *, count: int = 1, wait_s: float = 0
    ) -> list[Taken]:
        """Up to *count* entries, first those that are due again; waits up to *wait_s* for one.

        Raises:
            NotFound: there is no such consumer.
        """
        kept = await self._kept(caller, name)
        count = bounded(count)
        taken = await self._take(caller, name, kept, count)
        if taken or wait_s <= 0:
            return taken
        bell = Bell()
        subscription = self._subscribe(caller, _wish(kept.streams), bell)
        try:
            with anyio.move_on_after(min(wait_s, LONGEST_S)):
                while not taken:
                    # What is due again rings no bell: look from time to time.
                    with anyio.move_on_after(min(LOOK_S, kept.ack_wait_s / 2)):
                        await bell.wait()
                    with anyio.CancelScope(shield=True):
                        taken = await self._take(caller, name, kept, count)
        finally:
            await subscription.close()
        return taken

    async def _take(self, caller: Caller, name: str, kept: _Kept, count: int) -> list[Taken]:
        spots = await self._spots(caller, kept.streams)
        taken: list[Taken] = []
        for spot in spots:
            if len(taken) < count:
                due = await self._groups.due(spot, name, kept.ack_wait_s, count - len(taken))
                taken += [Taken(entry, times) for entry, times in due]
        at = 0
        while at < len(spots) and len(taken) < count:
            left = count - len(taken)
            some = spots[at : at + left]
            at += left
            fresh = await self._groups.fresh(some, name, left // len(some))
            taken += [Taken(entry, 1) for entry in fresh]
        return taken

    async def ack(
        self,
        caller: Caller,
        name: str,
        stream: str,
        ids: Sequence[EntryId],
        *,
        through: bool = False,
    ) -> int:
        """Acknowledge entries of *stream*; returns how many of them were pending.

        Args:
            caller: may read the stream.
            name: of the consumer.
            stream: whose entries they are.
            ids: of the entries.
            through: acknowledge all up to the newest of *ids*, too.

        Raises:
            NotFound: there is no such consumer.
        """
        await self._kept(caller, name)
        names.check(stream)
        caller.need(stream, Right.READ)
        if not ids:
            return 0
        catalog = await self._index.catalog(caller.tenant)
        part = self._parts.of(caller.tenant, stream, catalog.spec(stream))
        spot = Spot(stream, part, part.keys.stream(caller.tenant, stream))
        if through:
            return await self._groups.ack_through(spot, name, max(ids))
        return await self._groups.ack(spot, name, [bytes(id_) for id_ in ids])

    async def _kept(self, caller: Caller, name: str) -> _Kept:
        home = self._parts.homes[0]
        text = await home.command.call("HGET", home.keys.consumers(caller.tenant), name)
        kept = msgspec.json.decode(text, type=_Kept) if text else None
        if kept is None or Right.READ not in caller.rights(kept.streams):
            raise NotFound(f"There is no consumer {name}.")
        return kept

    async def _spots(self, caller: Caller, streams: str) -> Sequence[Spot]:
        """The streams that are meant and that hold something, in order."""
        catalog = await self._index.fresh(caller.tenant)
        matcher = names.matcher(streams)
        found = sorted(name for name in catalog.made if matcher.match(name))
        spots: dict[str, Spot] = {}
        for name in found[:MOST_STREAMS]:
            part = self._parts.of(caller.tenant, name, catalog.spec(name))
            spots[name] = Spot(name, part, part.keys.stream(caller.tenant, name))
        return tuple(spots.values())


def _wish(streams: str) -> Wish:
    if names.is_pattern(streams):
        return Wish(patterns=(streams,), start=NEWEST)
    return Wish({streams: NEWEST})
