"""Reading what is stored: newest entries, entries after a place, ranges. Nothing here waits."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from downstage.kernel.errors import InvalidField
from downstage.streams.engine import Lane, encode
from downstage.streams.index import Index
from downstage.streams.model import LATEST, Entry, EntryId
from downstage.streams.part import Part
from downstage.streams.parts import Parts
from downstage.streams.pipeline import transact
from downstage.streams.reading import LAST, MOST_COUNT, NEWEST, Cursor

__all__ = ["Reads", "Thin", "bounded", "payload"]

BUDGET = 64 << 20
"""Bytes of one answer, about; what would be more is cut off after so many."""
FIRST = 8
CHUNK_BYTES = 4 << 20
MOST_CHUNK = 512
FIELD = b"d"


def payload(fields: Sequence[bytes]) -> bytes:
    """The payload among an entry's fields; others than ``d`` are somebody else's."""
    if fields[0] == FIELD:
        return fields[1]
    for at in range(2, len(fields), 2):
        if fields[at] == FIELD:
            return fields[at + 1]
    return b""


class Reads:
    """Reads that answer at once."""

    def __init__(self, parts: Parts, index: Index) -> None:
        self._parts = parts
        self._index = index

    async def place(self, tenant: str, name: str) -> tuple[Part, bytes]:
        """Where a stream is, and its key."""
        catalog = await self._index.catalog(tenant)
        part = self._parts.of(tenant, name, catalog.spec(name))
        return part, part.keys.stream(tenant, name)

    async def read(
        self, tenant: str, cursors: Mapping[str, Cursor], count: int, *, newest: bool
    ) -> list[Entry]:
        """See `Streams.read`."""
        count = bounded(count)
        found: list[Entry] = []
        budget = BUDGET
        for name in sorted(cursors):
            cursor = cursors[name]
            part, key = await self.place(tenant, name)
            if newest or cursor is NEWEST:
                walk = _Walk(part.command, key, "+", "-", reverse=True)
                mine = await walk.take(count if newest else 1, budget)
                mine.reverse()
            elif cursor is LAST or cursor == LATEST:
                continue
            else:
                mine = await _Walk(part.command, key, f"({cursor}", "+").take(count, budget)
            entries = [Entry(name, EntryId.parse(id_), data) for id_, data in mine]
            budget -= sum(len(entry.data) for entry in entries)
            found += entries
            if budget <= 0:
                break
        return found

    async def range(
        self,
        tenant: str,
        name: str,
        start: EntryId | None,
        stop: EntryId | None,
        *,
        count: int,
        reverse: bool,
        every: int,
        max_fps: float | None,
    ) -> list[Entry]:
        """See `Streams.range`."""
        count = bounded(count)
        thin = Thin(every, max_fps)
        part, key = await self.place(tenant, name)
        low = "-" if start is None else str(start)
        high = "+" if stop is None else str(stop)
        first, last = (high, low) if reverse else (low, high)
        walk = _Walk(part.command, key, first, last, reverse=reverse)
        found: list[Entry] = []
        budget = BUDGET
        while len(found) < count and budget > 0 and (chunk := await walk.next(count - len(found))):
            for id_, data in chunk:
                at = EntryId.parse(id_)
                if len(found) < count and thin.takes(at.ms):
                    found.append(Entry(name, at, data))
                    budget -= len(data)
        return found


class Thin:
    """Leaves entries out: only each so manieth, only so many a second."""

    def __init__(self, every: int = 1, max_fps: float | None = None) -> None:
        if every < 1:
            raise InvalidField("every", "Say each how manieth: 1 or more.")
        if max_fps is not None and not max_fps > 0:
            raise InvalidField("max_fps", "Say how many a second, above 0.")
        self._every = every
        self._gap_ms = 1000.0 / max_fps if max_fps else 0.0
        self._count = -1
        self._cell: float | None = None

    def takes(self, ms: int) -> bool:
        """Whether the next entry, of that time, is to be had; time may run either way."""
        self._count += 1
        if self._count % self._every:
            return False
        # By the grid of the rate, so that 30 a second thinned to 20 gives 20 and not 15.
        cell = ms // self._gap_ms if self._gap_ms else None
        if cell is not None and cell == self._cell:
            return False
        self._cell = cell
        return True


class _Walk:
    """Goes through a stream chunk by chunk, none larger than a bound."""

    def __init__(
        self, lane: Lane, key: bytes, first: str, last: str, *, reverse: bool = False
    ) -> None:
        self._lane = lane
        self._key = key
        self._next: str | bytes = first
        self._last = last
        self._verb = "XREVRANGE" if reverse else "XRANGE"
        self._chunk = FIRST
        self._is_over = False

    async def next(self, most: int) -> list[tuple[bytes, bytes]]:
        """Some further entries, or none at the end."""
        if self._is_over:
            return []
        wanted = min(most, self._chunk)
        command = encode(self._verb, self._key, self._next, self._last, "COUNT", max(wanted, 1))
        (reply,) = await transact(self._lane, [command])
        rows = [(id_, payload(fields)) for id_, fields in reply]
        self._is_over = len(rows) < wanted
        if rows:
            self._next = b"(" + rows[-1][0]
            # Behind the last id there can be, the engine takes no question.
            self._is_over = self._is_over or rows[-1][0] == bytes(LATEST)
            mean = sum(len(data) for _, data in rows) // len(rows) + 64
            self._chunk = min(max(CHUNK_BYTES // mean, 1), MOST_CHUNK)
        return rows

    async def take(self, count: int, budget: int) -> list[tuple[bytes, bytes]]:
        """Up to *count* entries of up to *budget* bytes together, about."""
        found: list[tuple[bytes, bytes]] = []
        while len(found) < count and budget > 0 and (chunk := await self.next(count - len(found))):
            found += chunk
            budget -= sum(len(data) for _, data in chunk)
        return found


def bounded(count: int) -> int:
    """*count*, or as many as may be asked for.

    Raises:
        InvalidField: less than one.
    """
    if count < 1:
        raise InvalidField("count", "Ask for at least one entry.")
    return min(count, MOST_COUNT)
