"""Reading: connections beside the writer, and what point reads remember.

Each commit makes `Remembered` forget what it changes, before anybody is answered. While a commit
that moves folders is under way, every way is walked through the database: what was remembered may
be of either side of it.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from downstage.content import schema
from downstage.kernel.errors import DeadlineExceeded, Unavailable

__all__ = ["MAX_CONNECTIONS", "Readers", "Remembered"]

MAX_CONNECTIONS = 8
"""Long readings at a time."""
WAIT_S = 10.0
MAX_WAYS = 100_000
"""Folders that are remembered; about 300 bytes each."""
MAX_ROWS = 32_768
"""Rows that are remembered; about 1 KiB each."""


class Readers:
    """Connections that only read, lent to one thread at a time."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._idle: queue.LifoQueue[sqlite3.Connection] = queue.LifoQueue()
        self._all = list[sqlite3.Connection]()
        self._lock = threading.Lock()
        self._closed = False

    @contextmanager
    def lend(self) -> Generator[sqlite3.Connection]:
        """A connection inside one read transaction: everything is of the same moment.

        Raises:
            DeadlineExceeded: all are in use for too long.
            Unavailable: the service is closing.
        """
        connection = self._take()
        try:
            connection.execute("BEGIN")
            try:
                yield connection
            finally:
                connection.execute("ROLLBACK")
        finally:
            self._give_back(connection)

    def _take(self) -> sqlite3.Connection:
        if self._closed:
            raise Unavailable("The content service is closing.")
        try:
            return self._idle.get_nowait()
        except queue.Empty:
            pass
        with self._lock:
            if len(self._all) < MAX_CONNECTIONS:
                connection = schema.open_reader(self._path)
                self._all.append(connection)
                return connection
        try:
            return self._idle.get(timeout=WAIT_S)
        except queue.Empty:
            raise DeadlineExceeded("Too many long readings at a time.") from None

    def _give_back(self, connection: sqlite3.Connection) -> None:
        if self._closed:
            connection.close()
        else:
            self._idle.put(connection)

    def close(self) -> None:
        """Close what is idle; what is in use is closed when it comes back."""
        self._closed = True
        while True:
            try:
                self._idle.get_nowait().close()
            except queue.Empty:
                return


class Remembered:
    """What point reads remember: the way to folders, and rows; shared by the loop and the writer.

    The writer's connection notes each row that it changes, whoever wrote the statement: see
    `watch`. Only what is there is remembered, so that nothing has to be noted at a creation.
    """

    def __init__(self) -> None:
        self._ways: dict[tuple[str, str], tuple[int, ...]] = {}
        self.rows: dict[tuple[int, str], tuple[Any, ...]] = {}
        """Of `tree.COLUMNS`, by folder and name."""
        self._changed: list[tuple[int, str]] = []
        self._lock = threading.Lock()
        self.age = 0
        """Odd while folders are being moved or rights changed; another number after that."""
        self.commits = 0
        """Odd while anything is being committed; another number after that."""

    def way(self, tenant: str, path: str) -> tuple[int, ...] | None:
        """The ids from the root down to a folder, if they are remembered."""
        return self._ways.get((tenant, path))

    def put_way(self, tenant: str, path: str, ids: tuple[int, ...], age: int) -> None:
        """Remember what was read at *age*, unless folders were moved since."""
        with self._lock:
            if self.age == age and not age & 1:
                if len(self._ways) >= MAX_WAYS:
                    self._ways.clear()
                self._ways[(tenant, path)] = ids

    def put_row(self, key: tuple[int, str], row: tuple[Any, ...], commits: int) -> None:
        """Remember what was read after *commits*, unless there was another since."""
        if commits & 1 or self.commits != commits:
            return
        with self._lock:
            if self.commits == commits:
                if len(self.rows) >= MAX_ROWS:
                    self.rows.clear()
                self.rows[key] = row

    def watch(self, connection: sqlite3.Connection) -> None:
        """Have the writer's connection note what it changes."""
        connection.create_function("node_changed", 2, self._note)
        for event in ("UPDATE", "DELETE"):
            connection.execute(
                f"CREATE TEMP TRIGGER noted_{event} AFTER {event} ON node"
                " BEGIN SELECT node_changed(old.parent, old.name); END"
            )

    def committing(self, *, begins: bool, moves: bool) -> None:
        """Called by the writer around every commit; *moves*: of folders, or of rights."""
        with self._lock:
            self.commits += 1
            for key in self._changed:
                self.rows.pop(key, None)
            if not begins:
                self._changed.clear()
            if moves:
                self.age += 1
                self._ways.clear()

    def _note(self, parent: int | None, name: str) -> None:
        if parent is not None:
            self._changed.append((parent, name))
