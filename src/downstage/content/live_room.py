"""The members of one live layer: who is in it, what waits for each, who merges."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Self

import anyio.to_thread
import blake3
from msgspec.structs import replace

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
from downstage.live.sequencer import Sequencer
from downstage.live.wire import decode

__all__ = ["MAX_LAYER", "MAX_MEMBERS", "LiveMember", "LiveRoom"]

log = get_logger(__name__)

MAX_MEMBERS = 128
"""Members of one layer: each batch goes to all of them."""
MAX_WAITING = 8192
"""Messages that wait for one member before it is cut off; it can come back."""
MAX_OF_ONE = 32
"""Members of one layer that are one person."""
MAX_LAYER = 64 * 1024 * 1024
"""Bytes of a layer's snapshot and batches; then nothing more is taken until it is merged."""
MAX_WAITING_BYTES = MAX_LAYER + 32 * 1024 * 1024
"""More than a layer: whoever joins gets all of it at once."""
AT_ONCE = 64 * 1024
"""Bytes of a batch that is looked at without a thread."""
HOLD_S = 60.0
"""Seconds that a merge may hold the layer."""


def key_of(caller: Caller, client: str) -> str:
    """What all others call a client: its name belongs to its person, whoever else takes it."""
    return f"{client}~{blake3.blake3(caller.subject.encode()).hexdigest(8)}"


class LiveMember:
    """One client in one layer: iterate to hear, as packed messages; the last one says why."""

    def __init__(
        self, room: LiveRoom, caller: Caller, client: str, since: int, *, may_write: bool
    ) -> None:
        self.caller = caller
        self.since = since
        self.client = client
        """What it calls itself."""
        self.key = key_of(caller, client)
        self.may_write = may_write
        self.queued = 0
        """Calls that came in and wait for those before them."""
        self._turn = asyncio.Lock()
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
            decode(ops)
            self._room.submit(self, epoch, n, ops)
        except (BadMessage, TooLarge) as error:
            self.end(error)
            raise

    async def submit_large(self, epoch: int, n: int, ops: bytes) -> None:
        """`submit`, in its turn, of what takes long to look at."""
        async with self._turn:
            self._check()
            try:
                await anyio.to_thread.run_sync(decode, ops)
                self._check()
                self._room.submit(self, epoch, n, ops)
            except (BadMessage, TooLarge) as error:
                self.end(error)
                raise

    async def hold_in_turn(self) -> int:
        """`hold`, after what came before it."""
        async with self._turn:
            return self.hold()

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
        if self.is_over:
            raise Conflict("This member is in the layer no more.")
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
        self._merging: asyncio.Future[int] | None = None
        self._timer: asyncio.TimerHandle | None = None

    @property
    def is_idle(self) -> bool:
        """Nobody is in it and all is on disk."""
        return not (self.members or self.unsaved or self.joining or self._merging)

    def enter(self, caller: Caller, join: Join, *, may_write: bool) -> LiveMember:
        """A client comes, or comes back before its earlier connection was found dead.

        Raises:
            TooMany: the layer is full.
        """
        member = LiveMember(self, caller, join.client, self._now_ns(), may_write=may_write)
        earlier = self.members.pop(member.key, None)
        if earlier is not None:
            self._let_go(earlier)
            earlier.end(Conflict("The client came back by another connection."))
        of_one = sum(one.caller.subject == caller.subject for one in self.members.values())
        if len(self.members) >= MAX_MEMBERS or of_one >= MAX_OF_ONE:
            raise TooMany("Too many are in this layer.", most=MAX_MEMBERS)
        self.members[member.key] = member
        known = replace(join, client=member.key)
        welcome = self.sequencer.welcome(known, self._people(member), may_write=may_write)
        welcome = replace(welcome, batches=[_own(batch, member) for batch in welcome.batches])
        member.hear(pack(welcome))
        if self.sequencer.held_by:
            member.hear(pack(Held(self.sequencer.held_by, self.sequencer.seq)))
        self._tell_people(but=member)
        return member

    def leave(self, member: LiveMember) -> None:
        """Tell the others; idempotent."""
        if self.members.get(member.key) is member:
            del self.members[member.key]
            self._let_go(member)
            self._tell_people()
        if self.is_idle:
            self._on_unsaved()  # whoever saves tidies up, too

    def submit(self, member: LiveMember, epoch: int, n: int, ops: bytes) -> None:
        """See `LiveMember.submit`; *ops* were looked at."""
        sequencer = self.sequencer
        if len(sequencer.snapshot) + sequencer.tail_bytes + len(ops) > MAX_LAYER:
            raise TooLarge("The live layer is full: merge it.", limit=MAX_LAYER)
        batch = sequencer.submit(member.key, epoch, n, ops, self._now_ns())
        if batch is None:
            return
        self.unsaved.append(batch)
        member.hear(pack(replace(_own(batch, member), ops=b"")))
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
        self.sequencer.hold(member.key)
        self._timer = asyncio.get_running_loop().call_later(HOLD_S, self._let_go, member)
        self.tell(Held(member.key, self.sequencer.seq))
        return self.sequencer.seq

    def resume(self, member: LiveMember) -> None:
        """See `LiveMember.resume`."""
        self._let_go(member)

    async def merge(self, member: LiveMember, base: str) -> int:
        """See `LiveMember.merged`."""
        if self.sequencer.held_by != member.key or self._merging is not None:
            raise Conflict("This member does not hold the layer.")
        self._stop_timer()
        merging = self._merging = self._write_merge(self, member, base)
        merging.add_done_callback(lambda done: self._merge_ended(member, done))
        # It goes on without whoever asked: what others do meanwhile must not fall in between.
        return await asyncio.shield(merging)

    def _merge_ended(self, member: LiveMember, done: asyncio.Future[int]) -> None:
        self._merging = None
        if not done.cancelled():
            done.exception()  # perhaps nobody waits for it any more
        self._let_go(member)
        if self.is_idle:
            self._on_unsaved()

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

    def _tell_people(self, *, but: LiveMember | None = None) -> None:
        for member in list(self.members.values()):
            if member is not but:
                member.hear(pack(People(self._people(member))))

    def _people(self, told: LiveMember) -> list[Person]:
        """Everybody; *told* under the name that it has for itself."""
        return [
            Person(one.client if one is told else key, one.caller.name)
            for key, one in self.members.items()
        ]

    def _let_go(self, member: LiveMember) -> None:
        if self.sequencer.held_by == member.key and self._merging is None:
            self._stop_timer()
            self.sequencer.resume()
            self.tell(Resumed())

    def _stop_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def _own(batch: Ordered, member: LiveMember) -> Ordered:
    """*batch*, its own under the name that *member* has for itself."""
    return replace(batch, client=member.client) if batch.client == member.key else batch
