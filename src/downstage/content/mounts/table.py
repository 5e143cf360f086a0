"""The mounts of a tree: who may make them, what callers see in them."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol, TypeVar

import anyio
import blake3

from downstage.content import acl, leaves
from downstage.content.blobs.intake import Paced, in_worker
from downstage.content.blobs.protocol import Body
from downstage.content.edit import Edit
from downstage.content.model import Access, Caller, Condition, Entry, Flags, Page
from downstage.content.mounts.links import WRITABLE, Rules, open_place
from downstage.content.mounts.protocol import Found, Place, Rest, pieces_of
from downstage.content.open_file import Reading
from downstage.content.tree import Inside, Trail
from downstage.kernel.errors import (
    DeadlineExceeded,
    Forbidden,
    NotFound,
    VersionMismatch,
    WrongType,
)
from downstage.kernel.logging import get_logger

__all__ = ["Mounts", "refuse_stale"]

log = get_logger(__name__)
T = TypeVar("T")

DEADLINE_S = 60.0
"""Seconds that a question to a mounted place may take."""
IDLE_S = 60.0
MOST_PAGE = 10_000


class Tree(Protocol):
    """What mounts ask of the tree."""

    async def look(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job*, which only looks."""
        ...

    async def edit(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job* as an operation."""
        ...


class Mounts:
    """All mounts; places are opened when they are first asked for.

    Args:
        tree: that they lie in.
        rules: of the operator.
        pool: of workers.
    """

    def __init__(self, tree: Tree, rules: Rules, pool: ThreadPoolExecutor) -> None:
        self._tree = tree
        self._rules = rules
        self._pool = pool
        self._places = dict[str, Place]()

    async def mount(self, caller: Caller, path: str, link: str, *, writable: bool = False) -> Entry:
        """Show the place *link* at *path*; see `links.open_place` for its forms.

        Raises:
            Forbidden: the caller is no administrator, or the operator does not allow the place.
            BadUrl: no link to a place.
            Upstream: the place does not answer.
            AlreadyExists: something is at *path*.
        """
        if not caller.may & Access.ADMIN:
            raise Forbidden("Only an administrator mounts.", path=path)
        link = link.removesuffix(WRITABLE) + (WRITABLE if writable else "")
        place = await self._place(link)
        if (await self._ask(lambda: place.stat(()))).kind != "folder":
            raise WrongType("Only folders are mounted.")

        def job(edit: Edit) -> Entry:
            return edit.entry(leaves.create(edit, path, "mount", link=link))

        entry = await self._tree.edit(caller, job)
        log.info("content.place_mounted", path=path, link=link, by=caller.subject)
        return entry

    async def stat(self, caller: Caller, inside: Inside) -> Entry:
        """What is inside of a mount."""
        trail, access, place = await self._enter(caller, inside, Access.READ)
        found = await self._ask(lambda: place.stat(inside.rest))
        return _entry(_path(inside), found, access, trail)

    async def list(
        self, caller: Caller, inside: Inside, *, after: str = "", limit: int = 1000
    ) -> Page:
        """A page of a folder inside of a mount, or of the mount itself."""
        trail, access, place = await self._enter(caller, inside, Access.READ)
        found = await self._ask(lambda: place.list(inside.rest))
        limit = max(1, min(limit, MOST_PAGE))
        shown = await in_worker(self._pool, lambda: _first(found, after, limit + 1))
        above = _path(inside)
        return Page(
            [_entry(f"{above}/{one.name}", one, access, trail) for one in shown[:limit]],
            shown[limit - 1].name if len(shown) > limit else "",
            trail.node.seq,
        )

    async def read(self, caller: Caller, inside: Inside) -> Reading:
        """A file inside of a mount."""
        trail, access, place = await self._enter(caller, inside, Access.READ)
        found, bytes_ = await self._ask(lambda: place.open(inside.rest))
        return Reading(_entry(_path(inside), found, access, trail), None, bytes_)

    async def write(
        self, caller: Caller, inside: Inside, body: Body, condition: Condition
    ) -> Entry:
        """Write a file inside of a mount; the folder above must be there.

        The condition is checked before, not in the same moment: what is mounted belongs to others.

        Raises:
            Forbidden: it is mounted to read only, or the caller may only read.
        """
        trail, access, place = await self._enter(caller, inside, Access.WRITE)
        await self._check(place, inside.rest, condition)
        found = await place.write(inside.rest, Paced(pieces_of(body), IDLE_S))
        return _entry(_path(inside), found, access, trail)

    async def create_folder(self, caller: Caller, inside: Inside) -> Entry:
        """Make a folder inside of a mount."""
        trail, access, place = await self._enter(caller, inside, Access.WRITE)
        found = await self._ask(lambda: place.create_folder(inside.rest))
        return _entry(_path(inside), found, access, trail)

    async def delete(
        self, caller: Caller, inside: Inside, *, recursive: bool, condition: Condition
    ) -> None:
        """Remove something inside of a mount, for good: there is no undelete there."""
        _, _, place = await self._enter(caller, inside, Access.WRITE)
        await self._check(place, inside.rest, condition)
        await self._ask(lambda: place.delete(inside.rest, recursive=recursive))

    async def close(self) -> None:
        """Close all places."""
        places, self._places = self._places, {}
        for place in places.values():
            await place.close()

    async def _enter(
        self, caller: Caller, inside: Inside, needed: Access
    ) -> tuple[Trail, Access, Place]:
        """The mount, the caller's rights at the path in it, and the place."""

        def job(edit: Edit) -> tuple[Trail, Access]:
            trail = edit.walk(inside.path)
            access = acl.allowed(
                acl.entries_on(edit.db, trail.ids), trail.ids, caller, _path(inside)
            )
            if trail.node.kind != "mount":
                raise NotFound("There is nothing at this path.", path=_path(inside))
            acl.refuse(access, needed, _path(inside))
            if needed & Access.WRITE:
                edit.refuse_locked(trail)
            return trail, access

        trail, access = await self._tree.look(caller, job)
        place = await self._place(trail.node.link)
        if needed & Access.WRITE and not place.is_writable:
            raise Forbidden("This is mounted to read only.", path=_path(inside))
        return trail, access if place.is_writable else access & Access.READ, place

    async def _place(self, link: str) -> Place:
        """The open place of a link, by the settings as they are now."""
        place = self._places.get(link)
        if place is None:
            opened = await in_worker(self._pool, lambda: open_place(link, self._rules, self._pool))
            place = self._places.setdefault(link, opened)
            if place is not opened:
                await opened.close()
        return place

    async def _ask(self, job: Callable[[], Awaitable[T]]) -> T:
        try:
            with anyio.fail_after(DEADLINE_S):
                return await job()
        except TimeoutError:
            raise DeadlineExceeded("The mounted place does not answer.") from None

    async def _check(self, place: Place, rest: Rest, condition: Condition) -> None:
        if condition == Condition():
            return
        try:
            found = await self._ask(lambda: place.stat(rest))
        except NotFound:
            found = None
        refuse_stale(condition, None if found is None else found.tag)


def refuse_stale(condition: Condition, etag: str | None) -> None:
    """Let pass what *condition* allows of a thing with that etag; None: there is nothing.

    Raises:
        VersionMismatch: it does not hold.
    """
    holds = (
        (condition.if_match is None or etag in condition.if_match)
        and (not condition.if_match_any or etag is not None)
        and (condition.if_none_match is None or etag not in condition.if_none_match)
        and (not condition.if_none_match_any or etag is None)
    )
    if not holds:
        raise VersionMismatch("It changed meanwhile; nothing was written.", etag=etag)


def _first(found: list[Found], after: str, limit: int) -> list[Found]:
    """The first *limit* by name that come after a name."""
    return heapq.nsmallest(
        limit, (one for one in found if one.name > after), key=lambda one: one.name
    )


def _path(inside: Inside) -> str:
    return "/".join([inside.path, *inside.rest])


def _entry(path: str, found: Found, access: Access, mount: Trail) -> Entry:
    """A thing in a mount as an entry: its id is of its path, it has no hash and no version."""
    is_file = found.kind == "file"
    flags = Flags.IS_INSIDE_MOUNT
    flags |= Flags.DOES_NOT_HAVE_CHILDREN if is_file else Flags.CAN_HAVE_CHILDREN
    if is_file and access & Access.READ:
        flags |= Flags.READABLE_FILE
    if is_file and access & Access.WRITE:
        flags |= Flags.WRITEABLE_FILE
    digest = blake3.blake3(f"{mount.node.id}{path}".encode()).digest(length=6)
    return Entry(
        id=-1 - int.from_bytes(digest),
        path=path,
        kind=found.kind,
        size=found.size,
        hash="",
        etag=found.tag,
        version=0,
        created_at=found.modified_at,
        created_by="",
        modified_at=found.modified_at,
        modified_by="",
        access=access,
        flags=flags,
        seq=mount.node.seq,
    )
