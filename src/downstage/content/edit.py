"""What every change to the tree does: find the place, ask whether it may, count, and tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import msgspec

from downstage.content import acl, locks, names, quota, tree
from downstage.content.change import Change, Recorded
from downstage.content.mirrors import Mirrors
from downstage.content.model import Access, Caller, Condition, Entry, EventKind, Kind
from downstage.content.tree import Node, Trail
from downstage.kernel.errors import (
    AlreadyExists,
    Forbidden,
    NotFound,
    VersionMismatch,
    WrongType,
)

__all__ = ["Bytes", "Edit", "check"]

INSERT = (
    "INSERT INTO node (parent, name, fold, kind, hash, size, version, checkpoint, comment,"
    " created_at, created_by, modified_at, modified_by, seq, link)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)"
)


class Bytes(Protocol):
    """What a file is to hold: bytes that are stored already, by their hash."""

    @property
    def hash(self) -> str:
        """BLAKE3, hexadecimal."""
        ...

    @property
    def size(self) -> int:
        """Bytes."""
        ...


def check(condition: Condition, node: Node | None) -> None:
    """Let pass what *condition* allows; None: there is nothing.

    Raises:
        VersionMismatch: it does not hold.
    """
    etag = None if node is None else node.etag
    holds = (
        (condition.if_match is None or etag in condition.if_match)
        and (not condition.if_match_any or etag is not None)
        and (condition.if_none_match is None or etag not in condition.if_none_match)
        and (not condition.if_none_match_any or etag is None)
    )
    if not holds:
        raise VersionMismatch("It changed meanwhile; nothing was written.", etag=etag)


@dataclass(frozen=True, slots=True)
class Edit:
    """One operation of one caller inside the writer's transaction."""

    change: Change
    caller: Caller
    mirrors: Mirrors | None = None
    """Of what is committed; for the writer alone, whom nobody overtakes."""

    @property
    def db(self) -> sqlite3.Connection:
        """The writer's connection, everything written that was put off; see `Change.bare`."""
        return self.change.db

    @property
    def now(self) -> locks.Moment:
        """The time of the operation."""
        return self.change.now

    @property
    def by(self) -> str:
        """The caller, for eyes."""
        return self.caller.name or self.caller.subject

    # Places.

    def root(self) -> Node:
        """The root of the caller's tenant; made when it is first needed."""
        root = tree.root_of(self.db, self.caller.tenant)
        if root is None:
            root = self.insert(None, "", "folder")
            self.db.execute("INSERT INTO root VALUES (?, ?)", (self.caller.tenant, root.id))
        return root

    def walk(self, path: str, *, deleted: bool = False) -> Trail:
        """The way to *path*, as far as there is something.

        Raises:
            BadUrl: no path.
        """
        parts = names.parse(path)
        folders, tenant = self.change.folders, self.caller.tenant
        if folders is None or deleted or not parts:
            return tree.walk(self.db, self.root(), parts, deleted=deleted)
        above = folders.way(tenant, parts[:-1])
        if above is None:
            trail = tree.walk(self.db, self.root(), parts)
            folders.remember(tenant, parts, trail)
            return trail
        return self._step(above, parts[-1])

    def _step(self, above: tuple[Node, ...], name: str) -> Trail:
        """The way to what bears *name* at the end of a way to a folder."""
        node = tree.child(self.change.bare, above[-1].id, name)
        if node is not None and node.kind == "folder":
            node = tree.child(self.db, above[-1].id, name)  # its last event may be put off
        return Trail(above, (name,)) if node is None else Trail((*above, node))

    def find(self, path: str, needed: Access, *, deleted: bool = False) -> Trail:
        """The way to something that is there, with all rights of *needed*.

        Raises:
            NotFound: it is not there, or may not be read.
            Forbidden: it may be read, but not that.
        """
        trail = self.walk(path, deleted=deleted)
        if trail.missing:
            raise NotFound("There is nothing at this path.", path=path)
        self.require(trail, needed)
        return trail

    def access(self, trail: Trail) -> Access:
        """What the caller may at the place, there or not: what is not there has no own entries."""
        ids = trail.ids
        if self.mirrors is not None and "acl" not in self.change.stale:
            entries = self.mirrors.rights
        else:
            entries = acl.entries_on(self.db, ids)
        return acl.allowed(entries, ids, self.caller, trail.wanted)

    def held(self, nodes: Sequence[int]) -> list[locks.Held]:
        """The locks on some nodes that are not over."""
        if self.mirrors is None or "lock" in self.change.stale:
            return locks.held_on(self.db, nodes, self.now)
        if not self.mirrors.held:
            return []
        found = [self.mirrors.held[node] for node in nodes if node in self.mirrors.held]
        return [held for held in found if not held.is_over(self.now)]

    def held_below(self, trail: Trail) -> list[locks.Held]:
        """The locks on a node and on what lies below it that are not over."""
        if self.mirrors is not None and not self.mirrors.held and "lock" not in self.change.stale:
            return []  # nearly always, and then there is no need to look
        return locks.held_below(self.db, trail.node.id, self.now)

    def require(self, trail: Trail, needed: Access) -> None:
        """Refuse who lacks a right, and all but folders above the place.

        Raises:
            NotFound: it may not be read.
            Forbidden: it may be read, but not that.
        """
        acl.refuse(self.access(trail), needed, trail.wanted)

    def refuse_locked(self, trail: Trail, *, below: bool = False) -> None:
        """Refuse a change that a lock of somebody else forbids: there, above, or *below*.

        Raises:
            Locked: one does.
        """
        found = self.held(trail.ids)
        if below and not trail.missing and trail.node.kind == "folder":
            found += self.held_below(trail)
        locks.refuse_others(found, self.caller, trail.wanted)

    def require_below(self, trail: Trail, needed: Access) -> None:
        """Refuse a change of a whole subtree if something in it may not be changed.

        Raises:
            Forbidden: something may not.
        """
        if trail.node.kind == "folder" and self.restricted_below(trail, needed):
            raise Forbidden("Something below may not be changed by you.", path=trail.path)

    def restricted_below(self, trail: Trail, needed: Access) -> list[int]:
        """The nodes below with entries of their own where the caller lacks a right of *needed*."""
        if self.mirrors is not None and not self.mirrors.rights and "acl" not in self.change.stale:
            return []
        lacking = list[int]()
        for node in acl.nodes_below(self.db, trail.node.id):
            way = tree.trail_of(self.db, node)
            if way is not None and needed & ~self.access(way):
                lacking.append(node)
        return lacking

    # Rows.

    def insert(
        self,
        parent: int | None,
        name: str,
        kind: Kind,
        *,
        link: str = "",
        content: Bytes | None = None,
        comment: str = "",
    ) -> Node:
        """A new row without an event; its seq is that of the next one.

        Args:
            parent: the folder; None: a root.
            name: of the new thing.
            kind: of it.
            link: of a mount.
            content: of a file.
            comment: of a file's content; makes it checkpoint 1.

        Raises:
            AlreadyExists: the name, or one that differs only in case, is taken.
        """
        fold, at, by = names.fold(name), self.change.at, self.by
        digest, size = ("", 0) if content is None else (content.hash, content.size)
        version, checkpoint, seq = int(content is not None), int(bool(comment)), self.change.seq + 1
        try:
            made = self.change.bare.execute(
                INSERT,
                (
                    *(parent, name, fold, kind, digest, size, version, checkpoint),
                    *(comment, at, by, at, by, seq, link),
                ),
            ).lastrowid
        except sqlite3.IntegrityError:
            self.refuse_taken(parent or 0, name, fold)
            raise
        node = Node(
            made or 0, parent, name, kind, size, digest, version, at, by, at, by, seq, comment,
            checkpoint, 0, "", link,
        )  # fmt: skip
        if kind == "mount":
            self.change.stale.add("mount")
        if kind == "folder":
            self.db.execute("INSERT INTO folder (node) VALUES (?)", (node.id,))
        return node

    def refuse_taken(self, parent: int, name: str, fold: str, *, but: int = 0) -> None:
        """Refuse a name that something else in the folder bears.

        Raises:
            AlreadyExists: it does, or one that differs only in case or normalisation.
        """
        row = self.db.execute(
            "SELECT name FROM node WHERE parent = ? AND fold = ? AND deleted_at = 0 AND id <> ?",
            (parent, fold, but),
        ).fetchone()
        if row is None:
            return
        if row[0] == name:
            raise AlreadyExists("There is something of this name.", name=name)
        raise AlreadyExists("A name that differs only in case is there.", name=name, twin=row[0])

    def make_folders(self, trail: Trail, parents: Sequence[str]) -> Trail:
        """Make the folders *parents* below the end of a way, each with its event.

        Raises:
            WrongType: the way ends at a file.
        """
        if trail.node.kind != "folder":
            raise WrongType("A file lies where a folder is needed.", path=trail.path)
        for name in parents:
            node = self.insert(trail.node.id, name, "folder")
            self.count(trail, 0, 1)
            seq = self.change.next_seq()
            self.touch(trail, seq)
            trail = Trail((*trail.nodes, node))
            self.record("created", trail, seq)
        return trail

    def count(self, folder: Trail, size: int, nodes: int) -> None:
        """A folder, and those above it, hold *size* bytes and *nodes* more (or fewer).

        Raises:
            QuotaReached: one of them may not hold that much.
        """
        if self.change.folders is None:
            quota.add(self.db, folder.ids, size, nodes)
        else:
            self.change.folders.add(folder.ids, size, nodes)

    def touch(self, folder: Trail, seq: int) -> None:
        """What a folder holds has changed by event *seq*."""
        if self.change.folders is None:
            raise RuntimeError("This only looks.")
        self.change.folders.touch(folder.node.id, seq, self.change.at, self.by)

    def node(self, node: int) -> Node:
        """A row by its id, as it is now."""
        return Node._make(self.db.execute(tree.BY_ID, (node,)).fetchone())

    def refreshed(self, trail: Trail) -> Trail:
        """The same way, its last node as it is now."""
        return Trail((*trail.nodes[:-1], self.node(trail.node.id)))

    # Telling.

    def record(self, kind: EventKind, trail: Trail, seq: int, *, old: Trail | None = None) -> None:
        """Tell of *seq*; the last node of *trail* is as it is after the operation."""
        self.change.events.append(
            Recorded(
                seq=seq,
                kind=kind,
                node=trail.node.id,
                chain=trail.ids,
                path=trail.path,
                old_chain=() if old is None else old.ids,
                old_path="" if old is None else old.path,
                by=self.by,
                at=self.change.at,
                row=tuple(trail.node),
            )
        )

    def entry(self, trail: Trail) -> Entry:
        """What the caller sees at the end of a way, whose last node is as it is now."""
        held = self.held((trail.node.id,))
        access = self.access(trail)
        entry = tree.entry_of(trail.node, trail.path, access, deleted=trail.is_deleted)
        return entry if not held else _with_lock(entry, held[0])


def _with_lock(entry: Entry, held: locks.Held) -> Entry:
    return msgspec.structs.replace(entry, locked_by=held.owner, lock_expires_at=held.expires_at)
