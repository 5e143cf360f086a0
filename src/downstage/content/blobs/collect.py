"""Deleting what no version holds, for good.

Rows go first, files after: a crash in between leaves a file without a row, which `sweep` finds.
A row without a file cannot come about. Everything here may run beside stagings and readings.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterator
from dataclasses import dataclass
from itertools import islice

from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.layout import Layout
from downstage.content.blobs.store import DiskBlobs
from downstage.kernel.chaos import point
from downstage.kernel.logging import get_logger

__all__ = ["GRACE_S", "Collected", "Collector"]

log = get_logger(__name__)

GRACE_S = 48 * 3600
"""Seconds that unused bytes are kept: longer than the longest upload, and than any clock jump."""
BATCH = 500
"""Rows of one transaction."""


@dataclass(slots=True)
class Collected:
    """What a run deleted or put right."""

    blobs: int = 0
    files: int = 0
    bytes: int = 0
    recounted: int = 0
    """Contents whose count of versions was wrong: a fault of ours, logged as such."""

    def add(self, more: Collected) -> None:
        """Sum up."""
        self.blobs += more.blobs
        self.files += more.files
        self.bytes += more.bytes
        self.recounted += more.recounted


class Collector:
    """Collects what a store no longer needs.

    Args:
        store: whose.
        grace_s: seconds that unused bytes are kept.
    """

    def __init__(self, store: DiskBlobs, *, grace_s: int = GRACE_S) -> None:
        self._store = store
        self._grace_s = grace_s
        self._idle_since = dict[str, int]()

    async def collect(self, now_s: int) -> Collected:
        """Delete what has been unused for the grace; cheap when nothing has."""
        result = Collected()
        files = self._store.strays.take()
        while True:
            deleted, sources = await self._delete_rows(now_s - self._grace_s)
            result.blobs += deleted
            files += sources
            if deleted < BATCH:
                break
        for names in _batches(files):
            result.add(await self._delete_files(names))
        if result.blobs or result.files:
            log.info("content.blobs_collected", blobs=result.blobs, files=result.files)
        return result

    async def retire(self, now_s: int) -> Collected:
        """Delete files in which nothing lies since the grace: what compaction moved elsewhere.

        Not sooner: a copy of the database that was taken before still names them.
        """
        idle = await self._first_column(_IDLE_SOURCES)
        self._idle_since = {name: self._idle_since.get(name, now_s) for name in idle}
        before = now_s - self._grace_s
        result = Collected()
        for names in _batches([name for name, at in self._idle_since.items() if at < before]):
            result.add(await self._delete_files(names))
        return result

    async def recount(self) -> int:
        """Count anew how many versions hold each content; how many counts were wrong."""
        wrong = await self._store.database.write(_recount)
        if wrong:
            log.error("content.blobs_miscounted", blobs=wrong)
        return wrong

    async def mark(self, now_s: int) -> Collected:
        """The full round: count anew, collect, and look at every file and every source."""
        result = Collected(recounted=await self.recount())
        result.add(await self.collect(now_s))
        for names in _batches(await self._first_column(_IDLE_SOURCES)):
            result.add(await self._delete_files(names))
        result.add(await self.sweep())
        return result

    async def sweep(self) -> Collected:
        """Delete files that no row names: what a crash left, or a run that was cut off."""
        result = Collected()
        files = _files(self._store.layout)
        while names := await in_worker(self._store.pool, lambda: list(islice(files, BATCH))):
            orphans = await in_worker(self._store.pool, lambda: self._unknown(names))
            if orphans:
                result.add(await self._delete_files(orphans))
        return result

    async def _delete_rows(self, before_s: int) -> tuple[int, list[str]]:
        """Rows of unused contents; how many, and the sources they lay in."""
        doomed = self._store.pins.doom(await self._first_column(_UNUSED, before_s, BATCH))
        if not doomed:
            return 0, []
        try:
            sources = await self._store.database.write(lambda db: _forget(db, doomed, before_s))
            point("content.gc.rows_deleted")
        finally:
            self._store.pins.bury(doomed)
        return len(doomed), sources

    async def _delete_files(self, names: Collection[str]) -> Collected:
        """Sources that nothing lies in, and files that no source names."""
        idle = await in_worker(self._store.pool, lambda: self._idle(names))
        for name in idle:
            self._store.packs.retire(name)  # an append in progress has pinned it by now
        doomed = self._store.pins.doom(idle)
        try:
            gone = await self._store.database.write(lambda db: _forget_sources(db, doomed))
            point("content.gc.sources_deleted")
            return await in_worker(self._store.pool, lambda: self._unlink(gone))
        finally:
            self._store.pins.bury(doomed)

    async def _first_column(self, query: str, *values: int) -> list[str]:
        def read() -> list[str]:
            with self._store.database.read() as db:
                return [row[0] for row in db.execute(query, values)]

        return await in_worker(self._store.pool, read)

    def _idle(self, names: Collection[str]) -> list[str]:
        with self._store.database.read() as db:
            return [name for name in names if not _is_used(db, name)]

    def _unlink(self, names: Collection[str]) -> Collected:
        result = Collected()
        for name in names:
            path = self._store.layout.of(name)
            try:
                size = path.stat().st_size
                path.unlink()
            except FileNotFoundError:
                continue
            point("content.gc.unlinked")
            result.files += 1
            result.bytes += size
        return result

    def _unknown(self, names: Collection[str]) -> list[str]:
        query = "SELECT 1 FROM source WHERE name = ?"
        with self._store.database.read() as db:
            return [name for name in names if db.execute(query, (name,)).fetchone() is None]


_UNUSED = "SELECT hash FROM blob WHERE refs = 0 AND unused_since < ? LIMIT ?"

_IDLE_SOURCES = (
    "SELECT name FROM source WHERE NOT EXISTS"
    " (SELECT 1 FROM extent WHERE extent.source = source.id)"
)


def _forget(db: sqlite3.Connection, hashes: Collection[str], before_s: int) -> list[str]:
    """Delete rows that are still unused; the names of the sources they lay in."""
    sources = dict[str, None]()
    for digest in hashes:
        row = db.execute(
            "SELECT id FROM blob WHERE hash = ? AND refs = 0 AND unused_since < ?",
            (digest, before_s),
        ).fetchone()
        if row is None:
            continue
        names = db.execute(
            "SELECT DISTINCT name FROM source JOIN extent ON extent.source = source.id"
            " WHERE extent.blob = ?",
            row,
        )
        sources.update((name, None) for (name,) in names)
        db.execute("DELETE FROM extent WHERE blob = ?", row)
        db.execute("DELETE FROM blob WHERE id = ?", row)
    return list(sources)


def _forget_sources(db: sqlite3.Connection, names: Collection[str]) -> list[str]:
    """Delete the rows of those sources that nothing lies in; their files may go."""
    idle = list[str]()
    for name in names:
        if not _is_used(db, name):
            db.execute("DELETE FROM source WHERE name = ?", (name,))
            idle.append(name)
    return idle


def _is_used(db: sqlite3.Connection, name: str) -> bool:
    query = "SELECT 1 FROM extent JOIN source ON extent.source = source.id WHERE name = ? LIMIT 1"
    return db.execute(query, (name,)).fetchone() is not None


def _recount(db: sqlite3.Connection) -> int:
    db.execute(
        "CREATE TEMP TABLE held AS SELECT hash, count(*) AS refs FROM version"
        " WHERE hash <> '' GROUP BY hash"
    )
    db.execute("CREATE UNIQUE INDEX temp.held_hash ON held (hash)")
    changed = db.execute(
        "UPDATE blob SET refs = coalesce((SELECT refs FROM held WHERE held.hash = blob.hash), 0),"
        " unused_since = CASE WHEN blob.hash IN (SELECT hash FROM held) THEN NULL"
        " ELSE unixepoch() END"
        " WHERE refs <> coalesce((SELECT refs FROM held WHERE held.hash = blob.hash), 0)"
    ).rowcount
    db.execute("DROP TABLE temp.held")
    return changed


def _files(layout: Layout) -> Iterator[str]:
    """Names of all sources that there are files of."""
    for first in layout.blobs.iterdir():
        for second in first.iterdir():
            for path in second.iterdir():
                yield str(path.relative_to(layout.folder))
    for path in layout.packs.iterdir():
        yield str(path.relative_to(layout.folder))


def _batches(names: Collection[str]) -> Iterator[list[str]]:
    rest = iter(names)
    while batch := list(islice(rest, BATCH)):
        yield batch
