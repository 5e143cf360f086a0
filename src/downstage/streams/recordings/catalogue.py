"""The catalogue of recordings: one SQLite file for all tenants, which several processes share."""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, Final, TypeVar

import anyio
import anyio.to_thread

from downstage.kernel.errors import (
    AlreadyExists,
    NotFound,
    OutOfSpace,
    QuotaReached,
    Unavailable,
)
from downstage.streams.database import open_database
from downstage.streams.model import EntryId
from downstage.streams.recordings.ledger import Facts
from downstage.streams.recordings.model import Recording
from downstage.streams.recordings.states import Life, State

__all__ = ["MOST", "Catalogue"]

T = TypeVar("T")

MOST: Final = 10_000
"""Recordings of one tenant; a listing is one answer."""
BUSY_S: Final = 10.0
SCHEMA: Final = 1
STATEMENTS: Final = (
    """CREATE TABLE recordings (
        id TEXT PRIMARY KEY,
        tenant TEXT NOT NULL,
        name TEXT NOT NULL,
        state TEXT NOT NULL,
        due INTEGER NOT NULL,
        started INTEGER NOT NULL,
        body TEXT NOT NULL,
        UNIQUE (tenant, name)
    ) WITHOUT ROWID""",
    "CREATE INDEX recordings_by_state ON recordings (state)",
)


