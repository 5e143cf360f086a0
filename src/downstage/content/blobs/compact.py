"""Moving what little is left of a file whose other bytes nobody holds any more."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.layout import disk_errors, write_all
from downstage.content.blobs.pins import Hold
from downstage.content.blobs.protocol import Extent
from downstage.content.blobs.store import DiskBlobs
from downstage.kernel.chaos import point
from downstage.kernel.logging import get_logger

__all__ = ["SMALLEST", "Compactor", "live_ranges"]

log = get_logger(__name__)

SMALLEST = 1024 * 1024
"""Bytes that must be dead before moving the rest is worth a rewrite."""
COPY = 4 * 1024 * 1024
"""Bytes moved at a time."""


@dataclass(frozen=True, slots=True)
class _Moved:
    """A live range of a source and where it lies now."""

    at: int
    length: int
    home: Extent


def live_ranges(extents: Sequence[tuple[int, int]]) -> list[tuple[int, int]]:
    """The union of ``(at, length)`` ranges, in order; touching ones are one."""
    ranges = list[tuple[int, int]]()
    for at, length in sorted(extents):
        last_at, last_length = ranges[-1] if ranges else (0, -1)
        if last_length >= 0 and at <= last_at + last_length:
            ranges[-1] = (last_at, max(last_length, at + length - last_at))
        else:
            ranges.append((at, length))
    return ranges


class Compactor:
    """Rewrites sources of which more is dead than alive.

    Args:
        store: whose.
        smallest: dead bytes below which a source is left alone.
    """

    def __init__(self, store: DiskBlobs, *, smallest: int = SMALLEST) -> None:
        self._store = store
        self._smallest = smallest

    async def compact(self) -> int:
        """One round over all sources; bytes that `Collector.retire` can take after the grace."""
        freed = 0
        for name, size, ranges in await in_worker(self._store.pool, self._candidates):
            freed += await self._move(name, size, ranges)
        return freed

    def _candidates(self) -> list[tuple[str, int, list[tuple[int, int]]]]:
        found = list[tuple[str, int, list[tuple[int, int]]]]()
        with self._store.database.read() as db:
            # A source whose extents are as long as it is cannot be mostly dead unless they
            # overlap, and then its own whole content still holds it.
            rows = db.execute(
                "SELECT source.id, source.name, source.size FROM source"
                " WHERE source.size >= ? AND NOT EXISTS (SELECT 1 FROM extent WHERE"
                " extent.source = source.id AND extent.at = 0 AND extent.length = source.size)",
                (self._smallest,),
            ).fetchall()
            for source, name, size in rows:
                query = "SELECT at, length FROM extent WHERE source = ?"
                ranges = live_ranges(db.execute(query, (source,)).fetchall())
                live = sum(length for _, length in ranges)
                if ranges and 2 * live < size and size - live >= self._smallest:
                    found.append((name, size, ranges))
        return found

    async def _move(self, name: str, size: int, ranges: list[tuple[int, int]]) -> int:
        hold = Hold(self._store.pins)
        try:
            moved = await in_worker(self._store.pool, lambda: self._copy(name, ranges, hold))
            point("content.compact.copied")
            left = await self._store.database.write(lambda db: _repoint(db, name, moved))
            point("content.compact.committed")
        finally:
            hold.release()
        self._store.strays.add([one.home.source for one in moved])
        if left:
            return 0
        freed = size - sum(length for _, length in ranges)
        log.info("content.source_compacted", source=name, freed_bytes=freed)
        return freed

    def _copy(self, name: str, ranges: list[tuple[int, int]], hold: Hold) -> list[_Moved]:
        """The live ranges, durable in a pack of their own. Blocks."""
        layout = self._store.layout
        target, path = layout.pack_name(), layout.temporary()
        hold.keep((name, target))
        moved = list[_Moved]()
        done = 0
        try:
            with disk_errors(), layout.of(name).open("rb") as old, path.open("xb", 0) as new:
                for at, length in ranges:
                    _copy_range(old.fileno(), new.fileno(), at, length)
                    moved.append(_Moved(at, length, Extent(target, done, length)))
                    done += length
                os.fdatasync(new.fileno())
            layout.settle(path, target)
        except BaseException:
            path.unlink(missing_ok=True)
            raise
        return moved


def _copy_range(old: int, new: int, at: int, length: int) -> None:
    for start in range(at, at + length, COPY):
        data = os.pread(old, min(COPY, at + length - start), start)
        write_all(new, data)


def _repoint(db: sqlite3.Connection, name: str, moved: Sequence[_Moved]) -> int:
    """Let extents name the new place; how many stay, because they came about meanwhile."""
    source = db.execute("SELECT id FROM source WHERE name = ?", (name,)).fetchone()
    if source is None or not moved:
        return 0
    reach = max(one.home.at + one.home.length for one in moved)
    target = db.execute(
        "INSERT INTO source (name, size) VALUES (?, ?) RETURNING id",
        (moved[0].home.source, reach),
    ).fetchone()[0]
    for one in moved:
        db.execute(
            "UPDATE extent SET source = ?, at = at - ? + ?"
            " WHERE source = ? AND at >= ? AND at + length <= ?",
            (target, one.at, one.home.at, source[0], one.at, one.at + one.length),
        )
    query = "SELECT count(*) FROM extent WHERE source = ?"
    return db.execute(query, source).fetchone()[0]
