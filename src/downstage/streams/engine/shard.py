"""One primary and its replicas: connected for ever, found again wherever it went.

A restart, a load, a failover are a pause: the shard is down, then up again with another `epoch`.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import anyio

from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.engine.address import Address
from downstage.streams.engine.facts import Facts, examine, refusal
from downstage.streams.engine.replies import NotReady
from downstage.streams.engine.resp import Lane, open_lane
from downstage.streams.model import Durability

__all__ = ["EngineState", "Places", "Shard", "ShardOptions"]

FIRST_PAUSE_S = 0.05
LONGEST_PAUSE_S = 2.0
LOADING_PAUSE_S = 0.05
REFUSED_PAUSE_S = 5.0
LOOK_S = 2.0
"""How often a connected engine is asked how it is."""
STALLED_S = 15.0
"""A connection on which something waits that long without a byte coming is given up."""
Word = Literal["starting", "loading", "ready", "down", "refused"]
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineState:
    """How an engine is, since when, and why."""

    word: Word
    since: datetime
    detail: str = ""


@dataclass(frozen=True, slots=True)
class ShardOptions:
    """What all shards of an engine share."""

    in_flight: int = 32 << 20
    """Bytes without an answer at which `Shard.pressure` is told."""
    allow_old: bool = False


class Places(Protocol):
    """Knows where a shard's primary may be."""

    async def candidates(self) -> list[Address]:
        """Where to try, best first."""
        ...

    def learned(self, address: Address, facts: Facts) -> None:
        """The node at *address* answered."""
        ...


