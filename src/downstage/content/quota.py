"""How much a folder holds: counters kept up every parent, and the bounds set on them.

Bytes are logical: the present contents of what is not deleted, whatever is shared on disk.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from downstage.content.model import Usage
from downstage.kernel.errors import QuotaReached

__all__ = ["add", "held_by", "recount", "refuse_over", "set_bounds", "spare", "usage"]


def add(db: sqlite3.Connection, folders: Sequence[int], size: int, nodes: int) -> None:
    """Count *size* bytes and *nodes* more (or fewer) in folders, given from the root down.

    Raises:
        QuotaReached: one of them may not hold that much; only ever for more, never for fewer.
    """
    if not (size or nodes):
        return
    marks = ",".join("?" * len(folders))
    rows = db.execute(
        f"UPDATE folder SET bytes = bytes + ?, nodes = nodes + ? WHERE node IN ({marks})"  # noqa: S608 - question marks
        " RETURNING (? > 0 AND bytes > max_bytes) OR (? > 0 AND nodes > max_nodes)",
        (size, nodes, *folders, size, nodes),
    )
    if any(over for (over,) in rows.fetchall()):
        raise QuotaReached("That is more than this folder may hold.", bytes=size, nodes=nodes)


def refuse_over(db: sqlite3.Connection, folders: Sequence[int], size: int, nodes: int) -> None:
    """Let pass what fits.

    Raises:
        QuotaReached: it does not.
    """
    marks = ",".join("?" * len(folders))
    full = db.execute(
        f"SELECT node FROM folder WHERE node IN ({marks}) AND"  # noqa: S608 - question marks
        " ((? > 0 AND bytes + ? > max_bytes) OR (? > 0 AND nodes + ? > max_nodes)) LIMIT 1",
        (*folders, size, size, nodes, nodes),
    ).fetchone()
    if full is not None:
        raise QuotaReached("That is more than this folder may hold.", bytes=size, nodes=nodes)


def spare(db: sqlite3.Connection, folders: Sequence[int]) -> int | None:
    """Bytes that may still come into all of *folders*; None: no bound."""
    marks = ",".join("?" * len(folders))
    return db.execute(
        f"SELECT min(max_bytes - bytes) FROM folder WHERE node IN ({marks})",  # noqa: S608 - question marks
        tuple(folders),
    ).fetchone()[0]


def held_by(db: sqlite3.Connection, node: int, kind: str, size: int) -> tuple[int, int]:
    """Bytes and nodes that a node is worth, itself included."""
    if kind != "folder":
        return size, 1
    held, nodes = db.execute("SELECT bytes, nodes FROM folder WHERE node = ?", (node,)).fetchone()
    return held, nodes + 1


def usage(db: sqlite3.Connection, folder: int) -> Usage:
    """What a folder holds, and may hold."""
    return Usage(
        *db.execute(
            "SELECT bytes, nodes, max_bytes, max_nodes FROM folder WHERE node = ?", (folder,)
        ).fetchone()
    )


def set_bounds(
    db: sqlite3.Connection, folder: int, max_bytes: int | None, max_nodes: int | None
) -> None:
    """Bound what a folder may hold; less than it holds now only stops more from coming."""
    db.execute(
        "UPDATE folder SET max_bytes = ?, max_nodes = ? WHERE node = ?",
        (max_bytes, max_nodes, folder),
    )


def recount(db: sqlite3.Connection, folder: int) -> tuple[int, int]:
    """Bytes and nodes below a folder counted one by one; what the counters must say."""
    return db.execute(
        "WITH RECURSIVE below (id, size) AS ("
        " SELECT id, size FROM node WHERE parent = ? AND deleted_at = 0 UNION ALL"
        " SELECT node.id, node.size FROM below JOIN node ON node.parent = below.id"
        " AND node.deleted_at = 0)"
        " SELECT coalesce(sum(size), 0), count(*) FROM below",
        (folder,),
    ).fetchone()
