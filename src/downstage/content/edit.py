"""What every change to the tree does: find the place, ask whether it may, count, and tell."""

from __future__ import annotations

import sqlite3
from collections.abc import Sequence
from dataclasses import dataclass

import msgspec

from downstage.content import acl, locks, names, quota, tree
from downstage.content.model import Access, Caller, Condition, Entry, EventKind, Kind
from downstage.content.tree import Node, Trail
from downstage.content.writer import Change, Recorded
from downstage.kernel.errors import (
    AlreadyExists,
    Forbidden,
    NotFound,
    VersionMismatch,
    WrongType,
)

__all__ = ["Edit", "check"]


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
    now: locks.Moment

    @property
    def db(self) -> sqlite3.Connection:
        """The writer's connection."""
        return self.change.db

    @property
    def by(self) -> str:
        """The caller, for eyes."""
        return self.caller.name or self.caller.subject

    # Places.

    def root(self) -> Node:
        """The root of the caller's tenant; made when it is first needed."""
        root = tree.root_of(self.db, self.caller.tenant)
        if root is None:
            node = self.insert(None, "", "folder")
            self.db.execute("INSERT INTO root VALUES (?, ?)", (self.caller.tenant, node))
            root = tree.root_of(self.db, self.caller.tenant)
        if root is None:
            raise NotFound("There is no such tenant.")
        return root

    def walk(self, path: str, *, deleted: bool = False) -> Trail:
        """The way to *path*, as far as there is something.

        Raises:
            BadUrl: no path.
        """
        return tree.walk(self.db, self.root(), names.parse(path), deleted=deleted)

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
        entries = acl.entries_on(self.db, trail.ids)
        return acl.allowed(entries, trail.ids, self.caller, trail.wanted)

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
        found = locks.held_on(self.db, trail.ids, self.now)
        if below and not trail.missing and trail.node.kind == "folder":
            found += locks.held_below(self.db, trail.node.id, self.now)
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
        entries = acl.load(self.db)
        lacking = list[int]()
        for node in entries:
            way = tree.trail_of(self.db, node)
            if way is None or trail.node.id not in way.ids[:-1]:
                continue
            if needed & ~acl.allowed(entries, way.ids, self.caller, way.path):
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
    ) -> int:
        """A new row without an event; its id. Its seq is that of the next event.

        Raises:
            AlreadyExists: the name, or one that differs only in case, is taken.
        """
        fold = names.fold(name)
        if parent is not None:
            self.refuse_taken(parent, name, fold)
        at, by = self.change.at, self.by
        cursor = self.db.execute(
            "INSERT INTO node (parent, name, fold, kind, created_at, created_by, modified_at,"
            " modified_by, seq, link) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
            (parent, name, fold, kind, at, by, at, by, self.change.seq + 1, link),
        )
        node = cursor.lastrowid or 0
        if kind == "folder":
            self.db.execute("INSERT INTO folder (node) VALUES (?)", (node,))
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
            quota.add(self.db, trail.ids, 0, 1)
            seq = self.change.next_seq()
            self.touch(trail, seq)
            trail = Trail((*trail.nodes, self.node(node)))
            self.record("created", trail, seq)
        return trail

    def touch(self, folder: Trail, seq: int) -> None:
        """What a folder holds has changed by event *seq*."""
        self.db.execute(
            "UPDATE node SET seq = ?, modified_at = ?, modified_by = ? WHERE id = ?",
            (seq, self.change.at, self.by, folder.node.id),
        )

    def node(self, node: int) -> Node:
        """A row by its id, as it is now."""
        return Node._make(self.db.execute(tree.BY_ID, (node,)).fetchone())

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
        """What the caller sees at the end of a way."""
        fresh = self.node(trail.node.id)
        path = trail.path if fresh.parent is not None else "/"
        held = locks.held_on(self.db, (fresh.id,), self.now)
        entry = tree.entry_of(fresh, path, self.access(trail), deleted=trail.is_deleted)
        return entry if not held else _with_lock(entry, held[0])


def _with_lock(entry: Entry, held: locks.Held) -> Entry:
    return msgspec.structs.replace(entry, locked_by=held.owner, lock_expires_at=held.expires_at)
