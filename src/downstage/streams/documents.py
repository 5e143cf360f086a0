"""Small JSON documents, kept: recipes, and what sessions of the data server's API say.

One SQLite file, one connection, one thread at a time, so no caller's work holds the loop. Several
processes may share the file: a change reads and writes inside one transaction.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import anyio
import anyio.to_thread

from downstage.kernel.errors import (
    AlreadyExists,
    InvalidField,
    OutOfSpace,
    QuotaReached,
    TooLarge,
    Unavailable,
)
from downstage.streams.database import open_database

__all__ = [
    "MAX_DOCUMENT",
    "MAX_ID",
    "Document",
    "Documents",
    "Json",
    "checked",
    "encoded",
    "insert",
    "update",
]

MAX_ID = 128
"""Characters of an id."""
MAX_DOCUMENT = 256 * 1024
"""Bytes of one document as JSON."""
MOST = 10_000
"""Documents of one kind that a tenant may have; a listing is one answer."""
MOST_BYTES = 16 << 20
"""Bytes of all of them."""
BUSY_S = 5.0
SCHEMA = 1
STATEMENTS = (
    """CREATE TABLE documents (
        tenant TEXT NOT NULL,
        kind TEXT NOT NULL,
        id TEXT NOT NULL,
        body TEXT NOT NULL,
        number INTEGER NOT NULL,
        PRIMARY KEY (tenant, kind, id)
    ) WITHOUT ROWID""",
    "CREATE UNIQUE INDEX documents_in_order ON documents (tenant, kind, number)",
)
Json = dict[str, Any]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Document:
    """One document."""

    id: str
    body: Json


class Documents:
    """The documents of every tenant; each kind is a set of ids.

    Args:
        path: of the file; made, for its owner alone, at the first use.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connection: sqlite3.Connection | None = None
        self._turn = anyio.Lock()
        self._closed = False

    async def all(self, tenant: str, kind: str) -> list[Document]:
        """All of a kind, in the order in which they were put in."""

        def job(db: sqlite3.Connection) -> list[Document]:
            rows = db.execute(
                "SELECT id, body FROM documents WHERE tenant = ? AND kind = ? ORDER BY number",
                (tenant, kind),
            )
            return [Document(id_, json.loads(body)) for id_, body in rows]

        return await self.run(job)

    async def find(self, tenant: str, kind: str, wanted: Mapping[str, Any]) -> Document | None:
        """The first of a kind whose fields are as *wanted* says."""
        for document in await self.all(tenant, kind):
            if all(document.body.get(name) == value for name, value in wanted.items()):
                return document
        return None

    async def get(self, tenant: str, kind: str, id_: str) -> Document | None:
        """One document."""
        return await self.run(lambda db: _get(db, tenant, kind, id_))

    async def add(self, tenant: str, kind: str, id_: str, body: Json) -> Document:
        """Put a new one in.

        Raises:
            AlreadyExists: there is one of that id.
            InvalidField, TooLarge, QuotaReached: the id, the size or the number is out of bounds.
        """
        text = encoded(checked(id_), body)

        def job(db: sqlite3.Connection) -> Document:
            if _get(db, tenant, kind, id_) is not None:
                raise AlreadyExists(f"There is one with the id {id_} already.")
            insert(db, tenant, kind, id_, text)
            return Document(id_, body)

        return await self.run(job, writes=True)

    async def merge(self, tenant: str, kind: str, id_: str, fields: Json) -> Document | None:
        """Set some *fields* of one; None: there is none."""

        def job(db: sqlite3.Connection) -> Document | None:
            found = _get(db, tenant, kind, id_)
            if found is None:
                return None
            body = {**found.body, **fields}
            update(db, tenant, kind, id_, encoded(id_, body))
            return Document(id_, body)

        return await self.run(job, writes=True)

    async def put(self, tenant: str, kind: str, id_: str, body: Json) -> None:
        """Put one in, or in the place of the one that is there."""
        text = encoded(checked(id_), body)

        def job(db: sqlite3.Connection) -> None:
            if _get(db, tenant, kind, id_) is None:
                insert(db, tenant, kind, id_, text)
            else:
                update(db, tenant, kind, id_, text)

        await self.run(job, writes=True)

    async def remove(self, tenant: str, kind: str, id_: str) -> Document | None:
        """Take one out; None: there was none."""

        def job(db: sqlite3.Connection) -> Document | None:
            found = _get(db, tenant, kind, id_)
            db.execute(
                "DELETE FROM documents WHERE tenant = ? AND kind = ? AND id = ?",
                (tenant, kind, id_),
            )
            return found

        return await self.run(job, writes=True)

    async def close(self) -> None:
        """Close the file; nothing works afterwards."""
        async with self._turn:
            self._closed = True
            connection, self._connection = self._connection, None
            if connection is not None:
                await anyio.to_thread.run_sync(connection.close)

    async def run(self, job: Callable[[sqlite3.Connection], T], *, writes: bool = False) -> T:
        """Do *job* in a thread and in one transaction, for those who look in other ways."""

        def work() -> T:
            connection = self._connection = self._connection or open_database(
                self._path, STATEMENTS, SCHEMA, busy_s=BUSY_S
            )
            return _within(connection, job, writes=writes)

        async with self._turn:
            if self._closed:
                raise Unavailable("The service is shutting down.")
            return await anyio.to_thread.run_sync(work)


