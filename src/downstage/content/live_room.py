"""The members of one live layer: who is in it, what waits for each, who merges."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

from downstage.content.model import Caller, Event
from downstage.kernel.errors import (
    BadMessage,
    Conflict,
    Forbidden,
    PlatformError,
    TooLarge,
    TooMany,
)
from downstage.kernel.logging import get_logger
from downstage.live.messages import (
    Durable,
    Ended,
    Held,
    Join,
    Message,
    Ordered,
    People,
    Person,
    Resumed,
    pack,
)
from downstage.live.sequencer import Sequencer, shown

__all__ = ["MAX_LAYER", "MAX_MEMBERS", "LiveMember", "LiveRoom"]

log = get_logger(__name__)

MAX_MEMBERS = 128
"""Members of one layer: each batch goes to all of them."""
MAX_WAITING = 8192
"""Messages that wait for one member before it is cut off; it can come back."""
MAX_WAITING_BYTES = 64 * 1024 * 1024
MAX_LAYER = 256 * 1024 * 1024
"""Bytes of a layer's snapshot and batches; then nothing more is taken until it is merged."""
HOLD_S = 60.0
"""Seconds that a merge may hold the layer."""


class LiveMember:
    """One client in one layer: iterate to hear, as packed messages; the last one says why."""

    def __init__(
        self, room: LiveRoom, caller: Caller, client: str, since: int, *, may_write: bool
    ) -> None:
        self.caller = caller
        self.since = since
        self.client = client
        self.may_write = may_write
        self._room = room
        self._waiting = deque[bytes]()
        self._bytes = 0
        self._arrived = asyncio.Event()
        self.is_over = False

    def submit(self, epoch: int, n: int, ops: bytes) -> None:
        """Give a batch its place and tell everybody; durable a moment later, which is told too.

        Raises:
            Forbidden: this member may only look.
            BadMessage, TooLarge: of the batch; the member is ended.
            Conflict: it has been ended.
        """
        self._check()
        try:
            self._room.submit(self, epoch, n, ops)
        except (BadMessage, TooLarge) as error:
            self.end(error)
            raise

    def hold(self) -> int:
        """Take nothing from anybody, so that this member can merge; the last seq.

        Raises:
            Forbidden: this member may only look.
            Conflict: somebody merges already.
        """
        self._check()
        return self._room.hold(self)

    def resume(self) -> None:
        """No merge comes of it."""
        self._room.resume(self)

    async def merged(self, base: str) -> int:
        """The layer up to the hold was written into the file, which has etag *base* now.

        Returns:
            The epoch that begins.

        Raises:
            Conflict: this member does not hold the layer.
            VersionMismatch: the file has another etag.
        """
        return await self._room.merge(self, base)

    def hear(self, message: bytes) -> None:
        """Let *message* wait; a member for which too many wait is ended."""
        if self.is_over:
            return
        self._bytes += len(message)
        if len(self._waiting) >= MAX_WAITING or self._bytes > MAX_WAITING_BYTES:
            log.warning("content.live_member_cut", member=self.client)
            self._waiting.clear()
            self.end(TooMany("It does not follow."))
            return
        self._waiting.append(message)
        self._arrived.set()

    def end(self, error: PlatformError) -> None:
        """Say why, and nothing more."""
        if self.is_over:
            return
        self.is_over = True
        self._waiting.append(pack(Ended(error.code, error.detail)))
        self._arrived.set()

    def _check(self) -> None:
        if self.is_over:
            raise Conflict("This member is in the layer no more.")
        if not self.may_write:
            raise Forbidden("This layer may only be looked at.")

    def __aiter__(self) -> Self:
        return self

    async def __anext__(self) -> bytes:
        while not self._waiting:
            if self.is_over:
                raise StopAsyncIteration
            self._arrived.clear()
            await self._arrived.wait()
        message = self._waiting.popleft()
        self._bytes -= len(message)
        return message


