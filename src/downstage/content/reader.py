"""Reading: connections beside the writer, and which folder a path leads to, remembered.

A commit that moves folders makes `Folders` forget before anybody is answered. While such a commit
is under way the walk goes through the database: what was remembered may be of either side of it.
"""

from __future__ import annotations

import queue
import sqlite3
import threading
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from downstage.content import schema
from downstage.kernel.errors import DeadlineExceeded, Unavailable

__all__ = ["Folders", "Readers"]

MAX_CONNECTIONS = 8
WAIT_S = 10.0
MAX_REMEMBERED = 100_000
"""Folders; about 300 bytes each."""


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


class Folders:
    """The ids on the way to a folder, by tenant and path; shared by the loop and the writer."""

    def __init__(self) -> None:
        self._known: dict[tuple[str, str], tuple[int, ...]] = {}
        self._lock = threading.Lock()
        self.age = 0
        """Odd while folders are being moved; another number after that."""

    def get(self, tenant: str, path: str) -> tuple[int, ...] | None:
        """The ids from the root down to a folder, if they are remembered."""
        return self._known.get((tenant, path))

    def put(self, tenant: str, path: str, ids: tuple[int, ...], age: int) -> None:
        """Remember what was read at *age*, unless folders were moved since."""
        with self._lock:
            if self.age == age and not age & 1:
                if len(self._known) >= MAX_REMEMBERED:
                    self._known.clear()
                self._known[(tenant, path)] = ids

    def moving(self, begins: bool) -> None:
        """Called by the writer around a commit that moves folders."""
        with self._lock:
            self.age += 1
            if not begins:
                self._known.clear()
