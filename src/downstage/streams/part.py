"""A part of the keys that one command may touch together, wherever its shard is just now.

One node is one part. A cluster is cut into a fixed number of parts, each in one slot, so that a
transaction and a blocking read can name all streams of a part; a stream's part never changes.
"""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from downstage.kernel.errors import DurabilityUnavailable, PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.engine import Buffer, Engine, Lane, NotReady, Shard
from downstage.streams.engine.resp import Replies
from downstage.streams.keys import Keys
from downstage.streams.model import Durability, StreamSpec
from downstage.streams.outbox import Answer, Outbox, Train
from downstage.streams.tail import find_ids

__all__ = ["PARTS", "Part"]

PARTS = 16
"""Parts of a cluster. Never change it: streams would not be found again."""
FIRST_PAUSE_S = 0.01
LONGEST_PAUSE_S = 0.5
REPLICA_MS = 2000
log = get_logger(__name__)


class _Train:
    """The train lane of a part's shard, whichever it is."""

    def __init__(self, part: Part) -> None:
        self._part = part

    @property
    def is_open(self) -> bool:
        return self._part.is_up

    def send(
        self, buffers: Sequence[Buffer], replies: int, on_replies: Replies, *, size: int = 0
    ) -> None:
        """Send, or answer at once that nothing was."""
        try:
            lane = self._part.shard.train
        except NotReady as error:
            on_replies([error] * replies)
            return
        lane.send(buffers, replies, on_replies, size=size)


class _Own:
    """A lane of one's own, opened again after each break."""

    def __init__(self) -> None:
        self.lane: Lane | None = None

    @property
    def is_open(self) -> bool:
        return self.lane is not None and self.lane.is_open

    def send(
        self, buffers: Sequence[Buffer], replies: int, on_replies: Replies, *, size: int = 0
    ) -> None:
        if self.lane is None:
            on_replies([NotReady("The engine of streams is not connected.")] * replies)
            return
        self.lane.send(buffers, replies, on_replies, size=size)


class Part:
    """Keys with one tag, on one engine.

    Args:
        engine: that holds it.
        tag: of its keys.
        durable: whether it is for streams that are kept with every write.
        process: name of this process, for its markers.
        high: bytes without an answer at which producers are told.
    """

    def __init__(
        self, engine: Engine, tag: bytes, process: str, high: int, *, durable: bool
    ) -> None:
        self.tag = tag
        self.keys = Keys(tag)
        self.is_durable = durable
        self._engine = engine
        self._probe = self.keys.tenants()
        self._own = _Own()
        name = "durable" if durable else "main"
        self.outbox = Outbox(_Train(self), self.keys.marker(process, name), high)
        self.copied = Outbox(
            self._own, self.keys.marker(process, f"{name}-copied"), high, waits=REPLICA_MS
        )
        """For streams whose entries a replica must have before they are answered for."""
        self._trouble = anyio.Event()
        for outbox in (self.outbox, self.copied):
            outbox.on_trouble = self._note
        self.copied.hold()

    @property
    def shard(self) -> Shard:
        """Where its keys are now.

        Raises:
            NotReady: nobody holds them.
        """
        return self._engine.shard_of(self._probe, self.is_durable)

    @property
    def is_up(self) -> bool:
        """Whether it can be asked."""
        try:
            return self.shard.is_up
        except PlatformError:
            return False

    @property
    def command(self) -> Lane:
        """The lane for queries.

        Raises:
            NotReady: it is down.
        """
        return self.shard.command

    @property
    def durability(self) -> Durability:
        """What its answers promise, without a replica."""
        try:
            return self.shard.durability
        except PlatformError:
            return Durability.MEMORY

    def has_room(self, size: int) -> bool:
        """Whether *size* bytes more fit into its engine's memory, as far as it told lately."""
        try:
            facts = self.shard.facts
        except PlatformError:
            return True  # it is away: what is pushed waits, and is told then
        return (
            facts is None
            or not facts.memory_limit
            or facts.memory_used + size <= facts.memory_limit
        )

    def check_replicated(self) -> None:
        """Return if a replica follows.

        Raises:
            DurabilityUnavailable: none does.
            NotReady: the engine is away.
        """
        if not self.shard.replicas:
            raise DurabilityUnavailable("No replica follows the engine of streams just now.")

    def outbox_of(self, spec: StreamSpec) -> Outbox:
        """Where entries of a stream with *spec* leave by."""
        return self.copied if spec.durability is Durability.REPLICATED else self.outbox

    def _note(self) -> None:
        self._trouble.set()

    async def run(self) -> None:
        """Send again what a break or a pause of the engine held up, until cancelled."""
        while True:
            await self._trouble.wait()
            self._trouble = anyio.Event()
            pause = FIRST_PAUSE_S
            while self._is_wanted():
                with anyio.move_on_after(LONGEST_PAUSE_S):
                    await self.wait_up()
                try:
                    await self._resume()
                except PlatformError as error:
                    log.debug("streams.part_not_ready", why=error.detail)
                await anyio.sleep(pause)  # so that an engine that keeps refusing is not flooded
                pause = min(2 * pause, LONGEST_PAUSE_S)

    def _is_wanted(self) -> bool:
        return self.outbox.is_held or (self.copied.is_held and self.copied.in_flight > 0)

    async def wait_up(self) -> None:
        """Return once it can be asked."""
        while not self.is_up:
            try:
                await self.shard.wait_up()
            except PlatformError:
                await anyio.sleep(FIRST_PAUSE_S)  # a map without an owner of this part

    async def _resume(self) -> None:
        if self.outbox.is_held:
            await self._resume_one(self.outbox)
        if self.copied.is_held and self.copied.in_flight:
            if not self._own.is_open:
                self._own.lane = await self.shard.new_lane()
            await self._resume_one(self.copied)

    async def _resume_one(self, outbox: Outbox) -> None:
        known: dict[Train, list[Answer]] = {}
        done = 0
        while missing := [train for train in outbox.unknown if train not in known]:
            done = int(await self.command.call("GET", outbox.marker) or 0)
            for train in missing:
                known[train] = await find_ids(self.command, train) if train.number <= done else []
        outbox.resume(done, known.__getitem__)

    def expire(self, now: float) -> None:
        """Refuse what has waited too long."""
        self.outbox.expire(now)
        self.copied.expire(now)

    def give_up(self) -> None:
        """Answer everything; nothing is sent any more."""
        self.outbox.give_up()
        self.copied.give_up()
