"""Live layers: a file's edits of this moment, in one order for all, beside the file itself.

A layer belongs to the file's id, so that it survives a move. The server knows nothing of USD: it
gives each batch of ops a place, tells everybody at once, and puts it on disk a moment later
(`SAVE_S` and one commit); then its sender is told, and need not keep it any longer. What a crash
took from that moment comes again from the sender.

Over the socket: ``live.open`` (path, client, epoch, incarnation, seq) stays open and pushes
messages of `downstage.live.messages`; ``live.submit``, ``live.hold``, ``live.resume`` and
``live.merged`` name that call.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from typing import Protocol, TypeVar
from weakref import WeakValueDictionary

import anyio
import anyio.to_thread

from downstage.content import live_rows
from downstage.content.edit import Edit
from downstage.content.live_room import LiveMember, LiveRoom
from downstage.content.model import Access, Caller, Event
from downstage.kernel.chaos import point
from downstage.kernel.errors import (
    Conflict,
    Forbidden,
    NotFound,
    PlatformError,
    Unavailable,
    VersionMismatch,
    WrongType,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.live.messages import Join, Ordered
from downstage.live.sequencer import Sequencer, State

__all__ = ["SAVE_S", "Live", "LiveMember"]

log = get_logger(__name__)
T = TypeVar("T")

SAVE_S = 0.02
"""Seconds between two commits of live batches."""
CHECK_S = 5.0
"""Seconds after which a right that was taken away is missed."""
COMPACT_BYTES = 4 * 1024 * 1024
COMPACT_BATCHES = 20_000
MAX_CLIENT = 64
"""Characters of a client's name for itself."""


