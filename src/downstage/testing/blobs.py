"""A database of bytes alone: one writer's lock, one table of versions."""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Callable, Generator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import TypeVar

from downstage.content.blobs import ledger
from downstage.content.blobs.protocol import Staged
from downstage.content.blobs.schema import SCHEMA, VERSION_TRIGGERS

__all__ = ["BlobDatabase"]

T = TypeVar("T")


class BlobDatabase:
    """Satisfies `blobs.protocol.Database`."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock = threading.Lock()
        with self._connect() as db:
            db.execute("PRAGMA journal_mode=WAL")
            db.executescript(SCHEMA)
            db.executescript(
                "CREATE TABLE IF NOT EXISTS version"
                " (name TEXT PRIMARY KEY, hash TEXT NOT NULL, size INTEGER NOT NULL)"
            )
            db.executescript(VERSION_TRIGGERS)

    @contextmanager
    def _connect(self) -> Generator[sqlite3.Connection]:
        db = sqlite3.connect(self.path, isolation_level=None)
        try:
            db.execute("PRAGMA synchronous=FULL")
            yield db
        finally:
            db.close()

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """See `blobs.protocol.Database`."""
        return self.write_now(job)

    def write_now(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """The same in this thread."""
        with self._lock, self._connect() as db:
            db.execute("BEGIN IMMEDIATE")
            try:
                result = job(db)
            except BaseException:
                db.execute("ROLLBACK")
                raise
            db.execute("COMMIT")
            return result

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """See `blobs.protocol.Database`."""
        return self._connect()

    async def keep(self, name: str, staged: Staged, now_s: int = 0) -> None:
        """Commit *staged* as the version called *name*."""

        def job(db: sqlite3.Connection) -> None:
            ledger.adopt(db, staged, now_s)
            db.execute("DELETE FROM version WHERE name = ?", (name,))
            db.execute("INSERT INTO version VALUES (?, ?, ?)", (name, staged.hash, staged.size))

        await self.write(job)

    async def drop(self, name: str, now_s: int = 0) -> None:
        """Delete the version called *name* at *now_s*."""

        def job(db: sqlite3.Connection) -> None:
            db.execute("DELETE FROM version WHERE name = ?", (name,))
            db.execute("UPDATE blob SET unused_since = ? WHERE refs = 0", (now_s,))

        await self.write(job)

    def count(self, table: str) -> int:
        """Rows of *table*."""
        with self._connect() as db:
            return db.execute(f"SELECT count(*) FROM {table}").fetchone()[0]  # noqa: S608