class Catalogue:
    """Recordings by tenant and name.

    Args:
        path: of the file; made, for its owner alone, by `open`.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        self._connections: dict[bool, sqlite3.Connection] = {}
        # Who reads does not wait for a writer's disk.
        self._turns = {True: anyio.Lock(), False: anyio.Lock()}
        self._closed = False

    async def open(self) -> None:
        """Open the file, make what is missing.

        Raises:
            SetupError: it is of a newer version.
        """
        for writes in (True, False):
            self._connections[writes] = await anyio.to_thread.run_sync(
                partial(open_database, self._path, STATEMENTS, SCHEMA, busy_s=BUSY_S)
            )

    async def add(self, recording: Recording) -> None:
        """Put a new one in.

        Raises:
            AlreadyExists: its tenant has one of that name.
            QuotaReached: its tenant has `MOST`.
        """

        def job(db: sqlite3.Connection) -> None:
            (count,) = db.execute(
                "SELECT count(*) FROM recordings WHERE tenant = ?", (recording.tenant,)
            ).fetchone()
            if count >= MOST:
                raise QuotaReached(f"There are {MOST} recordings already. Delete some first.")
            _put(db, recording, "INSERT")

        await self._run(job)

    async def find(self, tenant: str, name: str) -> Recording:
        """The one of that name.

        Raises:
            NotFound: there is none.
        """

        def job(db: sqlite3.Connection) -> Recording:
            row = db.execute(
                "SELECT body FROM recordings WHERE tenant = ? AND name = ?", (tenant, name)
            ).fetchone()
            if row is None:
                raise NotFound(f"There is no recording {name}.")
            return _read(row[0])

        return await self._run(job, writes=False)

    async def all(self, tenant: str) -> list[Recording]:
        """Those of a tenant, the oldest first."""
        return await self._select("tenant = ? ORDER BY started, name", (tenant,))

    async def unfinished(self) -> list[Recording]:
        """Those of all tenants that are being recorded, or were when their process died."""
        states = (State.RECORDING.value, State.STOPPING.value)
        return await self._select("state IN (?, ?)", states)

    async def due(self) -> list[Recording]:
        """Those of all tenants that are to be put into the content service."""
        return await self._select("due = 1 ORDER BY started", ())

    async def change(self, id_: str, job: Callable[[Recording], Recording]) -> Recording:
        """Make one what *job* makes of it; it may be called in a thread, and raise to refuse.

        Raises:
            NotFound: it is gone.
            AlreadyExists: its new name is another one's.
        """

        def run(db: sqlite3.Connection) -> Recording:
            row = db.execute("SELECT body FROM recordings WHERE id = ?", (id_,)).fetchone()
            if row is None:
                raise NotFound("This recording was deleted.")
            before = _read(row[0])
            after = job(before)
            if after != before:
                _put(db, replace(after, id=id_), "REPLACE", before)
            return after

        return await self._run(run)

    async def remove(self, id_: str) -> None:
        """Forget one."""
        await self._run(lambda db: db.execute("DELETE FROM recordings WHERE id = ?", (id_,)))

    async def close(self) -> None:
        """Close the file; nothing works afterwards."""
        async with self._turns[True], self._turns[False]:
            self._closed = True
            for connection in self._connections.values():
                await anyio.to_thread.run_sync(connection.close)
            self._connections.clear()

    async def _select(self, where: str, values: tuple[str, ...]) -> list[Recording]:
        def job(db: sqlite3.Connection) -> list[Recording]:
            rows = db.execute(f"SELECT body FROM recordings WHERE {where}", values)  # noqa: S608
            return [_read(row[0]) for row in rows]

        return await self._run(job, writes=False)

    async def _run(self, job: Callable[[sqlite3.Connection], T], *, writes: bool = True) -> T:
        def run() -> T:
            return _within(self._connections[writes], job, "BEGIN IMMEDIATE" if writes else "BEGIN")

        async with self._turns[writes]:
            if self._closed:
                raise Unavailable("The service is shutting down.")
            return await anyio.to_thread.run_sync(run)


def _within(
    connection: sqlite3.Connection, job: Callable[[sqlite3.Connection], T], begin: str
) -> T:
    try:
        connection.execute(begin)
        try:
            found = job(connection)
            connection.execute("COMMIT")
        finally:
            if connection.in_transaction:
                connection.execute("ROLLBACK")
    except sqlite3.OperationalError as error:
        code = error.sqlite_errorcode & 0xFF
        if code == sqlite3.SQLITE_FULL:
            raise OutOfSpace("The disk is full.") from error
        if code == sqlite3.SQLITE_BUSY:
            raise Unavailable("The catalogue is in use just now.", retry_after_s=1) from error
        raise
    return found


def _put(
    db: sqlite3.Connection, recording: Recording, verb: str, before: Recording | None = None
) -> None:
    taken = db.execute(
        "SELECT id FROM recordings WHERE tenant = ? AND name = ?",
        (recording.tenant, recording.name),
    ).fetchone()
    if taken is not None and (before is None or taken[0] != before.id):
        raise AlreadyExists(f"There is a recording {recording.name} already.")
    db.execute(
        f"{verb} INTO recordings (id, tenant, name, state, due, started, body) "
        "VALUES (?, ?, ?, ?, ?, ?, ?)",
        (
            recording.id,
            recording.tenant,
            recording.name,
            recording.life.state.value,
            int(recording.due),
            recording.started_at,
            _written(recording),
        ),
    )


def _written(recording: Recording) -> str:
    body: dict[str, Any] = {
        name: getattr(recording, name)
        for name in Recording.__dataclass_fields__
        if name not in ("life", "facts", "patterns")
    }
    body["patterns"] = list(recording.patterns)
    body["state"], body["reason"] = recording.life.state.value, recording.life.reason
    body["facts"] = {name: _facts_written(facts) for name, facts in recording.facts.items()}
    return json.dumps(body, separators=(",", ":"))


def _facts_written(facts: Facts) -> list[Any]:
    first, last = facts.first and str(facts.first), facts.last and str(facts.last)
    return [facts.count, facts.bytes, facts.chunks, first, last, facts.content_type]


def _read(text: str) -> Recording:
    body: dict[str, Any] = json.loads(text)
    life = Life(State(body.pop("state")), body.pop("reason"))
    facts: Mapping[str, list[Any]] = body.pop("facts")
    patterns: list[str] = body.pop("patterns")
    read = {name: _facts_read(row) for name, row in facts.items()}
    return Recording(patterns=tuple(patterns), life=life, facts=read, **body)


def _facts_read(row: list[Any]) -> Facts:
    count, size, chunks, first, last, content_type = row
    ids = [None if text is None else EntryId.parse(text) for text in (first, last)]
    return Facts(count, size, chunks, ids[0], ids[1], content_type)