def _within(
    connection: sqlite3.Connection, job: Callable[[sqlite3.Connection], T], *, writes: bool
) -> T:
    """Do *job* in one transaction. Blocks."""
    try:
        connection.execute("BEGIN IMMEDIATE" if writes else "BEGIN")
        try:
            found = job(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        raise _translated(error) from error
    return found


def _translated(error: sqlite3.OperationalError) -> Exception:
    code = error.sqlite_errorcode & 0xFF
    if code == sqlite3.SQLITE_FULL:
        return OutOfSpace("The disk is full.")
    if code == sqlite3.SQLITE_BUSY:
        return Unavailable("The documents are in use just now.", retry_after_s=1)
    return error


def _get(db: sqlite3.Connection, tenant: str, kind: str, id_: str) -> Document | None:
    row = db.execute(
        "SELECT body FROM documents WHERE tenant = ? AND kind = ? AND id = ?", (tenant, kind, id_)
    ).fetchone()
    return None if row is None else Document(id_, json.loads(row[0]))


def insert(db: sqlite3.Connection, tenant: str, kind: str, id_: str, text: str) -> None:
    """Put a new one in, within the bounds."""
    number, size, last = db.execute(
        """SELECT count(*), coalesce(sum(length(body)), 0), coalesce(max(number), 0)
        FROM documents WHERE tenant = ? AND kind = ?""",
        (tenant, kind),
    ).fetchone()
    if number >= MOST or size + len(text) > MOST_BYTES:
        raise QuotaReached("There are too many of these already. Remove some first.")
    db.execute(
        "INSERT INTO documents (tenant, kind, id, body, number) VALUES (?, ?, ?, ?, ?)",
        (tenant, kind, id_, text, last + 1),
    )


def update(db: sqlite3.Connection, tenant: str, kind: str, id_: str, text: str) -> None:
    """Put *text* in the place of what is there, within the bounds."""
    (size,) = db.execute(
        """SELECT coalesce(sum(length(body)), 0) FROM documents
        WHERE tenant = ? AND kind = ? AND id != ?""",
        (tenant, kind, id_),
    ).fetchone()
    if size + len(text) > MOST_BYTES:
        raise QuotaReached("These take too much room already. Remove some first.")
    db.execute(
        "UPDATE documents SET body = ? WHERE tenant = ? AND kind = ? AND id = ?",
        (text, tenant, kind, id_),
    )


def checked(id_: str) -> str:
    """*id_*, where it is one that an address can name.

    Raises:
        InvalidField: it is none.
    """
    if id_ in (".", ".."):
        raise InvalidField("_id", "An id of dots alone is none: no address can name it.")
    if not (1 <= len(id_) <= MAX_ID and id_.isprintable()):
        raise InvalidField("_id", f"An id has 1 to {MAX_ID} printable characters.")
    return id_


def encoded(id_: str, body: Json) -> str:
    """*body* as it is stored: JSON in ASCII, the same for the same content.

    Raises:
        InvalidField: it has numbers that are none. TooLarge: it is.
    """
    try:
        text = json.dumps(body, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
    except (ValueError, RecursionError) as error:
        raise InvalidField("body", "JSON has no such numbers, or is not so deep.") from error
    if len(text) > MAX_DOCUMENT:
        raise TooLarge(f"The document {id_} has more than {MAX_DOCUMENT} bytes.")
    return text
