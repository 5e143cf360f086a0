"""The rows of the bytes: functions over a connection, for the writer's transactions."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass

from downstage.content.blobs.protocol import Extent, Staged
from downstage.kernel.errors import Unavailable

__all__ = ["Row", "adopt", "extents", "find", "mark_bad"]


@dataclass(frozen=True, slots=True)
class Row:
    """One content as the database knows it."""

    id: int
    hash: str
    size: int
    data: bytes | None
    bad: bool


def find(db: sqlite3.Connection, digest: str) -> Row | None:
    """The row of a hash."""
    row = db.execute(
        "SELECT id, hash, size, data, bad FROM blob WHERE hash = ?", (digest,)
    ).fetchone()
    return None if row is None else Row(row[0], row[1], row[2], row[3], bool(row[4]))


def extents(db: sqlite3.Connection, blob: int) -> list[Extent]:
    """Where the bytes of a row lie, in order."""
    rows = db.execute(
        "SELECT source.name, extent.at, extent.length FROM extent"
        " JOIN source ON source.id = extent.source WHERE extent.blob = ? ORDER BY extent.n",
        (blob,),
    )
    return [Extent(*row) for row in rows]


def adopt(db: sqlite3.Connection, staged: Staged, now_s: int) -> None:
    """Let the database know what was staged; the version that holds it comes right after.

    Known bytes stay as they are; those found damaged are replaced by the new ones.

    Args:
        db: inside the transaction that commits the version.
        staged: not yet released.
        now_s: seconds since the epoch, from which an unused row counts as unused.

    Raises:
        Unavailable: the bytes were known when they were staged and are gone now.
    """
    known = db.execute("SELECT id, bad FROM blob WHERE hash = ?", (staged.hash,)).fetchone()
    if known is not None and not known[1]:
        return
    if staged.inline is None and staged.extents is None:
        raise Unavailable("The bytes went away meanwhile; send them again.")
    if known is None:
        blob = db.execute(
            "INSERT INTO blob (hash, size, data, unused_since) VALUES (?, ?, ?, ?)",
            (staged.hash, staged.size, staged.inline, now_s),
        ).lastrowid
    else:
        blob = known[0]
        db.execute("UPDATE blob SET bad = 0, data = ? WHERE id = ?", (staged.inline, blob))
        db.execute("DELETE FROM extent WHERE blob = ?", (blob,))
    for n, extent in enumerate(staged.extents or ()):
        db.execute(
            "INSERT INTO extent (blob, n, source, at, length) VALUES (?, ?, ?, ?, ?)",
            (blob, n, _source(db, extent), extent.at, extent.length),
        )


def mark_bad(db: sqlite3.Connection, digest: str, *, bad: bool = True) -> None:
    """Remember that bytes are damaged, or that they are not."""
    db.execute("UPDATE blob SET bad = ? WHERE hash = ?", (int(bad), digest))


def _source(db: sqlite3.Connection, extent: Extent) -> int:
    """The id of an extent's source, which is as large as its extents reach."""
    return db.execute(
        "INSERT INTO source (name, size) VALUES (?, ?) ON CONFLICT (name)"
        " DO UPDATE SET size = max(size, excluded.size) RETURNING id",
        (extent.source, extent.at + extent.length),
    ).fetchone()[0]
