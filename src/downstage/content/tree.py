"""Nodes as rows, the way from a path to a row, and from a row to what a reader sees."""

# ruff: noqa: S608 - built of constants
from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from typing import Any, NamedTuple

from downstage.content import names
from downstage.content.model import Access, Entry, Flags, Kind

__all__ = [
    "COLUMNS",
    "Inside",
    "Node",
    "Trail",
    "below",
    "child",
    "children",
    "entry_of",
    "root_of",
    "trail_of",
    "walk",
]

COLUMNS = (
    "id, parent, name, kind, size, hash, version, created_at, created_by, modified_at,"
    " modified_by, seq, comment, checkpoint, deleted_at, deleted_by, link"
)
CHILD = f"SELECT {COLUMNS} FROM node WHERE parent = ? AND name = ? AND deleted_at = 0"
GONE_CHILD = (
    f"SELECT {COLUMNS} FROM node WHERE parent = ? AND name = ? AND deleted_at > 0"
    " ORDER BY deleted_at DESC, id DESC LIMIT 1"
)
BY_ID = f"SELECT {COLUMNS} FROM node WHERE id = ?"
LIST = (
    f"SELECT {COLUMNS} FROM node WHERE parent = ? AND name > ? AND deleted_at = 0"
    " ORDER BY name LIMIT ?"
)
LIST_ALL = (
    f"SELECT {COLUMNS} FROM node AS one WHERE parent = ?1 AND name > ?2 AND deleted_at = 0"
    f" UNION ALL SELECT {COLUMNS} FROM node AS one WHERE parent = ?1 AND name > ?2"
    " AND deleted_at > 0 AND id = (SELECT id FROM node WHERE parent = ?1 AND name = one.name"
    " AND deleted_at > 0 ORDER BY deleted_at DESC, id DESC LIMIT 1)"
    " AND NOT EXISTS (SELECT 1 FROM node WHERE parent = ?1 AND name = one.name"
    " AND deleted_at = 0) ORDER BY name LIMIT ?3"
)
"""Deleted ones too: of each name that nothing bears now, the one deleted last."""


class Node(NamedTuple):
    """A row of the tree."""

    id: int
    parent: int | None
    name: str
    kind: Kind
    size: int
    hash: str
    version: int
    created_at: int
    created_by: str
    modified_at: int
    modified_by: str
    seq: int
    comment: str
    checkpoint: int
    """Checkpoints that it has had; the number of the last one."""
    deleted_at: int
    deleted_by: str
    link: str

    @property
    def etag(self) -> str:
        """A file's hash; of all others the number of their last event."""
        return self.hash or str(self.seq)


class Inside(Exception):
    """The path leads through a mount."""

    def __init__(self, mount: Node, path: str, rest: tuple[str, ...]) -> None:
        super().__init__(path)
        self.mount = mount
        self.path = path
        self.rest = rest


class Trail:
    """The way from the root to a place: the nodes that are there, and the names that are not.

    The last node is as it is now; those above it lead there, and may have had later events.
    What is made of them is made once: every change asks several times.
    """

    __slots__ = ("_ids", "_path", "_wanted", "missing", "nodes")

    def __init__(self, nodes: tuple[Node, ...], missing: tuple[str, ...] = ()) -> None:
        self.nodes = nodes
        self.missing = missing
        self._ids: tuple[int, ...] = ()
        self._path = ""
        self._wanted = ""

    @property
    def last_name(self) -> str:
        """Of a place where nothing is: the last name of the way there."""
        return self.missing[-1] if self.missing else self.node.name

    @property
    def node(self) -> Node:
        """The last one that is there."""
        return self.nodes[-1]

    @property
    def ids(self) -> tuple[int, ...]:
        """Of the nodes, from the root down."""
        if not self._ids:
            self._ids = tuple([node.id for node in self.nodes])
        return self._ids

    @property
    def path(self) -> str:
        """Of the last node that is there."""
        if not self._path:
            self._path = "/" + "/".join([node.name for node in self.nodes[1:]])
        return self._path

    @property
    def wanted(self) -> str:
        """Of the place, there or not."""
        if not self.missing:
            return self.path
        if not self._wanted:
            self._wanted = f"{self.path.rstrip('/')}/{'/'.join(self.missing)}"
        return self._wanted

    @property
    def is_deleted(self) -> bool:
        """Whether it, or a folder above, was deleted."""
        return any(node.deleted_at for node in self.nodes)

    @property
    def up(self) -> Trail:
        """The folder that it lies in."""
        return Trail(self.nodes[:-1])


def root_of(db: sqlite3.Connection, tenant: str) -> Node | None:
    """The root of a tenant, if it has one yet."""
    row = db.execute(
        f"SELECT {COLUMNS} FROM node WHERE id = (SELECT node FROM root WHERE tenant = ?)",
        (tenant,),
    ).fetchone()
    return None if row is None else Node._make(row)


