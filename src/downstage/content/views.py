"""What a caller sees: point reads on the loop itself, longer ones in threads."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Generator
from contextlib import contextmanager
from typing import Any

import msgspec

from downstage.content import acl, locks, tree, versions
from downstage.content.change import Change, Recorded
from downstage.content.database import ContentDatabase
from downstage.content.edit import Edit
from downstage.content.events import newest
from downstage.content.mirrors import Mirrors
from downstage.content.model import Access, Caller, Entry, Page
from downstage.content.tree import Trail
from downstage.kernel.errors import BadUrl, InvalidField, NotFound, WrongType

__all__ = ["MAX_PAGE", "Views"]

MAX_PAGE = 10_000
"""Entries of one page."""


class Views:
    """Reading with a caller's eyes.

    Args:
        database: of content; None of its methods is called from another loop.
        mirrors: of rights and locks.
        now: this moment on every clock.
    """

    def __init__(
        self, database: ContentDatabase, mirrors: Mirrors, now: Callable[[], locks.Moment]
    ) -> None:
        self._database = database
        self._near = database.near
        self._remembered = database.remembered
        self._mirrors = mirrors
        self._now = now

    @contextmanager
    def edit(self, caller: Caller) -> Generator[Edit]:
        """An operation that only looks, all at one moment, on the loop; await nothing inside."""
        self._near.execute("BEGIN")
        try:
            yield Edit(Change(self._near, self._now(), 0, set()), caller)
        finally:
            self._near.execute("ROLLBACK")

    def stat(self, caller: Caller, path: str) -> Entry:
        """What is at *path*.

        Raises:
            BadUrl: no path.
            NotFound: nothing, or nothing that the caller may read.
            tree.Inside: it lies in a mount.
        """
        above, _, name = path.rpartition("/")
        remembered = self._remembered
        age = remembered.age
        ids = remembered.way(caller.tenant, above) if name else None
        if ids is None:
            return self._stat_slowly(caller, path)
        row = self._child(ids[-1], name)
        if row is None:
            return self._stat_slowly(caller, path)
        if not self._mirrors.rights and caller.reach is None:
            access = acl.BY_SCOPES[caller.may]
        else:
            access = acl.allowed(self._mirrors.rights, (*ids, row[0]), caller, path)
        if remembered.age != age or age & 1:
            return self._stat_slowly(caller, path)
        if not int(access) & 1:
            raise NotFound("There is nothing at this path.", path=path)
        entry = tree.entry_of(row, path, access)
        return self.with_lock(entry) if self._mirrors.held else entry

    def _child(self, folder: int, name: str) -> tuple[Any, ...] | None:
        """The row of what bears *name* in a folder, as of now."""
        remembered = self._remembered
        row = remembered.rows.get((folder, name))
        if row is None:
            commits = remembered.commits
            row = self._near.execute(tree.CHILD, (folder, name)).fetchone()
            if row is not None:
                remembered.put_row((folder, name), row, commits)
        return row

    def _stat_slowly(self, caller: Caller, path: str) -> Entry:
        age = self._remembered.age
        with self.edit(caller) as edit:
            trail = edit.find(path, Access.READ)
            entry = edit.entry(trail)
        self._remember(caller.tenant, trail, age)
        return entry

    def _remember(self, tenant: str, trail: Trail, age: int) -> None:
        """Remember the way to a folder, or to the folder of a file."""
        if trail.node.kind != "folder":
            trail = trail.up
        path = trail.path if len(trail.nodes) > 1 else ""
        self._remembered.put_way(tenant, path, trail.ids, age)

    def stat_past(
        self, caller: Caller, path: str, *, checkpoint: int, version: int, deleted: bool
    ) -> Entry:
        """`stat` of an earlier content, or of what was deleted.

        Raises:
            NotFound: there is none.
            WrongType: a version of what is no file.
        """
        with self.edit(caller) as edit:
            trail = edit.find(path, Access.READ, deleted=deleted)
            entry = edit.entry(trail)
            if not checkpoint and not version:
                return entry
            if trail.node.kind != "file":
                raise WrongType("Only files have versions.", path=path)
            past = versions.find_version(edit.db, entry.id, checkpoint=checkpoint, version=version)
        return msgspec.structs.replace(
            entry,
            size=past.size,
            hash=past.hash,
            etag=past.hash,
            version=past.n,
            modified_at=past.at,
            modified_by=past.by,
            comment=past.comment,
            checkpoint=past.checkpoint,
        )

    def with_lock(self, entry: Entry) -> Entry:
        """The entry with the lock that is on it."""
        held = self._mirrors.held.get(entry.id) if self._mirrors.held else None
        if held is None or held.is_over(self._now()):
            return entry
        return msgspec.structs.replace(entry, locked_by=held.owner, lock_expires_at=held.expires_at)

    def list_page(
        self,
        db: sqlite3.Connection,
        caller: Caller,
        path: str,
        *,
        after: str,
        limit: int,
        recursive: bool,
        deleted: bool,
    ) -> Page:
        """A page of a folder; in a thread.

        Raises:
            NotFound: no such folder, or not readable.
            WrongType: not a folder.
            BadUrl: *after* of a recursive listing is no path below.
        """
        _check_text("after", after)
        seq = newest(db)
        edit = Edit(Change(db, self._now(), seq, set()), caller)
        trail = edit.find(path, Access.READ, deleted=deleted)
        if trail.node.kind == "mount":
            raise tree.Inside(trail.node, trail.path, ())
        if trail.node.kind != "folder":
            raise WrongType("Only folders can be listed.", path=path)
        limit = max(1, min(limit, MAX_PAGE))
        base = trail.path.rstrip("/") + "/"
        if recursive:
            found = self._below(edit, trail, base, after, limit + 1, deleted=deleted)
        else:
            found = self._children(edit, trail, base, after, limit + 1, deleted=deleted)
        # Where a page ends is told by what the caller may read: names of the rest stay hidden.
        last = found[limit - 1] if len(found) > limit else None
        after = "" if last is None else last.path if recursive else last.name
        return Page(found[:limit], after, seq)

    def _children(
        self, edit: Edit, trail: Trail, base: str, after: str, limit: int, *, deleted: bool
    ) -> list[Entry]:
        """The first *limit* children that the caller may read."""
        rights, gone, entry_of = acl.load(edit.db), trail.is_deleted, tree.entry_of
        if not rights and edit.caller.reach is None:
            access = edit.access(trail)
            rows = tree.children(edit.db, trail.node.id, after, limit, deleted=deleted)
            found = [entry_of(row, base + row[2], access, deleted=gone) for row in rows]
            return list(map(self.with_lock, found)) if self._mirrors.held else found
        found = list[Entry]()
        while True:
            rows = tree.children(edit.db, trail.node.id, after, limit, deleted=deleted)
            for row in rows:
                path = base + row[2]
                access = acl.allowed(rights, (*trail.ids, row[0]), edit.caller, path)
                if int(access) & 1:
                    found.append(self.with_lock(entry_of(row, path, access, deleted=gone)))
            if len(rows) < limit or len(found) >= limit:
                return found[:limit]
            after = rows[-1][2]

    def _below(
        self, edit: Edit, trail: Trail, base: str, after: str, limit: int, *, deleted: bool
    ) -> list[Entry]:
        """The first *limit* things below that the caller may read."""
        if after and not after.startswith(base):
            raise BadUrl("A page begins after something in the folder.", path=trail.path)
        rest = tuple(after.removeprefix(base).split("/"))  # a move may have made it a long path
        chain = {trail.node.id: trail.ids}
        rights = acl.load(edit.db)
        found = list[Entry]()
        gone = trail.is_deleted
        for path, node in tree.below(edit.db, trail.node.id, base, rest, deleted=deleted):
            ids = (*self._chain(edit.db, chain, node.parent or 0), node.id)
            if node.kind == "folder":
                chain[node.id] = ids
            access = acl.allowed(rights, ids, edit.caller, path)
            if int(access) & 1:
                found.append(self.with_lock(tree.entry_of(node, path, access, deleted=gone)))
                if len(found) >= limit:
                    break
        return found

    @staticmethod
    def _chain(
        db: sqlite3.Connection, known: dict[int, tuple[int, ...]], node: int
    ) -> tuple[int, ...]:
        ids = known.get(node)
        if ids is None:
            way = tree.trail_of(db, node)
            ids = known[node] = () if way is None else way.ids
        return ids

    def sees(self, caller: Caller, recorded: Recorded, *, before: bool) -> bool:
        """Whether a caller may read an event's node, where it is after it or where it was."""
        chain, path = recorded.chain, recorded.path
        if before and recorded.old_chain:
            chain, path = recorded.old_chain, recorded.old_path
        return bool(acl.allowed(self._mirrors.rights, chain, caller, path) & Access.READ)

    def of_event(self, caller: Caller, recorded: Recorded) -> Entry | None:
        """An event's node as a caller who may read it sees it; None: it is gone for good."""
        row = recorded.row
        if row is None:
            row = self._near.execute(tree.BY_ID, (recorded.node,)).fetchone()
        if row is None:
            return None
        access = acl.allowed(self._mirrors.rights, recorded.chain, caller, recorded.path)
        return self.with_lock(tree.entry_of(row, recorded.path, access))


def _check_text(field: str, text: str) -> None:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise InvalidField(field, "it holds half a character, which is no UTF-8") from None
