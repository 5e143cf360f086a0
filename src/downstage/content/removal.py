"""Delete, undelete, obliterate: a deleted subtree is hidden whole until it is swept away."""

from __future__ import annotations

import sqlite3

from downstage.content import locks, names, quota, tree
from downstage.content.edit import Edit, check
from downstage.content.model import ANY, Access, Condition, Entry
from downstage.content.tree import Trail
from downstage.kernel.errors import AlreadyExists, Conflict, FolderNotEmpty, Forbidden, NotFound

__all__ = ["delete", "delete_trail", "obliterate", "sweep_deleted", "undelete"]


def delete(edit: Edit, path: str, *, recursive: bool, condition: Condition = ANY) -> None:
    """Hide a file, or a folder with all below it, until it is undeleted or swept away.

    Raises:
        FolderNotEmpty: it holds something and *recursive* is false.
        Locked: it, or something below it, is locked by somebody else.
        Forbidden: something below may not be changed, or it is the root.
    """
    trail = edit.find(path, Access.WRITE)
    check(condition, trail.node)
    if trail.node.kind == "folder" and not recursive:
        _refuse_full(edit.db, trail)
    delete_trail(edit, trail)


def delete_trail(edit: Edit, trail: Trail) -> None:
    """`delete` of what is known to be there and may be written."""
    if len(trail.nodes) == 1:
        raise Forbidden("The root stays.")
    edit.refuse_locked(trail, below=True)
    edit.require_below(trail, Access.WRITE)
    node = trail.node
    size, nodes = quota.held_by(edit.db, node.id, node.kind, node.size)
    quota.add(edit.db, trail.up.ids, -size, -nodes)
    for held in edit.held_below(trail):
        locks.remove(edit.db, held.node)
        edit.change.stale.add("lock")
    seq = edit.change.next_seq()
    edit.db.execute(
        "UPDATE node SET deleted_at = ?, deleted_by = ?, seq = ? WHERE id = ?",
        (edit.change.at, edit.by, seq, node.id),
    )
    edit.touch(trail.up, seq)
    edit.change.moves = edit.change.moves or node.kind != "file"
    edit.record("deleted", edit.refreshed(trail), seq)


def undelete(edit: Edit, path: str) -> Entry:
    """Bring back what was deleted last at *path*, with its id and all below it.

    Raises:
        NotFound: nothing was, or a folder above is not there.
        AlreadyExists: something else bears the name now.
    """
    trail = edit.walk(path)
    if not trail.missing:
        _require_seen(edit, trail)
        raise AlreadyExists("Something bears this name now.", path=path)
    if len(trail.missing) > 1:
        raise _nothing(path)
    name = trail.last_name
    node = tree.child(edit.db, trail.node.id, name, deleted=True)
    if node is None:
        raise _nothing(path)
    _require_seen(edit, Trail((*trail.nodes, node)))
    edit.refuse_locked(trail)
    edit.refuse_taken(trail.node.id, name, names.fold(name))
    quota.add(edit.db, trail.ids, *quota.held_by(edit.db, node.id, node.kind, node.size))
    seq = edit.change.next_seq()
    edit.db.execute(
        "UPDATE node SET deleted_at = 0, deleted_by = '', seq = ? WHERE id = ?", (seq, node.id)
    )
    edit.touch(Trail(trail.nodes), seq)
    edit.change.moves = edit.change.moves or node.kind != "file"
    back = Trail((*trail.nodes, edit.node(node.id)))
    edit.record("undeleted", back, seq)
    return edit.entry(back)


def _require_seen(edit: Edit, trail: Trail) -> None:
    """Refuse what may not be written; what may not even be read, as if nothing had been deleted."""
    if not edit.access(trail) & Access.READ:
        raise _nothing(trail.wanted)
    edit.require(trail, Access.WRITE)


def _nothing(path: str) -> NotFound:
    return NotFound("Nothing was deleted at this path.", path=path)


def obliterate(edit: Edit, path: str, *, checkpoints: bool) -> None:
    """Remove something for ever: deleted or not, with its versions and all below it.

    Args:
        edit: the operation.
        path: what is there, else what was deleted last.
        checkpoints: also where that takes checkpoints, or what a folder holds, with it.

    Raises:
        Forbidden: not an administrator there and of everything below.
        FolderNotEmpty: a folder that holds something, without *checkpoints*.
        Conflict: a file with checkpoints, without *checkpoints*.
    """
    trail = edit.find(path, Access.ADMIN, deleted=True)
    if len(trail.nodes) == 1:
        raise Forbidden("The root stays.")
    edit.refuse_locked(trail, below=True)
    edit.require_below(trail, Access.ADMIN)
    if not checkpoints and trail.node.kind == "folder":
        _refuse_full(edit.db, trail)
    if not checkpoints and trail.node.checkpoint:
        raise Conflict("It has checkpoints.", path=path)
    node = trail.node
    if not trail.is_deleted:
        size, nodes = quota.held_by(edit.db, node.id, node.kind, node.size)
        quota.add(edit.db, trail.up.ids, -size, -nodes)
    elif not node.deleted_at:  # it lies in a folder that is deleted: that one counts on
        size, nodes = quota.held_by(edit.db, node.id, node.kind, node.size)
        quota.add(edit.db, _counting(trail), -size, -nodes)
    seq = edit.change.next_seq()
    remove_rows(edit.db, node.id)
    edit.change.stale.add("lock")
    edit.touch(trail.up, seq)
    edit.change.moves = edit.change.moves or node.kind != "file"
    edit.record("obliterated", trail, seq)


def sweep_deleted(db: sqlite3.Connection, before: int, limit: int) -> int:
    """Remove for ever what was deleted before a moment (nanoseconds); how many, at most *limit*."""
    rows = db.execute(
        "SELECT id FROM node WHERE deleted_at > 0 AND deleted_at < ? LIMIT ?", (before, limit)
    ).fetchall()
    for (node,) in rows:
        remove_rows(db, node)
    return len(rows)


def remove_rows(db: sqlite3.Connection, top: int) -> None:
    """Remove a node and all below it, deleted ones too; triggers let go of the bytes.

    Rights stay until no event names the node any more: who may hear that it is gone.
    """
    db.execute("CREATE TEMP TABLE IF NOT EXISTS doomed (id INTEGER PRIMARY KEY)")
    db.execute("DELETE FROM doomed")
    db.execute(
        "WITH RECURSIVE below (id) AS (VALUES (?) UNION ALL"
        " SELECT node.id FROM below JOIN node ON node.parent = below.id AND deleted_at = 0"
        " UNION ALL"
        " SELECT node.id FROM below JOIN node ON node.parent = below.id AND deleted_at > 0)"
        " INSERT INTO doomed SELECT id FROM below",
        (top,),
    )
    for table in ("version", "property", "lock", "folder"):
        db.execute(f"DELETE FROM {table} WHERE node IN (SELECT id FROM doomed)")  # noqa: S608 - constants
    db.execute("DELETE FROM node WHERE id IN (SELECT id FROM doomed)")


def _counting(trail: Trail) -> list[int]:
    """The folders that count what lies in a deleted one: from the deleted one down."""
    ids = list[int]()
    for node in reversed(trail.nodes[:-1]):
        ids.append(node.id)
        if node.deleted_at:
            break
    return ids


def _refuse_full(db: sqlite3.Connection, trail: Trail) -> None:
    if tree.children(db, trail.node.id, "", 1):
        raise FolderNotEmpty("The folder holds something.", path=trail.path)