class Database(Protocol):
    """What live layers ask of the database."""

    async def write(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run *job* in a transaction; back after it is durable."""
        ...

    async def reading(self, job: Callable[[sqlite3.Connection], T]) -> T:
        """Run *job* in a thread."""
        ...


class Tree(Protocol):
    """What live layers ask of the tree."""

    async def look(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job*, which only looks."""
        ...

    def watch(
        self, caller: Caller, path: str, take: Callable[[Event], None]
    ) -> AbstractContextManager[int]:
        """Hand the events of a node to *take* as they happen; gives the node's id."""
        ...


@dataclass(slots=True)
class _Place:
    """Where a file is now."""

    path: str


class Live:
    """All live layers of a content service; `run` is to be run beside.

    Args:
        tree: that the files lie in.
        database: where the layers are kept.
        now_ns: nanoseconds since the epoch.
    """

    def __init__(self, tree: Tree, database: Database, now_ns: Callable[[], int]) -> None:
        self._tree = tree
        self._database = database
        self._now_ns = now_ns
        self._incarnation = new_id("start")
        self._rooms = dict[int, LiveRoom]()
        self._opening = WeakValueDictionary[int, asyncio.Lock]()
        self._unsaved = asyncio.Event()
        self._saving = asyncio.Lock()
        self._is_closed = False

    @asynccontextmanager
    async def open(self, caller: Caller, path: str, join: Join) -> AsyncGenerator[LiveMember]:
        """Be in the live layer of the file at *path* for the time of the block.

        Args:
            caller: needs READ, WRITE to submit.
            path: of the file; afterwards it may move.
            join: what the client has seen already.

        Raises:
            NotFound: there is no file, or none that may be read.
            WrongType: it is no file.
            TooMany: the layer is full.
        """
        if not 0 < len(join.client) <= MAX_CLIENT:
            raise Forbidden("A client names itself by 1 to 64 characters.")
        base, may_write = await self._tree.look(caller, lambda edit: _find(edit, path))
        member: LiveMember | None = None
        place = _Place(path)

        def happened(event: Event) -> None:
            if event.kind == "renamed":
                place.path = event.path
            if member is not None:
                room.happened(member, event)

        with self._tree.watch(caller, path, happened) as node:
            room = await self._room(node, base)
            room.joining += 1
            try:
                member = room.enter(caller, join, may_write=may_write)
            finally:
                room.joining -= 1
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._keep_checking, member, place)
                    yield member
                    tasks.cancel_scope.cancel()
            finally:
                room.leave(member)

    async def present(self, caller: Caller, path: str) -> list[tuple[str, int]]:
        """Who is in the live layer of a file: names, and since when in nanoseconds; once each.

        Raises:
            NotFound: there is no file, or none that may be read.
        """
        node = await self._tree.look(caller, lambda edit: edit.find(path, Access.READ).node.id)
        room = self._rooms.get(node)
        first = dict[str, int]()
        for member in () if room is None else room.members.values():
            name = member.caller.name
            first[name] = min(member.since, first.get(name, member.since))
        return sorted(first.items(), key=lambda item: item[1])

    def members(self, node: int) -> int:
        """How many are in the live layer of a node."""
        room = self._rooms.get(node)
        return 0 if room is None else len(room.members)

    async def run(self) -> None:
        """Put on disk what comes in, for ever; what cannot be saved ends its layer."""
        while True:
            await self._unsaved.wait()
            self._unsaved.clear()
            await self._save()
            await self._tidy()
            await asyncio.sleep(SAVE_S)

    async def close(self) -> None:
        """Save what is left and let everybody go; idempotent."""
        if self._is_closed:
            return
        self._is_closed = True
        for room in list(self._rooms.values()):
            room.end(Unavailable("The server ends."))
        await self._save()
        self._rooms.clear()

    # Rooms -------------------------------------------------------------------------------------

    async def _room(self, node: int, base: str) -> LiveRoom:
        lock = self._opening.setdefault(node, asyncio.Lock())  # lives as long as somebody waits
        async with lock:
            room = self._rooms.get(node)
            if room is None:
                room = self._rooms[node] = await self._load(node, base)
            return room

    async def _load(self, node: int, base: str) -> LiveRoom:
        if self._is_closed:
            raise Unavailable("The server ends.")
        state = await self._database.reading(lambda db: live_rows.load(db, node))
        if state is None:
            state = State(base=base)
            begun = state
            await self._database.write(lambda db: live_rows.begin(db, node, begun))
        return LiveRoom(
            node,
            Sequencer(state, self._incarnation),
            now_ns=self._now_ns,
            on_unsaved=self._unsaved.set,
            write_merge=self._merge,
        )

    async def _keep_checking(self, member: LiveMember, place: _Place) -> None:
        """Take rights from a member that lost them."""
        while not member.is_over:
            await asyncio.sleep(CHECK_S)
            try:
                _, member.may_write = await self._tree.look(
                    member.caller, lambda edit: _find(edit, place.path)
                )
            except NotFound:
                continue  # that it went, or may not be read, the watch tells
            except PlatformError as error:
                member.end(error)

    # Disk --------------------------------------------------------------------------------------

    async def _save(self) -> None:
        """One commit of all that came in."""
        async with self._saving:
            taken = [(room, room.unsaved) for room in self._rooms.values() if room.unsaved]
            if not taken:
                return
            for room, _ in taken:
                room.unsaved = []
            try:
                await self._database.write(lambda db: _append_all(db, taken))
            except PlatformError as error:
                log.warning("content.live_not_saved", layers=len(taken), why=error.detail)
                self._give_up([room for room, _ in taken], error)
                return
            except sqlite3.Error as error:  # a fault of ours; the other layers go on
                log.exception("content.live_not_saved", layers=len(taken))
                self._give_up([room for room, _ in taken], Unavailable(str(error)))
                return
            point("content.live.saved")
            for room, batches in taken:
                room.saved(batches[-1].seq)

    def _give_up(self, rooms: list[LiveRoom], error: PlatformError) -> None:
        """Forget what cannot be saved; it is opened again as it is on disk."""
        for room in rooms:
            room.unsaved = []
            room.end(error)
            if self._rooms.get(room.node) is room:
                del self._rooms[room.node]

    async def _tidy(self) -> None:
        for node, room in list(self._rooms.items()):
            sequencer = room.sequencer
            is_long = sequencer.tail_bytes > max(COMPACT_BYTES, 2 * len(sequencer.snapshot))
            if is_long or sequencer.seq - sequencer.snapshot_seq > COMPACT_BATCHES:
                await self._compact(room)
            if room.is_idle and self._rooms.get(node) is room:
                del self._rooms[node]

    async def _compact(self, room: LiveRoom) -> None:
        """Lay the batches on disk into a snapshot there, in a thread."""
        state = await self._database.reading(lambda db: live_rows.load(db, room.node))
        if state is None or not state.batches:
            return
        short = await anyio.to_thread.run_sync(live_rows.compacted, state)
        async with self._saving:
            done = await self._database.write(lambda db: live_rows.shorten(db, room.node, short))
            if done and room.sequencer.epoch == short.epoch:
                room.sequencer.compacted(short.seq, short.snapshot)

    def _merge(self, room: LiveRoom, member: LiveMember, base: str) -> asyncio.Future[int]:
        return asyncio.ensure_future(self._merge_now(room, member, base))

    async def _merge_now(self, room: LiveRoom, member: LiveMember, base: str) -> int:
        sequencer = room.sequencer
        async with self._saving:
            if self._rooms.get(room.node) is not room:
                raise Conflict("This layer was given up; open it again.")
            state = State(sequencer.epoch + 1, base, sequencer.seq, sequencer.time)
            known = dict(sequencer.known)
            checkpoint = await self._database.write(
                lambda db: _begin_merged(db, room.node, state, known)
            )
            room.unsaved = []  # it is in the file
            message = sequencer.merged(base, checkpoint, member.key, self._now_ns())
        room.tell(message)
        return sequencer.epoch


def _find(edit: Edit, path: str) -> tuple[str, bool]:
    """Etag of the file, and whether it may be written."""
    node = edit.find(path, Access.READ).node
    if node.kind != "file":
        raise WrongType("Only a file has a live layer.", path=path)
    try:
        edit.find(path, Access.WRITE)
    except PlatformError:
        return node.hash, False
    return node.hash, True


def _append_all(db: sqlite3.Connection, taken: list[tuple[LiveRoom, list[Ordered]]]) -> None:
    for room, batches in taken:
        live_rows.append(db, room.node, batches)


def _begin_merged(db: sqlite3.Connection, node: int, state: State, known: dict[str, int]) -> int:
    row = db.execute("SELECT hash, checkpoint FROM node WHERE id = ?", (node,)).fetchone()
    if row is None or row[0] != state.base:
        raise VersionMismatch("The file is not what the merge made of it.")
    live_rows.begin(db, node, state, known)
    return int(row[1])
