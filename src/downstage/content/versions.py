"""Contents of files: every one that was committed, and the checkpoints among them."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable

from downstage.content import quota
from downstage.content.edit import Bytes, Edit, check
from downstage.content.model import ANY, Access, Condition, Entry, Family, Version
from downstage.content.properties import give_family
from downstage.content.tree import Node, Trail
from downstage.content.unseen import require_place
from downstage.kernel.errors import InvalidField, NotFound, WrongType

__all__ = [
    "checkpoint",
    "find_version",
    "list_versions",
    "put",
    "restore",
]

MAX_COMMENT = 4096
KEPT = 64
"""Contents of one file that are kept besides its checkpoints, newest first."""
LISTED = 10_000
"""Contents of one file that are told, newest first."""
COLUMNS = "n, checkpoint, hash, size, by, at, comment"


def put(
    edit: Edit,
    path: str,
    content: Bytes,
    *,
    adopt: Callable[[], None],
    condition: Condition = ANY,
    message: str = "",
    parents: bool = True,
    properties: Family | None = None,
) -> Entry:
    """Give a file a new content, make it where there is none.

    Args:
        edit: the operation.
        path: of the file.
        content: what it is to hold.
        adopt: called once nothing stands against it, before a row names the content.
        condition: of the file as it is now.
        message: makes the new content a checkpoint.
        parents: make the folders above too.
        properties: what changes with it.

    Raises:
        WrongType: a folder is there, or a file above.
        NotFound: the folder is missing and *parents* is false.
        VersionMismatch: *condition* does not hold.
        Locked: by somebody else.
        QuotaReached: it does not fit.
    """
    check_comment(message)
    trail = _writeable(edit, path, condition)
    if not trail.missing:
        return _entry(edit, replace(edit, trail, content, message, adopt=adopt), properties)
    if len(trail.missing) > 1 and not parents:
        raise NotFound("The folder above is missing.", path=path)
    folder = Trail(trail.nodes)
    if len(trail.missing) > 1:
        folder = edit.make_folders(folder, trail.missing[:-1])
    made = create(edit, folder, trail.last_name, content, message, adopt=adopt)
    return _entry(edit, made, properties)


def _entry(edit: Edit, trail: Trail, family: Family | None) -> Entry:
    """What was put, with the properties that came with it."""
    if family is not None:
        trail = give_family(edit, trail, family)
    return edit.entry(trail)


def refuse_put(edit: Edit, path: str, size: int, condition: Condition) -> None:
    """What `put` would refuse, before any byte of a large body is taken in.

    Raises:
        See `put`.
    """
    trail = _writeable(edit, path, condition)
    if trail.missing:
        quota.refuse_over(edit.db, trail.ids, size, len(trail.missing))
    else:
        quota.refuse_over(edit.db, trail.up.ids, size - trail.node.size, 0)


def create(
    edit: Edit,
    folder: Trail,
    name: str,
    content: Bytes,
    message: str = "",
    *,
    adopt: Callable[[], None] | None = None,
) -> Trail:
    """A new file in a folder, with its event; the way to it.

    Args:
        edit: the operation.
        folder: where.
        name: of the file.
        content: what it is to hold.
        message: makes it a checkpoint.
        adopt: see `put`.

    Raises:
        AlreadyExists: the name is taken.
        QuotaReached: it does not fit; nothing was written.
    """
    edit.count(folder, content.size, 1)
    if adopt is not None:
        adopt()
    node = edit.insert(folder.node.id, name, "file", content=content, comment=message)
    seq = edit.change.next_seq()
    _add_version(edit, node.id, 1, content, checkpoint=1 if message else 0, comment=message)
    edit.touch(folder, seq)
    trail = Trail((*folder.nodes, node))
    edit.record("created", trail, seq)
    return trail


def replace(
    edit: Edit,
    trail: Trail,
    content: Bytes,
    message: str = "",
    *,
    adopt: Callable[[], None] | None = None,
) -> Trail:
    """A new content of a file that is there, with its event; the way to it. Arguments: `create`.

    Raises:
        QuotaReached: it does not fit; nothing was written.
    """
    node, db = trail.node, edit.change.bare
    edit.count(trail.up, content.size - node.size, 0)
    if adopt is not None:
        adopt()
    seq = edit.change.next_seq()
    number = node.checkpoint + 1 if message else 0
    _add_version(edit, node.id, node.version + 1, content, checkpoint=number, comment=message)
    node = node._replace(
        hash=content.hash, size=content.size, version=node.version + 1, comment=message, seq=seq,
        checkpoint=number or node.checkpoint, modified_at=edit.change.at, modified_by=edit.by,
    )  # fmt: skip
    db.execute(
        "UPDATE node SET hash = ?, size = ?, version = ?, checkpoint = ?, comment = ?,"
        " modified_at = ?, modified_by = ?, seq = ? WHERE id = ?",
        (
            *(node.hash, node.size, node.version, node.checkpoint, message),
            *(node.modified_at, node.modified_by, seq, node.id),
        ),
    )
    if node.version > KEPT:
        db.execute(
            "DELETE FROM version WHERE node = ? AND n <= ? AND checkpoint = 0",
            (node.id, node.version - KEPT),
        )
    after = Trail((*trail.nodes[:-1], node))
    edit.record("updated", after, seq)
    return after


def checkpoint(edit: Edit, path: str, comment: str, *, force: bool) -> Version:
    """Make the present content a checkpoint; without a change since the last: that one.

    Raises:
        InvalidField: the comment is blank.
        WrongType: not a file.
    """
    if not comment.strip():
        raise InvalidField("comment", "a checkpoint needs a comment that is not blank")
    check_comment(comment)
    trail = edit.find(path, Access.WRITE)
    node = _file(trail)
    edit.refuse_locked(trail)
    present = find_version(edit.db, node.id, version=node.version)
    if present.checkpoint and not force:
        return present
    number = node.checkpoint + 1
    seq = edit.change.next_seq()
    if present.checkpoint:
        _add_version(edit, node.id, node.version + 1, node, checkpoint=number, comment=comment)
    else:
        edit.db.execute(
            "UPDATE version SET checkpoint = ?, comment = ? WHERE node = ? AND n = ?",
            (number, comment, node.id, node.version),
        )
    edit.db.execute(
        "UPDATE node SET version = ?, checkpoint = ?, comment = ?, seq = ? WHERE id = ?",
        (node.version + bool(present.checkpoint), number, comment, seq, node.id),
    )
    edit.record("checkpoint", edit.refreshed(trail), seq)
    return find_version(edit.db, node.id, checkpoint=number)


def restore(edit: Edit, path: str, number: int, message: str) -> Entry:
    """Make an earlier checkpoint the present content, as a new content and a new checkpoint.

    Raises:
        NotFound: no such checkpoint.
        Locked: by somebody else.
    """
    check_comment(message)
    trail = edit.find(path, Access.WRITE)
    node = _file(trail)
    edit.refuse_locked(trail)
    wanted = find_version(edit.db, node.id, checkpoint=number)
    return edit.entry(replace(edit, trail, wanted, message or f"Restored checkpoint {number}"))


def find_version(
    db: sqlite3.Connection, node: int, *, version: int = 0, checkpoint: int = 0
) -> Version:
    """One content of a file, by its number or by that of its checkpoint.

    Raises:
        NotFound: it never was, or is not kept any more.
    """
    if version:
        query, number = "AND n = ?", version
    else:
        query, number = "AND checkpoint = ? AND checkpoint > 0", checkpoint
    row = db.execute(
        f"SELECT {COLUMNS} FROM version WHERE node = ? {query}",  # noqa: S608 - constants
        (node, number),
    ).fetchone()
    if row is None:
        raise NotFound("There is no such version.", version=version, checkpoint=checkpoint)
    return Version(*row)


def list_versions(db: sqlite3.Connection, node: int, *, checkpoints: bool) -> list[Version]:
    """The contents of a file that are kept, newest first; or its *checkpoints*: `LISTED`."""
    only = "AND checkpoint > 0" if checkpoints else ""
    rows = db.execute(
        f"SELECT {COLUMNS} FROM version WHERE node = ? {only} ORDER BY n DESC LIMIT ?",  # noqa: S608 - constants
        (node, LISTED),
    )
    return [Version(*row) for row in rows]


def of(edit: Edit, path: str, *, checkpoints: bool) -> list[Version]:
    """`list_versions` of what is at *path*.

    Raises:
        WrongType: not a file.
    """
    return list_versions(edit.db, _file(edit.find(path, Access.READ)).id, checkpoints=checkpoints)


def not_a_file(path: str) -> WrongType:
    """The refusal of what is asked of files only."""
    return WrongType("That is no file.", path=path)


def check_comment(comment: str) -> None:
    """Refuse what is too long to be one.

    Raises:
        InvalidField: it is.
    """
    if len(comment) > MAX_COMMENT:
        raise InvalidField("message", f"at most {MAX_COMMENT} characters")


def _file(trail: Trail) -> Node:
    if trail.node.kind != "file":
        raise not_a_file(trail.path)
    return trail.node


def _writeable(edit: Edit, path: str, condition: Condition) -> Trail:
    """The way to where a file may be written."""
    trail = edit.walk(path)
    require_place(edit, trail, Access.WRITE)
    if not trail.missing and trail.node.kind != "file":
        raise WrongType("There is a folder, or something else without bytes.", path=path)
    if trail.missing and trail.node.kind != "folder":
        raise WrongType("A file lies where a folder is needed.", path=trail.path)
    check(condition, None if trail.missing else trail.node)
    edit.refuse_locked(trail)
    return trail


def _add_version(
    edit: Edit, node: int, n: int, content: Bytes, *, checkpoint: int, comment: str
) -> None:
    edit.change.bare.execute(
        "INSERT INTO version (node, n, hash, size, checkpoint, by, at, comment)"
        " VALUES (?, ?, ?, ?, ?, ?, ?, ?)",
        (node, n, content.hash, content.size, checkpoint, edit.by, edit.change.at, comment),
    )