def child(db: sqlite3.Connection, parent: int, name: str, *, deleted: bool = False) -> Node | None:
    """What bears *name* in a folder; with *deleted* else the one of that name deleted last."""
    row = db.execute(CHILD, (parent, name)).fetchone()
    if row is None and deleted:
        row = db.execute(GONE_CHILD, (parent, name)).fetchone()
    return None if row is None else Node._make(row)


def walk(
    db: sqlite3.Connection, root: Node, path: tuple[str, ...], *, deleted: bool = False
) -> Trail:
    """Follow *path* as far as there is something.

    Raises:
        Inside: it leads through a mount.
    """
    nodes = [root]
    for depth, name in enumerate(path):
        found = child(db, nodes[-1].id, name, deleted=deleted)
        if found is None:
            return Trail(tuple(nodes), path[depth:])
        nodes.append(found)
        if found.kind == "mount" and depth + 1 < len(path):
            raise Inside(found, names.join(path[: depth + 1]), path[depth + 1 :])
    return Trail(tuple(nodes))


def trail_of(db: sqlite3.Connection, node: int) -> Trail | None:
    """The way to a node by its id; None: there is no such node any more."""
    nodes = list[Node]()
    at: int | None = node
    while at is not None:
        row = db.execute(BY_ID, (at,)).fetchone()
        if row is None:
            return None
        found = Node._make(row)
        nodes.append(found)
        at = found.parent
    return Trail(tuple(reversed(nodes)))


def children(
    db: sqlite3.Connection, parent: int, after: str, limit: int, *, deleted: bool = False
) -> list[tuple[Any, ...]]:
    """Rows of `COLUMNS` of a folder's children whose names come after *after*, by name."""
    return db.execute(LIST_ALL if deleted else LIST, (parent, after, limit)).fetchall()


def below(
    db: sqlite3.Connection,
    parent: int,
    base: str,
    after: tuple[str, ...] = (),
    *,
    deleted: bool = False,
) -> Iterator[tuple[str, Node]]:
    """Everything below a folder, each folder before what it holds, with its path.

    Args:
        db: inside one read transaction.
        parent: the folder.
        base: its path with a slash at the end.
        after: the names, from *parent* down, of the last one that was told before.
        deleted: deleted ones too.
    """
    first = after[0] if after else ""
    if first:
        passed = child(db, parent, first, deleted=deleted)
        if passed is not None and passed.kind == "folder":
            yield from below(db, passed.id, f"{base}{first}/", after[1:], deleted=deleted)
    rows = db.execute(LIST_ALL if deleted else LIST, (parent, first, -1))
    for row in rows:
        node = Node._make(row)
        path = base + node.name
        yield path, node
        if node.kind == "folder":
            yield from below(db, node.id, path + "/", deleted=deleted)


def entry_of(row: tuple[Any, ...], path: str, access: Access, *, deleted: bool = False) -> Entry:
    """What a reader sees of a row of `COLUMNS`.

    Args:
        row: the node.
        path: where it is.
        access: what this reader may.
        deleted: a folder above it was deleted.
    """
    shape = int(access)
    if row[13]:
        shape |= 8
    if deleted or row[14]:
        shape |= 16
    if row[2].endswith(".live"):
        shape |= 32
    kind = row[3]
    return Entry(
        row[0], path, kind, row[4], row[5], row[5] or str(row[11]), row[6], row[7], row[8],
        row[9], row[10], access, FLAGS[kind][shape], row[11],
        row[12], 0, "", 0, row[14], row[15], row[16] if shape & 4 else "",
    )  # fmt: skip


def _flags(kind: Kind, shape: int) -> Flags:
    """What a kind of thing can do; *shape*: rights, checkpointed (8), deleted (16), live (32)."""
    flags = KINDS[kind]
    if kind == "file":
        if shape & Access.WRITE:
            flags |= Flags.WRITEABLE_FILE
        if shape & 32:
            flags |= Flags.CAN_LIVE_UPDATE
    if shape & 8:
        flags |= Flags.IS_CHECKPOINTED
    if shape & 16:
        flags |= Flags.IS_DELETED
    return flags


KINDS: dict[Kind, Flags] = {
    "file": Flags.READABLE_FILE | Flags.DOES_NOT_HAVE_CHILDREN,
    "folder": Flags.CAN_HAVE_CHILDREN,
    "channel": Flags.IS_CHANNEL | Flags.DOES_NOT_HAVE_CHILDREN,
    "mount": Flags.CAN_HAVE_CHILDREN | Flags.IS_MOUNT,
}
FLAGS = {kind: [_flags(kind, shape) for shape in range(64)] for kind in KINDS}
"""All of them, made once: arithmetic on flags takes longer than the rest of an entry."""
