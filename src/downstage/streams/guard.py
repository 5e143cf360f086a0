"""Appends that must look before they store: given ids, keys of pushes, streams that refuse.

What was looked at is watched, so that the transaction is done only where it still stands; then all
of it is done at once. Each push leaves a note under its key in the same transaction: after a
crash, a broken connection or a repetition by another process the note says that it was done, and
leads to its ids.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from typing import Any, cast

import anyio
import msgspec

from downstage.kernel.errors import BadId, PlatformError, QuotaReached, Unavailable
from downstage.streams import entry_ids
from downstage.streams.engine import Lane, NotReady, encode
from downstage.streams.model import AUTO, EntryId
from downstage.streams.outlet import Outlet
from downstage.streams.part import Part
from downstage.streams.pipeline import first_error, gather, transact, weigh
from downstage.streams.tail import last_id
from downstage.streams.words import Data

__all__ = ["Guard", "Guarded", "store"]

PUSH_MS = 120_000
"""For how long a push is known by its key."""
TRIES = 32
REPLICA_MS = 2000
CHUNK = 256
MOST = 16_384
MULTI, EXEC, UNWATCH = encode("MULTI"), encode("EXEC"), encode("UNWATCH")
END = b"\r\n"


class Note(msgspec.Struct, omit_defaults=True):
    """What is kept under the key of a push."""

    after: list[str] = []
    """Last id of each of its streams before it, in their order in the push."""
    ids: list[str] = []
    """Its ids, once they are known."""
    made: list[int] = []
    """When each of its streams was made, ms: one that was deleted since is another stream."""


@dataclass(slots=True)
class Guarded:
    """The entries of one push that go into one part, in order."""

    items: list[tuple[Outlet, bytes, Data]]
    key: bytes
    """In the engine, of the push."""
    copied: bool = False
    """Whether a replica must have them."""
    ids: list[bytes] = field(default_factory=list[bytes])
    repeated: bool = False

    @property
    def outlets(self) -> list[Outlet]:
        """Its streams, each once, in order."""
        return list({id(outlet): outlet for outlet, _, _ in self.items}.values())


class _Conflict(Exception):
    """What was looked at changed meanwhile."""


async def store(pushes: Sequence[tuple[Guard, Guarded]]) -> None:
    """Store all of *pushes*, each into its part; their `ids` are set then.

    All are looked at before the first is done. Each part is done at once; between parts a crash
    may leave some done, which the same key finds out.

    Raises:
        BadId, QuotaReached, StoreFull: nothing was stored.
        Unavailable: the engine does not answer in time.
    """
    async with AsyncExitStack() as stack:
        # In one order, whoever comes: nobody waits for somebody who waits for them.
        for guard, _ in sorted(pushes, key=lambda pair: pair[0].rank):
            await stack.enter_async_context(guard.lock)
        left = list(pushes)
        for attempt in range(TRIES):
            try:
                for guard, push in left:
                    await guard.prepare(push)
                while left:
                    guard, push = left[0]
                    await guard.commit(push)
                    del left[0]
            except _Conflict:
                continue
            except NotReady:
                # Whether it was done is told by the note, at the next try.
                for guard, _ in left:
                    guard.close()
                await anyio.sleep(min(0.01 * 2**attempt, 0.5))
                continue
            finally:
                for guard, _ in left:
                    await guard.abandon()
            return
    raise Unavailable("The engine of streams could not do it just now; push again.")


class Guard:
    """Guarded appends into one part: one after the other, on a connection of their own."""

    def __init__(self, part: Part) -> None:
        self.lock = anyio.Lock()
        self.rank = (part.is_durable, part.tag)
        self._part = part
        self._lane: Lane | None = None
        self._prepared: tuple[Note, list[bytes]] | None = None
        self._is_watching = False

    def close(self) -> None:
        """Break the connection."""
        lane, self._lane = self._lane, None
        self._is_watching = False
        if lane is not None:
            lane.abort()

    async def prepare(self, push: Guarded) -> None:
        """Look at what *push* depends on, and watch it.

        Raises:
            BadId, QuotaReached: it may not be stored.
        """
        lane = self._lane
        if lane is None or not lane.is_open:
            lane = self._lane = await self._part.shard.new_lane()
        self._prepared = None
        self._is_watching = True
        note, lasts = await self._look(lane, push)
        if note is None or _is_void(push, note, [lasts[id(outlet)][0] for outlet in push.outlets]):
            self._prepared = self._check(push, lasts)
        else:
            push.repeated = True
            push.ids = await self._recall(lane, push, note)

    async def commit(self, push: Guarded) -> None:
        """Do what was prepared; what was done before needs nothing."""
        if self._prepared is None or self._lane is None:
            await self.abandon()
            return
        await self._commit(self._lane, push, *self._prepared)
        self._is_watching = False

    async def abandon(self) -> None:
        """Watch no longer."""
        lane, is_watching, self._is_watching = self._lane, self._is_watching, False
        if is_watching and lane is not None and lane.is_open:
            await gather(lane, [UNWATCH])

    async def _look(
        self, lane: Lane, push: Guarded
    ) -> tuple[Note | None, dict[int, tuple[EntryId, int, int]]]:
        """The note, and of each stream: its last id, entries, bytes."""
        outlets = push.outlets
        watched = [push.key, *(outlet.key for outlet in outlets if _looks(push, outlet))]
        commands = [encode("WATCH", *watched), encode("GET", push.key)]
        for outlet in outlets:
            commands += [
                encode("XREVRANGE", outlet.key, "+", "-", "COUNT", 1),
                encode("XLEN", outlet.key),
                weigh(outlet.key) if outlet.bounds.refuse else encode("EXISTS", outlet.key),
            ]
        _, note, *rest = await transact(lane, commands)
        found: dict[int, tuple[EntryId, int, int]] = {}
        for at, outlet in enumerate(outlets):
            newest, length, size = rest[3 * at : 3 * at + 3]
            last = EntryId.parse(newest[0][0]) if newest else await last_id(lane, outlet.key)
            found[id(outlet)] = (last, int(length), int(size or 0))
        return (msgspec.json.decode(note, type=Note) if note else None), found

    def _check(
        self, push: Guarded, lasts: dict[int, tuple[EntryId, int, int]]
    ) -> tuple[Note, list[bytes]]:
        """The note to leave and the ids to ask for.

        Raises:
            BadId, QuotaReached: it may not be stored.
        """
        now = {at: last for at, (last, _, _) in lasts.items()}
        ids: list[bytes] = []
        for outlet, given, _ in push.items:
            if given == AUTO:
                ids.append(AUTO)
                continue
            id_ = entry_ids.follow(now[id(outlet)], given)
            now[id(outlet)] = id_
            ids.append(bytes(id_))
        _check_mixed(push)
        for outlet in push.outlets:
            if outlet.bounds.refuse:
                _check_room(push, outlet, *lasts[id(outlet)][1:])
        made = [outlet.made_at for outlet in push.outlets]
        if AUTO in ids:
            after = [str(lasts[id(outlet)][0]) for outlet in push.outlets]
            return Note(after=after, made=made), ids
        return Note(ids=[id_.decode() for id_ in ids], made=made), ids

    async def _commit(self, lane: Lane, push: Guarded, note: Note, ids: list[bytes]) -> None:
        buffers: list[Any] = [MULTI]
        for (outlet, _, data), id_ in zip(push.items, ids, strict=True):
            buffers += (outlet.head_of(id_, len(data)), data, END)
        buffers.append(encode("SET", push.key, msgspec.json.encode(note), "PX", PUSH_MS))
        buffers.append(EXEC)
        count = len(push.items)
        replies = await gather(lane, buffers, count + 3)
        done = replies[-1]
        if done is None:
            raise _Conflict
        if not isinstance(done, list):
            raise first_error(replies) or _odd()
        answers = cast("list[Any]", done[:count])
        push.ids = [answer for answer in answers if isinstance(answer, bytes)]
        if len(push.ids) != count:
            raise first_error(answers) or _odd()
        for outlet, _, data in push.items:
            outlet.took(1, len(data))
        if AUTO in ids:
            found = Note(ids=[id_.decode() for id_ in push.ids], made=note.made)
            known = msgspec.json.encode(found)
            await transact(lane, [encode("SET", push.key, known, "XX", "KEEPTTL")])
        if push.copied:
            await self._copy(lane)

    async def _copy(self, lane: Lane) -> None:
        copies = await lane.call("WAIT", 1, REPLICA_MS)
        if int(copies) < 1:
            raise Unavailable("It was stored, but no replica had it in time.")

    async def _recall(self, lane: Lane, push: Guarded, note: Note) -> list[bytes]:
        """The ids of a push that was done, of its note or of its streams."""
        if not note.ids:
            note = Note(ids=await _find(lane, push, note), made=note.made)
            value = msgspec.json.encode(note)
            await transact(lane, [encode("SET", push.key, value, "XX", "KEEPTTL")])
        return [id_.encode() for id_ in note.ids]


def _is_void(push: Guarded, note: Note, lasts: list[EntryId]) -> bool:
    """Whether all streams of a push that was done were deleted since: nothing of it is left.

    Where one is still there the push stays done, or its entries would be stored twice.
    """
    outlets = push.outlets
    newest: dict[int, EntryId] = {}
    if len(note.ids) == len(push.items):
        for (outlet, _, _), id_ in zip(push.items, note.ids, strict=True):
            newest[id(outlet)] = EntryId.parse(id_)
    if len(note.made) != len(outlets):
        return False
    return all(
        made < outlet.made_at or last < newest.get(id(outlet), last)
        for outlet, made, last in zip(outlets, note.made, lasts, strict=True)
    )


def _looks(push: Guarded, outlet: Outlet) -> bool:
    """Whether what *push* does in that stream depends on what it holds."""
    if outlet.bounds.refuse:
        return True
    return any(given != AUTO for other, given, _ in push.items if other is outlet)


def _check_mixed(push: Guarded) -> None:
    kinds: dict[int, bool] = {}
    for outlet, given, _ in push.items:
        if kinds.setdefault(id(outlet), given == AUTO) != (given == AUTO):
            raise BadId("id", "Give an id to each entry of a stream in a batch, or to none.")


def _check_room(push: Guarded, outlet: Outlet, length: int, size: int) -> None:
    mine = [len(data) for other, _, data in push.items if other is outlet]
    bounds = outlet.bounds
    if length + len(mine) > bounds.count or size + sum(mine) > bounds.bytes:
        raise QuotaReached(
            f"The stream {outlet.name} is full, and keeps what it has.", stream=outlet.name
        )


async def _find(lane: Lane, push: Guarded, note: Note) -> list[str]:
    """Ids of entries that were stored after those of the note, by their payloads."""
    found: dict[int, str] = {}
    for outlet, after in zip(push.outlets, note.after, strict=False):
        places = [at for at, item in enumerate(push.items) if item[0] is outlet]
        start, seen = b"(" + after.encode(), 0
        while places and seen < MOST:
            chunk = await lane.call("XRANGE", outlet.key, start, "+", "COUNT", CHUNK)
            for id_, fields in chunk:
                if places and fields[1] == bytes(push.items[places[0]][2]):
                    found[places.pop(0)] = id_.decode()
            if len(chunk) < CHUNK:
                break
            seen += len(chunk)
            start = b"(" + chunk[-1][0]
    if len(found) != len(push.items):
        raise Unavailable("It was stored under this key, but its ids are not known any more.")
    return [found[at] for at in range(len(push.items))]


def _odd() -> PlatformError:
    return Unavailable("The engine of streams did not do it.")