class LiveRoom:
    """One layer in memory. Everything but `merge` happens at once, on the loop.

    Args:
        node: id of the file.
        sequencer: of the layer, as it is on disk.
        now_ns: nanoseconds since the epoch.
        on_unsaved: called when there is something to put on disk.
        write_merge: puts a new epoch on disk, after checking the file's etag.
    """

    def __init__(
        self,
        node: int,
        sequencer: Sequencer,
        *,
        now_ns: Callable[[], int],
        on_unsaved: Callable[[], None],
        write_merge: Callable[[LiveRoom, LiveMember, str], asyncio.Future[int]],
    ) -> None:
        self.node = node
        self.sequencer = sequencer
        self.members = dict[str, LiveMember]()
        self.unsaved: list[Ordered] = []
        self.joining = 0
        """Callers that are about to enter: the room stays."""
        self._now_ns = now_ns
        self._on_unsaved = on_unsaved
        self._write_merge = write_merge
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Nobody is in it and all is on disk."""
        return not (self.members or self.unsaved or self.joining)

    def enter(self, caller: Caller, join: Join, *, may_write: bool) -> LiveMember:
        """A client comes, or comes back before its earlier connection was found dead.

        Raises:
            TooMany: the layer is full.
        """
        earlier = self.members.pop(join.client, None)
        if earlier is not None:
            self._let_go(earlier)
            earlier.end(Conflict("The client came back by another connection."))
        if len(self.members) >= MAX_MEMBERS:
            raise TooMany("Too many are in this layer.", most=MAX_MEMBERS)
        member = LiveMember(self, caller, join.client, self._now_ns(), may_write=may_write)
        self.members[join.client] = member
        people = self._people()
        member.hear(pack(self.sequencer.welcome(join, people, may_write=may_write)))
        if self.sequencer.held_by:
            member.hear(pack(Held(self.sequencer.held_by, self.sequencer.seq)))
        self.tell(People(people), but=member)
        return member

    def leave(self, member: LiveMember) -> None:
        """Tell the others; idempotent."""
        if self.members.get(member.client) is member:
            del self.members[member.client]
            self._let_go(member)
            self.tell(People(self._people()))

    def submit(self, member: LiveMember, epoch: int, n: int, ops: bytes) -> None:
        """See `LiveMember.submit`."""
        sequencer = self.sequencer
        if len(sequencer.snapshot) + sequencer.tail_bytes + len(ops) > MAX_LAYER:
            raise TooLarge("The live layer is full: merge it.", limit=MAX_LAYER)
        batch = sequencer.submit(member.client, epoch, n, ops, self._now_ns())
        if batch is None:
            return
        self.unsaved.append(batch)
        member.hear(pack(shown(batch, member.client)))
        self.tell(batch, but=member)
        self._on_unsaved()

    def saved(self, seq: int) -> None:
        """All up to *seq* is on disk: those who sent it may forget it."""
        for client, n in self.sequencer.stored(seq).items():
            member = self.members.get(client)
            if member is not None:
                member.hear(pack(Durable(n)))

    def hold(self, member: LiveMember) -> int:
        """See `LiveMember.hold`."""
        if self.sequencer.held_by:
            raise Conflict("Somebody merges this layer already.")
        self.sequencer.hold(member.client)
        self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._let_go, member)
        self.tell(Held(member.client, self.sequencer.seq))
        return self.sequencer.seq

    def resume(self, member: LiveMember) -> None:
        """See `LiveMember.resume`."""
        self._let_go(member)

    async def merge(self, member: LiveMember, base: str) -> int:
        """See `LiveMember.merged`."""
        if self.sequencer.held_by != member.client:
            raise Conflict("This member does not hold the layer.")
        self._stop_timer()
        try:
            return await self._write_merge(self, member, base)
        finally:
            self._let_go(member)

    def happened(self, member: LiveMember, event: Event) -> None:
        """To the file, as *member* may see it."""
        if event.kind in {"deleted", "obliterated"}:
            member.end(Conflict("The file is gone."))
            self.leave(member)

    def tell(self, message: Message, *, but: LiveMember | None = None) -> None:
        """To all but one."""
        packed = pack(message)
        for member in list(self.members.values()):
            if member is not but:
                member.hear(packed)

    def end(self, error: PlatformError) -> None:
        """Everybody goes."""
        self._stop_timer()
        for member in list(self.members.values()):
            member.end(error)
        self.members.clear()

    def _people(self) -> list[Person]:
        return [Person(member.client, member.caller.name) for member in self.members.values()]

    def _let_go(self, member: LiveMember) -> None:
        if self.sequencer.held_by == member.client:
            self._stop_timer()
            self.sequencer.resume()
            self.tell(Resumed())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
