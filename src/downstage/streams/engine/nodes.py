"""The engine as the store sees it: shards, whoever runs them and however many there are."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast

import anyio
import anyio.abc

from downstage.kernel.clock import Clock
from downstage.kernel.errors import DurabilityUnavailable, SetupError
from downstage.kernel.logging import get_logger
from downstage.kernel.settings import Settings
from downstage.streams.engine.address import Address
from downstage.streams.engine.configuration import EngineOptions
from downstage.streams.engine.folder import EngineFolder
from downstage.streams.engine.places import OwnPlace
from downstage.streams.engine.process import EngineProcess
from downstage.streams.engine.remote import Remote, checked_address
from downstage.streams.engine.resp import Lane
from downstage.streams.engine.shard import EngineState, Shard, ShardOptions
from downstage.streams.model import Durability

__all__ = ["Engine", "open_engine", "wait_replicas"]

FIRST_PATIENCE_S = 5.0
WORST_FIRST = ("refused", "down", "loading", "starting", "ready")
log = get_logger(__name__)


class Engine:
    """Made by `open_engine`. Keys are bytes; a cluster hashes what stands in ``{}``, if anything.

    `on_shards` is told when shards came or went or keys moved between them: `shard_of` may answer
    differently from then on.
    """

    def __init__(
        self, settings: Settings, folder: Path, clock: Clock, tasks: anyio.abc.TaskGroup
    ) -> None:
        self.on_shards: set[Callable[[], None]] = set()
        self.processes: list[EngineProcess] = []
        """Engines of our own that run for this platform."""
        self._settings = settings.streams
        self._folder = folder
        self._clock = clock
        self._tasks = tasks
        self._options = ShardOptions(settings.streams.in_flight, settings.streams.allow_old_engines)
        self._main: Shard | Remote | None = None
        self._durable: Shard | Remote | None = None
        self._lock = anyio.Lock()
        self._since = clock.now()
        self._attached = False

    # --- what the store uses -------------------------------------------------------------------

    @property
    def shards(self) -> tuple[Shard, ...]:
        """All that are known now, those of durable streams included."""
        return (*_shards(self._main), *_shards(self._durable))

    @property
    def is_cluster(self) -> bool:
        """Whether one command may only name keys of one slot."""
        return isinstance(self._main, Remote) and self._main.is_cluster

    def shard_of(self, key: bytes, durable: bool = False) -> Shard:
        """The shard that holds *key*; with *durable* that of streams kept with every write.

        Raises:
            DurabilityUnavailable: there is no such engine; `prepare_durable` was not called, or
                cannot help.
            NotReady: no node holds it now.
        """
        side = self._main
        if durable and not self._main_is_durable():
            side = self._durable
        if side is None:
            raise DurabilityUnavailable(
                "No engine here writes to the disk before it answers; set streams.durable_url."
            )
        return side if isinstance(side, Shard) else side.shard_of(key)

    async def prepare_durable(self) -> None:
        """See that `shard_of` has a shard for durable streams; starts an engine of ours if need be.

        Raises:
            DurabilityUnavailable: the engine is somebody else's and promises no such thing.
            SetupError: ours does not start.
        """
        async with self._lock:
            if self._durable is not None or self._main_is_durable():
                return
            if self._settings.url is not None:
                raise DurabilityUnavailable(
                    "The engine at streams.url does not write to the disk before it answers; set "
                    "streams.durable_url to one with appendfsync always."
                )
            if self._attached:
                self._durable = self._attach_durable()
            else:
                self._durable = await self._start_own("durable", "always")
            with anyio.move_on_after(FIRST_PATIENCE_S):
                await self._durable.wait_up()
        self._tell()

    @property
    def state(self) -> EngineState:
        """The worst of its shards: what readiness reports."""
        states = [shard.state for shard in self.shards]
        for side in (self._main, self._durable):
            if isinstance(side, Remote) and not side.shards:
                word = "refused" if side.refused else "down"
                states.append(EngineState(word, self._since, side.detail))
        worst = min(states, key=lambda state: WORST_FIRST.index(state.word))
        if any(process.is_disk_failing for process in self.processes):
            return EngineState(
                "down", worst.since, "The engine of streams cannot write to its disk."
            )
        return worst

    # --- wiring --------------------------------------------------------------------------------

    def _main_is_durable(self) -> bool:
        """Whether the main engine itself keeps every write, so that no second one is needed."""
        shards = _shards(self._main)
        return (
            self._durable is None
            and bool(shards)
            and all(shard.durability is Durability.ALWAYS for shard in shards)
        )

    async def open(self, *, attach: bool) -> None:
        """Start or find what the settings name.

        Raises:
            SetupError: it cannot be used; says what to do.
        """
        url, durable_url = self._settings.url, self._settings.durable_url
        self._attached = attach
        if attach:
            self._main = self._attach("engine")
            if EngineFolder(self._folder / "durable").access.exists():
                self._durable = self._attach("durable")
        elif url is None:
            self._main = await self._start_own("engine", "everysec")
            # Other workers cannot start it when they need it.
            if self._settings.workers > 1 or (self._folder / "durable" / "log").exists():
                self._durable = await self._start_own("durable", "always")
        else:
            self._main = self._dial(checked_address(url.get_secret_value()), durable=False)
        if durable_url is not None:
            address = checked_address(durable_url.get_secret_value())
            self._durable = self._dial(address, durable=True)
        with anyio.move_on_after(FIRST_PATIENCE_S):
            await self._settle()
        state = self.state
        if state.word == "refused":
            raise SetupError(state.detail)
        if state.word != "ready":
            log.warning("engine.not_ready", state=state.word, detail=state.detail)

    async def _settle(self) -> None:
        """Return once it is known how every side is: ready, refused or reading its log."""
        for side in (self._main, self._durable):
            if isinstance(side, Remote):
                await side.settled()
            for shard in _shards(side):
                while shard.state.word in ("starting", "down"):
                    await shard.wait_changed()

    async def _start_own(self, name: str, fsync: str) -> Shard:
        options = EngineOptions(fsync, self._settings.memory_limit)
        process = EngineProcess(self._folder / name, options, name=name)
        await self._tasks.start(process.run)
        self.processes.append(process)
        return self._run_shard(name, lambda: process.address)

    def _attach(self, name: str) -> Shard:
        folder = EngineFolder(self._folder / name)
        folder.read_access()
        return self._run_shard(name, folder.read_access)

    def _attach_durable(self) -> Shard:
        try:
            return self._attach("durable")
        except SetupError as error:
            raise DurabilityUnavailable(
                "The platform that started the engine of streams has started none that writes to "
                "the disk before it answers; it does with streams.workers above 1."
            ) from error

    def _run_shard(self, name: str, address: Callable[[], Address]) -> Shard:
        place = OwnPlace(address)
        durable = name == "durable"
        shard = Shard(name, place, self._options, self._clock, durable=durable)
        if not durable:
            shard.promise = Durability.EVERYSEC  # its log is synced by us: see log_sync.py
        self._tasks.start_soon(shard.run)
        return shard

    def _dial(self, address: Address, *, durable: bool) -> Remote:
        remote = Remote(address, self._options, self._clock, durable=durable)
        remote.on_changed.add(self._tell)
        self._tasks.start_soon(remote.run)
        return remote

    def _tell(self) -> None:
        for tell in tuple(self.on_shards):
            tell()


def _shards(side: Shard | Remote | None) -> tuple[Shard, ...]:
    if side is None:
        return ()
    return (side,) if isinstance(side, Shard) else side.shards


async def wait_replicas(lane: Lane, *, least: int = 1, deadline_s: float = 2.0) -> int:
    """How many replicas have what was sent on *lane* before, once *least* do or time is up.

    *lane* is one of `Shard.new_lane`: it takes no other command meanwhile.

    Raises:
        NotReady: it broke, or does not answer.
    """
    milliseconds = int(deadline_s * 1000)
    return int(await lane.call("WAIT", least, milliseconds, deadline_s=deadline_s + 5.0))


@asynccontextmanager
async def open_engine(
    settings: Settings, folder: Path, clock: Clock, *, attach: bool = False
) -> AsyncGenerator[Engine]:
    """The engine that *settings* name, ready or on its way, until the block ends.

    Args:
        settings: of the platform; the section ``streams`` counts.
        folder: of the engines that we start.
        clock: for since when it is down.
        attach: use the engine that another process of this platform started in *folder*.

    Raises:
        SetupError: it can never be used as it is; says what to do. An engine that is merely
            down, or reads its log, is no error: `Engine.state` tells.
    """
    try:
        async with anyio.create_task_group() as tasks:
            engine = Engine(settings, folder, clock, tasks)
            try:
                await engine.open(attach=attach)
                yield engine
            finally:
                tasks.cancel_scope.cancel()
    except BaseExceptionGroup as group:
        raise _alone(group) from None


def _alone(group: BaseExceptionGroup[BaseException]) -> BaseException:
    """The one error that a task group has wrapped; the group where there are more."""
    if len(group.exceptions) != 1:
        return group
    error = group.exceptions[0]
    if isinstance(error, BaseExceptionGroup):
        return _alone(cast("BaseExceptionGroup[BaseException]", error))
    return error
