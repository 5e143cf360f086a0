"""The database of content: one writer, several readers, one file."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import TypeVar

import anyio
import anyio.to_thread

from downstage.content import schema
from downstage.content.change import Change, Recorded
from downstage.content.locks import Moment
from downstage.content.reader import MAX_CONNECTIONS, Readers, Remembered
from downstage.content.writer import Writer

__all__ = ["NAME", "ContentDatabase"]

T = TypeVar("T")

NAME = "content.db"


class ContentDatabase:
    """Reads and writes of one content service; belongs to the loop that made it.

    Args:
        folder: where the file lies; made if missing.
        now: the time.
        mirror: told which of the tables held in memory a commit changed; in the writer's thread.
        publish: gets the events of each commit, on the loop, before its answers are given.
        housekeeping: an operation to run every second.
    """

    def __init__(
        self,
        folder: Path,
        *,
        now: Callable[[], Moment],
        mirror: Callable[[sqlite3.Connection, set[str]], None],
        publish: Callable[[list[Recorded]], None],
        housekeeping: Callable[[Change], None],
    ) -> None:
        self.path = folder / NAME
        self.remembered = Remembered()
        connection = schema.open_writer(self.path)
        self.remembered.watch(connection)
        self._writer = Writer(
            connection,
            now=now,
            committing=self.remembered.committing,
            mirror=mirror,
            publish=publish,
            housekeeping=housekeeping,
        )
        self._readers = Readers(self.path)
        self._threads = anyio.CapacityLimiter(MAX_CONNECTIONS)
        self.near = schema.open_reader(self.path)
        """For point reads on the loop itself; each of them sees the newest commit."""

    @property
    def seq(self) -> int:
        """Of the newest event that is committed."""
        return self._writer.seq

    async def change(self, job: Callable[[Change], T]) -> T:
        """Run *job* in the writer's transaction; back after it is durable.

        Raises:
            OutOfSpace: the disk is full, nothing of it was done.
            Unavailable: too much is waiting.
        """
        return await self._writer.change(job)

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """`change` for what makes no events."""
        return await self._writer.change(lambda change: job(change.db))

    def read(self) -> AbstractContextManager[sqlite3.Connection]:
        """A connection inside one read transaction, for this thread; not on the loop."""
        return self._readers.lend()

    async def reading(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run *job* in a thread over a connection of `read`."""

        def run() -> T:
            with self._readers.lend() as connection:
                return job(connection)

        return await anyio.to_thread.run_sync(run, limiter=self._threads)

    async def close(self) -> None:
        """Finish what waits and close; idempotent."""
        await self._writer.close()
        self.near.close()
        self._readers.close()
