"""Broadcast at a path: who is there hears what the others send, in one order.

A channel is a node of the tree, so rights, moves and deletion are the tree's. It keeps nothing:
who joins later hears of those present (HELLO), not of what was said. All of it happens on the
loop, so that a channel has one order without any lock.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, Callable
from contextlib import AbstractContextManager, asynccontextmanager
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol, Self, TypeVar

from downstage.content import leaves
from downstage.content.edit import Edit
from downstage.content.model import Access, Caller, Event
from downstage.kernel.errors import (
    AlreadyExists,
    Conflict,
    NotFound,
    TooLarge,
    TooMany,
    WrongType,
)
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger

__all__ = [
    "MAX_MEMBERS",
    "MAX_MESSAGE",
    "ChannelEvent",
    "ChannelMessage",
    "Channels",
    "Member",
]

log = get_logger(__name__)
T = TypeVar("T")

MAX_MESSAGE = 64 * 1024
"""Bytes of one message."""
MAX_MEMBERS = 512
"""Members of one channel: each message goes to all of them."""
MAX_OF_ONE = 64
"""Members of one channel that are one person: nobody fills it alone."""
MAX_WAITING = 1024
"""Messages that wait for one member before it is cut off."""
MAX_WAITING_BYTES = 8 * 1024 * 1024
RATE = 200.0
"""Messages a second that one member may send, in the long run."""
BURST = 400.0
BYTE_RATE = 4 * 1024 * 1024.0
"""Bytes a second that one member may send, in the long run."""


class ChannelEvent(StrEnum):
    """What a member hears of."""

    JOIN = "join"
    """Somebody came."""
    HELLO = "hello"
    """Somebody was there before; told to who came."""
    MESSAGE = "message"
    LEFT = "left"
    """Somebody went, or their connection died."""
    DELETED = "deleted"
    """The channel is gone, or may not be read any more; the last that is heard."""
    ERROR = "error"
    """Cut off, for the reason in the content; the last that is heard."""


@dataclass(frozen=True, slots=True)
class ChannelMessage:
    """One thing heard."""

    event: ChannelEvent
    sender: str = ""
    """Id of the member it is from."""
    content: bytes = b""
    """Of JOIN and HELLO: what that member wants to be known by."""
    name: str = ""
    """Of the sender, for eyes."""


class Tree(Protocol):
    """What channels ask of the tree."""

    async def look(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job*, which only looks."""
        ...

    async def edit(self, caller: Caller, job: Callable[[Edit], T]) -> T:
        """Run *job* as an operation."""
        ...

    def watch(
        self, caller: Caller, path: str, take: Callable[[Event], None]
    ) -> AbstractContextManager[int]:
        """Hand the events of a node to *take* as they happen; gives the node's id."""
        ...


class _Bucket:
    """Lets through *rate* a second in the long run, *burst* at once."""

    def __init__(self, rate: float, burst: float, now: float) -> None:
        self._rate = rate
        self._burst = burst
        self._left = burst
        self._at = now

    def take(self, amount: float, now: float) -> bool:
        self._left = min(self._burst, self._left + (now - self._at) * self._rate)
        self._at = now
        if self._left < amount:
            return False
        self._left -= amount
        return True


class Member:
    """One who is in a channel: iterate over it to hear, until it ends; `send` to speak."""

    def __init__(self, room: _Room, caller: Caller, hello: bytes, now: float) -> None:
        self.id = new_id("m")
        self.caller = caller
        self.hello = hello
        self._room = room
        self._waiting = deque[ChannelMessage]()
        self._waiting_bytes = 0
        self._arrived = asyncio.Event()
        self._is_over = False
        self._messages = _Bucket(RATE, BURST, now)
        self._bytes = _Bucket(BYTE_RATE, max(BYTE_RATE, MAX_MESSAGE), now)

    async def send(self, content: bytes) -> None:
        """Tell all others, in the order of the calls; it does not come back to the sender.

        Raises:
            TooLarge: more than 64 KiB.
            TooMany: more than 200 messages or 4 MiB a second in the long run.
            Forbidden: this member may only listen.
            Conflict: it has been cut off.
        """
        if len(content) > MAX_MESSAGE:
            raise TooLarge("A message is too large.", max_bytes=MAX_MESSAGE)
        await self._room.require(self, Access.WRITE)
        if self._is_over:
            raise Conflict("This member is in the channel no more.")
        now = asyncio.get_running_loop().time()
        if not (self._messages.take(1, now) and self._bytes.take(len(content), now)):
            raise TooMany("Too many messages.", retry_after_s=1)
        self._room.tell(self.said(ChannelEvent.MESSAGE, content), self)

    def said(self, event: ChannelEvent, content: bytes = b"") -> ChannelMessage:
        """A message from this member."""
        return ChannelMessage(event, self.id, content, self.caller.name)

    def hear(self, message: ChannelMessage) -> bool:
        """Let *message* wait; False: too many wait, the member is cut off."""
        if self._is_over:
            return True
        self._waiting_bytes += len(message.content)
        if len(self._waiting) >= MAX_WAITING or self._waiting_bytes > MAX_WAITING_BYTES:
            self.end(ChannelMessage(ChannelEvent.ERROR, content=b"too slow"), at_once=True)
            return False
        self._waiting.append(message)
        self._arrived.set()
        return True

    def end(self, last: ChannelMessage, *, at_once: bool = False) -> None:
        """Hear *last* and no more; *at_once*: nor what waits."""
        if self._is_over:
            return
        if at_once:
            self._waiting.clear()
        self._is_over = True
        self._waiting.append(last)
        self._arrived.set()

    def happened(self, event: Event) -> None:
        """To the channel's node, as this member may see it."""
        if event.kind in {"deleted", "obliterated"}:
            self.end(ChannelMessage(ChannelEvent.DELETED))
            # Later: where the channel is gone for all, nobody is to hear that the others left.
            asyncio.get_running_loop().call_soon(self._room.leave, self)
        elif event.kind == "renamed":
            self._room.path = event.path

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> ChannelMessage:
        while not self._waiting:
            if self._is_over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        message = self._waiting.popleft()
        self._waiting_bytes -= len(message.content)
        return message


