"""Copy and move: rows only, whatever the size of what lies below."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence

from downstage.content import names, quota, removal, tree, versions
from downstage.content.edit import Edit, check
from downstage.content.model import ANY, Access, Condition, Entry, Kind
from downstage.content.tree import Node, Trail
from downstage.content.unseen import require_place
from downstage.kernel.errors import (
    AlreadyExists,
    BadUrl,
    Forbidden,
    NotFound,
    NotSupported,
    SourceIsTarget,
    WrongType,
)

__all__ = ["copy", "create_folder", "move"]

COPIED = ("folder", "file")
"""Kinds that a copy takes along; rooms and mounts belong to their place."""


def create_folder(edit: Edit, path: str, *, parents: bool) -> Entry:
    """Make a folder, with *parents* those above it too.

    Raises:
        AlreadyExists: something is there.
        NotFound: the folder above is missing.
        WrongType: a file lies above.
    """
    trail = edit.walk(path)
    require_place(edit, trail, Access.WRITE)
    if not trail.missing:
        raise AlreadyExists("There is something already.", path=path)
    if len(trail.missing) > 1 and not parents:
        raise NotFound("The folder above is missing.", path=path)
    edit.refuse_locked(trail)
    return edit.entry(edit.make_folders(Trail(trail.nodes), trail.missing))


def copy(
    edit: Edit,
    source: str,
    target: str,
    *,
    checkpoint: int = 0,
    overwrite: bool = False,
    only: Kind | None = None,
    condition: Condition = ANY,
    source_condition: Condition = ANY,
    message: str = "",
) -> Entry:
    """Copy a file, or a folder with all that the caller may read below it.

    The copy begins with the present content (or that of *checkpoint*) as its version 1; rights,
    locks and earlier versions stay behind, properties come along. A file over a file becomes its
    next content, with the properties of the source; a folder over a folder merges.

    Raises:
        SourceIsTarget: onto itself, or into itself.
        WrongType: not of the kind *only*, or a folder onto a file.
        AlreadyExists: something is there and may not be replaced; or a file onto a folder.
    """
    versions.check_comment(message)
    here = edit.find(source, Access.READ)
    there = edit.walk(target)
    require_place(edit, there, Access.WRITE)
    check(source_condition, here.node)
    _refuse_pair(here, there, only)
    if here.node.kind not in COPIED:
        raise NotSupported("Only files and folders are copied.", path=source)
    check(condition, None if there.missing else there.node)
    edit.refuse_locked(there)
    node = here.node
    if checkpoint and node.kind == "file":
        past = versions.find_version(edit.db, node.id, checkpoint=checkpoint)
        node = node._replace(hash=past.hash, size=past.size)
    if not there.missing:
        _refuse_overwrite(node, there, overwrite=overwrite)
        over = _copy_over(edit, here, node, there, message)
        return edit.entry(edit.refreshed(over))
    folder = edit.make_folders(Trail(there.nodes), there.missing[:-1])
    place = Trail(folder.nodes, there.missing[-1:])
    return edit.entry(_copy_into(edit, here, node, place, message))


def move(
    edit: Edit,
    source: str,
    target: str,
    *,
    overwrite: bool = False,
    only: Kind | None = None,
    condition: Condition = ANY,
    source_condition: Condition = ANY,
    message: str = "",
) -> Entry:
    """Give something another place or name; it stays the same thing, with its id.

    What is replaced is deleted, as `delete` does, whole folders too.

    Raises:
        SourceIsTarget: onto itself, or into itself.
        WrongType: not of the kind *only*, or a folder onto a file.
        AlreadyExists: something is there and may not be replaced; or a file onto a folder.
        Locked: it, something below it, or what is replaced is locked by somebody else.
    """
    versions.check_comment(message)
    here = edit.find(source, Access.WRITE)
    there = edit.walk(target)
    require_place(edit, there, Access.WRITE)
    check(source_condition, here.node)
    if len(here.nodes) == 1:
        raise Forbidden("The root stays where it is.")
    _refuse_pair(here, there, only)
    check(condition, None if there.missing else there.node)
    edit.refuse_locked(here, below=True)
    edit.require_below(here, Access.WRITE)
    if there.missing:
        edit.refuse_locked(there)
        folder = edit.make_folders(Trail(there.nodes), there.missing[:-1])
        name = there.last_name
    else:
        _refuse_overwrite(here.node, there, overwrite=overwrite)
        _refuse_around(here, there)
        removal.delete_trail(edit, there)
        folder, name = there.up, there.node.name
    _refuse_too_deep(edit, here, folder)
    moved = _move_to(edit, here, folder, name)
    if message and moved.node.kind == "file":
        versions.checkpoint(edit, moved.path, message, force=True)
    return edit.entry(edit.refreshed(moved))


def _refuse_pair(here: Trail, there: Trail, only: Kind | None) -> None:
    if only is not None and here.node.kind != only:
        raise WrongType(f"The source is a {here.node.kind}.", path=here.path)
    if here.node.id in there.ids and (here.node.kind == "folder" or not there.missing):
        raise SourceIsTarget("That lies in itself.", source=here.path, target=there.wanted)


def _refuse_overwrite(node: Node, there: Trail, *, overwrite: bool) -> None:
    target = there.node
    if not overwrite or (node.kind != "folder" and target.kind != "file"):
        raise AlreadyExists("There is something already.", path=there.path)
    if node.kind == "folder" and target.kind != "folder":
        raise WrongType("A folder does not replace a file.", path=there.path)


def _refuse_around(here: Trail, there: Trail) -> None:
    """Refuse to replace, or to merge into, a folder that holds the source."""
    if there.node.id in here.ids:
        raise SourceIsTarget("The target holds the source.", source=here.path, target=there.path)


def _copy_over(edit: Edit, here: Trail, node: Node, there: Trail, message: str) -> Trail:
    if node.kind == "file":
        edit.db.execute("DELETE FROM property WHERE node = ?", (there.node.id,))
        _copy_properties(edit, node.id, there.node.id)
        return versions.replace(edit, there, node, message)
    _refuse_around(here, there)
    hidden = set(edit.restricted_below(here, Access.READ))
    for row in tree.children(edit.db, node.id, "", -1):
        one = Node._make(row)
        if one.id in hidden or one.kind not in COPIED:
            continue
        way = Trail((*here.nodes, one))
        found = tree.child(edit.db, there.node.id, one.name)
        if found is None:
            _copy_into(edit, way, one, Trail(there.nodes, (one.name,)), message)
            continue
        onto = Trail((*there.nodes, found))
        edit.require(onto, Access.WRITE)
        edit.refuse_locked(onto)
        _refuse_overwrite(one, onto, overwrite=True)
        _copy_over(edit, way, one, onto, message)
    return there


def _copy_into(edit: Edit, here: Trail, node: Node, place: Trail, message: str) -> Trail:
    """Copy to a place where nothing is, in a folder that is there."""
    folder, name = Trail(place.nodes), place.last_name
    if node.kind == "file":
        made = versions.create(edit, folder, name, node, message)
        _copy_properties(edit, node.id, made.node.id)
        return made
    hidden = edit.restricted_below(here, Access.READ)
    _refuse_too_deep(edit, here, folder)
    edit.refuse_taken(folder.node.id, name, names.fold(name))
    quota.refuse_over(edit.db, folder.ids, *quota.held_by(edit.db, node.id, "folder", 0))
    seq = edit.change.next_seq()
    copied = _copy_rows(edit, node, place, hidden, seq)
    quota.add(edit.db, folder.ids, *quota.held_by(edit.db, copied, "folder", 0))
    edit.touch(folder, seq)
    made = Trail((*folder.nodes, edit.node(copied)))
    edit.record("created", made, seq)
    return made


def _copy_properties(edit: Edit, source: int, target: int) -> None:
    edit.db.execute(
        "INSERT INTO property SELECT ?, name, value FROM property WHERE node = ?",
        (target, source),
    )


def _copy_rows(edit: Edit, top: Node, place: Trail, hidden: Sequence[int], seq: int) -> int:
    """Copy a folder with all below it; the id of the copy."""
    db, at, by, name = edit.db, edit.change.at, edit.by, place.last_name
    _number_copies(db, top.id, hidden)
    db.execute(
        "INSERT INTO node (id, parent, name, fold, kind, hash, size, version, created_at,"
        " created_by, modified_at, modified_by, seq)"
        " SELECT copied.new, coalesce(above.new, ?), CASE node.id WHEN ? THEN ? ELSE name END,"
        " CASE node.id WHEN ? THEN ? ELSE fold END, kind, hash, size, kind = 'file', ?, ?, ?, ?, ?"
        " FROM copied JOIN node ON node.id = copied.old"
        " LEFT JOIN copied AS above ON above.old = node.parent",
        (place.node.id, top.id, name, top.id, names.fold(name), at, by, at, by, seq),
    )
    db.execute(
        "INSERT INTO version (node, n, hash, size, by, at) SELECT copied.new, 1, hash, size, ?, ?"
        " FROM copied JOIN node ON node.id = copied.old WHERE kind = 'file'",
        (by, at),
    )
    db.execute(
        "INSERT INTO property SELECT copied.new, name, value FROM copied"
        " JOIN property ON property.node = copied.old"
    )
    db.execute(
        "INSERT INTO folder (node, bytes, nodes) SELECT copied.new, bytes, nodes FROM copied"
        " JOIN folder ON folder.node = copied.old"
    )
    (copied,) = db.execute("SELECT new FROM copied WHERE old = ?", (top.id,)).fetchone()
    _recount_if_less(edit, top.id)
    return copied


def _number_copies(db: sqlite3.Connection, top: int, hidden: Sequence[int]) -> None:
    """Fill the table ``copied``: each node at and below *top*, and the id of its copy."""
    db.execute("CREATE TEMP TABLE IF NOT EXISTS copied (old INTEGER PRIMARY KEY, new INTEGER)")
    db.execute("DELETE FROM copied")
    marks = ",".join("?" * len(hidden))
    (base,) = db.execute("SELECT seq FROM sqlite_sequence WHERE name = 'node'").fetchone()
    db.execute(
        "WITH RECURSIVE below (id) AS (VALUES (?) UNION ALL SELECT node.id FROM below"  # noqa: S608 - question marks
        " JOIN node ON node.parent = below.id AND node.deleted_at = 0"
        f" AND node.kind IN ('folder', 'file') AND node.id NOT IN ({marks}))"
        " INSERT INTO copied SELECT id, ? + row_number() OVER () FROM below",
        (top, *hidden, base),
    )


def _recount_if_less(edit: Edit, old: int) -> None:
    """Where something was left out, the counters of the source are not those of the copy."""
    db = edit.db
    (rows,) = db.execute("SELECT count(*) - 1 FROM copied").fetchone()
    if rows == quota.usage(db, old).nodes:
        return
    for (folder,) in db.execute(
        "SELECT new FROM copied JOIN folder ON folder.node = copied.old"
    ).fetchall():
        db.execute(
            "UPDATE folder SET bytes = ?, nodes = ? WHERE node = ?",
            (*quota.recount(db, folder), folder),
        )


def _move_to(edit: Edit, here: Trail, folder: Trail, name: str) -> Trail:
    node = here.node
    fold = names.fold(name)
    edit.refuse_taken(folder.node.id, name, fold, but=node.id)
    size, nodes = quota.held_by(edit.db, node.id, node.kind, node.size)
    leaving = [one for one in here.up.ids if one not in folder.ids]
    entering = [one for one in folder.ids if one not in here.up.ids]
    if leaving:
        quota.add(edit.db, leaving, -size, -nodes)
    if entering:
        quota.add(edit.db, entering, size, nodes)
    seq = edit.change.next_seq()
    edit.db.execute(
        "UPDATE node SET parent = ?, name = ?, fold = ?, seq = ? WHERE id = ?",
        (folder.node.id, name, fold, seq, node.id),
    )
    edit.touch(here.up, seq)
    edit.touch(folder, seq)
    edit.change.moves = edit.change.moves or node.kind != "file"
    moved = Trail((*folder.nodes, edit.node(node.id)))
    edit.record("renamed", moved, seq, old=here)
    return moved


def _refuse_too_deep(edit: Edit, here: Trail, folder: Trail) -> None:
    """Refuse a place where what lies below could not be named any more."""
    depth = len(folder.nodes)  # of the new place itself
    if here.node.kind != "folder" or depth <= len(here.nodes) - 1:
        return
    (height,) = edit.db.execute(
        "WITH RECURSIVE below (id, depth) AS (VALUES (?, 0) UNION ALL"
        " SELECT node.id, depth + 1 FROM below JOIN node ON node.parent = below.id"
        " AND node.deleted_at = 0) SELECT max(depth) FROM below",
        (here.node.id,),
    ).fetchone()
    if depth + height > names.MAX_DEPTH:
        raise BadUrl(f"What lies below would have more than {names.MAX_DEPTH} names.")