class Shard:
    """What holds a part of the keys, or all of them. `run` keeps it connected.

    `on_up` and `on_down` are told in the loop, synchronously; they may neither wait nor raise.
    `pressure` is told as `Lane.pressure` of the train lane, whichever it is at that time.
    """

    def __init__(
        self, name: str, places: Places, options: ShardOptions, clock: Clock, *, durable: bool
    ) -> None:
        self.name = name
        self.is_durable = durable
        """Whether streams that were made with ``durability: always`` belong here."""
        self.epoch = 0
        """One more with every connection: what was under way in an earlier one is `Lost`."""
        self.promise: Durability | None = None
        """What is known of an engine of ours besides what it says itself."""
        self.facts: Facts | None = None
        """As it answered last; refreshed every few seconds."""
        self.on_up: set[Callable[[Shard], None]] = set()
        self.on_down: set[Callable[[Shard], None]] = set()
        self.pressure: set[Callable[[bool], None]] = set()
        self.on_trouble: Callable[[PlatformError], None] | None = None
        self._places = places
        self._options = options
        self._clock = clock
        self._state = EngineState("starting", clock.now())
        self._train: Lane | None = None
        self._command: Lane | None = None
        self._lanes: set[Lane] = set()
        self._address: Address | None = None
        self._look = anyio.Event()
        self._changed = anyio.Event()

    # --- what the store uses -------------------------------------------------------------------

    @property
    def train(self) -> Lane:
        """The connection for XADD trains; its commands never block.

        Raises:
            NotReady: it is down.
        """
        if self._train is None:
            raise self._not_ready()
        return self._train

    @property
    def command(self) -> Lane:
        """The connection for queries; its commands never block.

        Raises:
            NotReady: it is down.
        """
        if self._command is None:
            raise self._not_ready()
        return self._command

    async def new_lane(self) -> Lane:
        """A connection of one's own, for commands that block; it ends when the shard goes down.

        Raises:
            NotReady: it is down.
        """
        if self._address is None or self._train is None:
            raise self._not_ready()
        epoch = self.epoch
        lane = await self._open(self._address)
        if epoch != self.epoch or not self.is_up:
            lane.abort()
            raise self._not_ready()
        return lane

    @property
    def is_up(self) -> bool:
        """Whether something can be sent now."""
        return self._train is not None

    @property
    def durability(self) -> Durability:
        """What its answers promise, unless `wait_replicas` was asked too."""
        if self.facts is None:
            return Durability.MEMORY
        return self.promise or self.facts.durability

    @property
    def replicas(self) -> int:
        """Replicas that follow it now."""
        return len(self.facts.replicas) if self.facts else 0

    @property
    def run_id(self) -> str:
        """Of the engine's process: another one after it restarted or another node took over."""
        return self.facts.run_id if self.facts else ""

    @property
    def state(self) -> EngineState:
        """How it is, since when, and why."""
        return self._state

    async def wait_up(self) -> None:
        """Return once it is up."""
        while not self.is_up:
            await self._changed.wait()

    async def wait_changed(self) -> None:
        """Return at the next change of `state`."""
        await self._changed.wait()

    def look_again(self) -> None:
        """Ask the node soon whether it still leads."""
        self._look.set()

    # --- up and down ---------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep it connected until cancelled."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                try:
                    await self._connect()
                except NotReady as error:
                    is_refused = self._state.word == "refused"
                    if not is_refused:
                        self._set("loading" if error.word == "LOADING" else "down", error.detail)
                    with anyio.move_on_after(REFUSED_PAUSE_S if is_refused else pause):
                        await self._look.wait()
                    pause = min(pause * 2, LONGEST_PAUSE_S)
                    continue
                pause = FIRST_PAUSE_S
                await self._hold()
        finally:
            self._drop("The engine of streams was closed.")

    async def _connect(self) -> None:
        self._look = anyio.Event()
        error = NotReady("No node of the engine of streams is known.")
        for address in await self._places.candidates():
            try:
                lane = await self._open(address)
            except NotReady as failed:
                error = failed
                continue
            try:
                if await self._try(lane, address):
                    return
                error = NotReady(f"{address} follows another node.")
            except NotReady as failed:
                error = failed
            finally:
                if lane is not self._train:
                    lane.abort()
            if self._state.word == "refused":
                break
        raise error

    async def _try(self, lane: Lane, address: Address) -> bool:
        facts = await examine(lane)
        while facts.is_loading:
            self._set("loading", "The engine of streams reads its log.")
            await anyio.sleep(LOADING_PAUSE_S)  # it tells the end of loading in no other way
            facts = await examine(lane)
        self._places.learned(address, facts)
        if why := refusal(facts, allow_old=self._options.allow_old):
            self._set("refused", why)
            raise NotReady(why)
        if not facts.is_primary:
            return False
        command = await self._open(address)
        if not (lane.is_open and command.is_open):
            command.abort()
            return False
        for one in (lane, command):
            one.on_lost.add(self._lost)
        self._address, self.facts, self._command = address, facts, command
        lane.pressure = self.pressure
        self._train = lane
        self.epoch += 1
        self._set("ready")
        for tell in tuple(self.on_up):
            tell(self)
        return True

    async def _open(self, address: Address) -> Lane:
        lane = await open_lane(address, name=self.name, high=self._options.in_flight)
        lane.on_trouble = self._trouble
        lane.on_lost.add(self._lanes.discard)
        self._lanes.add(lane)
        return lane

    def _trouble(self, error: PlatformError) -> None:
        self._look.set()
        if self.on_trouble is not None:
            self.on_trouble(error)

    async def _hold(self) -> None:
        """Return once it is down: disconnected, stalled, or another node leads."""
        train, command = self._train, self._command
        assert train is not None  # noqa: S101 - set by `_try`
        assert command is not None  # noqa: S101 - set by `_try`
        async with anyio.create_task_group() as tasks:

            async def wait_lost(lane: Lane) -> None:
                await lane.wait_closed()
                tasks.cancel_scope.cancel()

            tasks.start_soon(wait_lost, train)
            tasks.start_soon(wait_lost, command)
            while await self._still_leads(command):
                with anyio.move_on_after(LOOK_S):
                    await self._look.wait()
                self._look = anyio.Event()
            tasks.cancel_scope.cancel()
        self._drop("Another node of the engine of streams leads now.")

    def _lost(self, lane: Lane) -> None:
        if lane in (self._train, self._command):
            self._drop("The connection to the engine of streams broke.")

    async def _still_leads(self, command: Lane) -> bool:
        for lane in tuple(self._lanes):
            if lane.stalled_s > STALLED_S:
                log.warning("engine.stalled", shard=self.name, seconds=round(lane.stalled_s))
                lane.abort()
        with suppress(NotReady):  # slow, or lost: who waits for the loss knows better
            self.facts = await examine(command)
            if self._address is not None:
                self._places.learned(self._address, self.facts)
            return self.facts.is_primary
        return command.is_open

    def _drop(self, why: str) -> None:
        was_up, self._train, self._command = self._train is not None, None, None
        for lane in tuple(self._lanes):
            lane.abort()
        if not was_up:
            return
        self._set("down", why)
        for tell in tuple(self.on_down):
            tell(self)

    def _set(self, word: Word, detail: str = "") -> None:
        if (word, detail) == (self._state.word, self._state.detail):
            return
        same = word == self._state.word
        since = self._state.since if same else self._clock.now()
        self._state = EngineState(word, since, detail)
        if not same:
            log.info("engine.state_changed", shard=self.name, state=word, detail=detail)
        self._changed.set()
        self._changed = anyio.Event()

    def _not_ready(self) -> NotReady:
        if self._state.word == "loading":
            return NotReady("The engine of streams reads its log; try again soon.", "LOADING")
        return NotReady(self._state.detail or "The engine of streams is starting.")