class _Room:
    """The members of one channel."""

    def __init__(self, tree: Tree, path: str) -> None:
        self.path = path
        self.members = dict[str, Member]()
        self._tree = tree

    async def require(self, member: Member, needed: Access) -> None:
        """Refuse a member that has lost a right."""
        await self._tree.look(member.caller, lambda edit: edit.find(self.path, needed))

    def enter(self, member: Member) -> None:
        """Present the members to each other.

        Raises:
            TooMany: the channel is full.
        """
        subject = member.caller.subject
        of_one = sum(one.caller.subject == subject for one in self.members.values())
        if len(self.members) >= MAX_MEMBERS or of_one >= MAX_OF_ONE:
            raise TooMany("This channel is full.", most=MAX_MEMBERS)
        for present in self.members.values():
            member.hear(present.said(ChannelEvent.HELLO, present.hello))
        self.tell(member.said(ChannelEvent.JOIN, member.hello), member)
        self.members[member.id] = member

    def leave(self, member: Member) -> None:
        """Tell the others; idempotent."""
        if self.members.pop(member.id, None) is not None:
            self.tell(member.said(ChannelEvent.LEFT), member)

    def tell(self, message: ChannelMessage, sender: Member) -> None:
        """To all but *sender*; who cannot follow is out."""
        slow = [
            member
            for member in self.members.values()
            if member is not sender and not member.hear(message)
        ]
        for member in slow:
            log.warning("content.channel_member_cut", channel=self.path, member=member.id)
            self.leave(member)


class Channels:
    """All channels of a content service.

    Args:
        tree: that they lie in.
    """

    def __init__(self, tree: Tree) -> None:
        self._tree = tree
        self._rooms = dict[int, _Room]()

    @asynccontextmanager
    async def join(
        self, caller: Caller, path: str, *, hello: bytes = b""
    ) -> AsyncGenerator[Member]:
        """Be in the channel at *path* for the time of the block; it is made if there is none.

        Args:
            caller: needs READ, WRITE to send, and WRITE to make it.
            path: of the channel; made with the folders above.
            hello: what the others get to know about this member.

        Raises:
            NotFound: there is none, and none can be made; or not readable.
            WrongType: something else is there.
            TooMany: the channel is full.
        """
        if len(hello) > MAX_MESSAGE:
            raise TooLarge("A message is too large.", max_bytes=MAX_MESSAGE)
        await self._ensure(caller, path)
        member: Member | None = None

        def happened(event: Event) -> None:
            if member is not None:
                member.happened(event)

        with self._tree.watch(caller, path, happened) as node:
            # Nothing is awaited until all know of each other: that is the one order.
            room = self._rooms.setdefault(node, _Room(self._tree, path))
            member = Member(room, caller, hello, asyncio.get_running_loop().time())
            try:
                room.enter(member)
                yield member
            finally:
                room.leave(member)
                if not room.members and self._rooms.get(node) is room:
                    del self._rooms[node]

    def members(self, node: int) -> int:
        """How many are in the channel of a node."""
        room = self._rooms.get(node)
        return 0 if room is None else len(room.members)

    def close(self) -> None:
        """The service ends: everybody hears so."""
        for room in list(self._rooms.values()):
            for member in list(room.members.values()):
                member.end(ChannelMessage(ChannelEvent.ERROR, content=b"shutdown"))

    async def _ensure(self, caller: Caller, path: str) -> None:
        try:
            await self._tree.look(caller, lambda edit: _find(edit, path))
        except NotFound:
            try:
                await self._tree.edit(caller, lambda edit: _create(edit, path))
            except AlreadyExists:
                await self._tree.look(caller, lambda edit: _find(edit, path))


def _find(edit: Edit, path: str) -> None:
    trail = edit.find(path, Access.READ)
    if trail.node.kind != "channel":
        raise WrongType("There is something else than a channel.", path=path)


def _create(edit: Edit, path: str) -> None:
    leaves.create(edit, path, "channel")
