"""Locks: who alone may write to a node and below it, for how long, and what ends them.

Leases run on the monotonic clock of this boot: setting the wall clock neither ends nor prolongs
one. After a reboot the wall clock has to do.
"""

# ruff: noqa: S608 - built of constants and question marks
from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

from downstage.content.model import Caller, Lock
from downstage.kernel.clock import Clock
from downstage.kernel.errors import Locked

__all__ = [
    "DEFAULT_LEASE_S",
    "GRACE_S",
    "MAX_LEASE_S",
    "Held",
    "Moment",
    "everything",
    "expire",
    "held_below",
    "held_on",
    "is_holder",
    "moment",
    "refuse_others",
    "release_client",
    "remove",
    "store",
]

DEFAULT_LEASE_S = 3600.0
MAX_LEASE_S = 24 * 3600.0
GRACE_S = 30.0
"""Seconds that the locks of a client outlive its connection."""
COLUMNS = (
    "node, token, owner, subject, client, etag, note, acquired_at, expires_at, expires_mono, boot"
)


class Moment(NamedTuple):
    """Now, on every clock."""

    ns: int
    mono: float
    boot: str


@dataclass(frozen=True, slots=True)
class Held:
    """A lock as it is stored."""

    node: int
    token: str
    owner: str
    subject: str
    client: str
    etag: str
    note: str
    acquired_at: int
    expires_at: int
    expires_mono: float
    boot: str

    def is_over(self, now: Moment) -> bool:
        """Whether its lease has run out."""
        if self.boot == now.boot:
            return self.expires_mono <= now.mono
        return self.expires_at <= now.ns

    def told(self, path: str) -> Lock:
        """As everybody sees it, at its path."""
        return Lock(
            path=path,
            token=self.token,
            owner=self.owner,
            subject=self.subject,
            client_id=self.client,
            etag=self.etag,
            acquired_at=self.acquired_at,
            expires_at=self.expires_at,
            note=self.note,
        )


def moment(clock: Clock) -> Moment:
    """This moment."""
    return Moment(int(clock.now().timestamp() * 1e9), clock.monotonic(), clock.boot_id())


def is_holder(held: Held, caller: Caller) -> bool:
    """Whether the lock is the caller's: its client's, or its person's where it names no client.

    Or its person's who shows its token: a request may need several clients' locks at once.
    """
    if held.token in caller.lock_tokens:
        return held.subject == caller.subject
    if held.client:
        return held.client == caller.client_id and held.subject == caller.subject
    return held.subject == caller.subject


def held_on(db: sqlite3.Connection, nodes: Sequence[int], now: Moment) -> list[Held]:
    """The locks on some nodes that are not over."""
    marks = ",".join("?" * len(nodes))
    rows = db.execute(f"SELECT {COLUMNS} FROM lock WHERE node IN ({marks})", tuple(nodes))
    return [held for held in (Held(*row) for row in rows) if not held.is_over(now)]


def everything(db: sqlite3.Connection) -> dict[int, Held]:
    """Every lock by its node, also those that are over and not yet swept away."""
    rows = (Held(*row) for row in db.execute(f"SELECT {COLUMNS} FROM lock"))
    return {held.node: held for held in rows}


def held_below(db: sqlite3.Connection, node: int, now: Moment) -> list[Held]:
    """The locks on a node and on what lies below it; few are held at a time, so up from those."""
    rows = db.execute(
        "WITH RECURSIVE up (held, at) AS (SELECT node, node FROM lock UNION ALL"
        " SELECT held, parent FROM up JOIN node ON node.id = up.at WHERE at <> ?1)"
        f" SELECT {COLUMNS} FROM lock WHERE node IN (SELECT held FROM up WHERE at = ?1)",
        (node,),
    )
    return [held for held in (Held(*row) for row in rows) if not held.is_over(now)]


def refuse_others(found: Sequence[Held], caller: Caller, path: str) -> None:
    """Let pass whoever holds all of *found*.

    Raises:
        Locked: one is somebody else's.
    """
    for held in found:
        if not is_holder(held, caller):
            raise Locked("Somebody else holds a lock here.", path=path, owner=held.owner)


def store(db: sqlite3.Connection, held: Held) -> None:
    """Make or replace a lock."""
    db.execute(
        f"INSERT OR REPLACE INTO lock ({COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (
            *(held.node, held.token, held.owner, held.subject, held.client, held.etag),
            *(held.note, held.acquired_at, held.expires_at, held.expires_mono, held.boot),
        ),
    )


def remove(db: sqlite3.Connection, node: int) -> None:
    """End the lock of a node."""
    db.execute("DELETE FROM lock WHERE node = ?", (node,))


def release_client(db: sqlite3.Connection, client: str, now: Moment, grace_s: float) -> None:
    """A client's connection is gone: its locks end after a grace, unless they are renewed."""
    db.execute(
        "UPDATE lock SET expires_at = min(expires_at, ?), expires_mono = min(expires_mono, ?)"
        " WHERE client = ? AND boot = ?",
        (now.ns + int(grace_s * 1e9), now.mono + grace_s, client, now.boot),
    )
    db.execute(
        "UPDATE lock SET expires_at = min(expires_at, ?) WHERE client = ? AND boot <> ?",
        (now.ns + int(grace_s * 1e9), client, now.boot),
    )


def expire(db: sqlite3.Connection, now: Moment) -> list[Held]:
    """Remove the locks whose lease is over; those."""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM lock WHERE boot <> ? OR expires_mono <= ?", (now.boot, now.mono)
    ).fetchall()
    over = [held for held in (Held(*row) for row in rows) if held.is_over(now)]
    for held in over:
        remove(db, held.node)
    return over
