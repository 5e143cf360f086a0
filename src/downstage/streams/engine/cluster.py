"""A cluster: its map, and a shard for each of its parts."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import anyio
import anyio.abc

from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.engine.address import Address
from downstage.streams.engine.places import ClusterPlaces
from downstage.streams.engine.replies import NotReady
from downstage.streams.engine.resp import open_lane
from downstage.streams.engine.shard import Shard, ShardOptions
from downstage.streams.engine.slots import SLOTS, Group, read_shards, slot_of

__all__ = ["Cluster"]

SPACING_S = 0.25
"""The map is read at most that often, seconds."""
DEADLINE_S = 3.0
log = get_logger(__name__)


class Cluster:
    """The parts of one cluster and which slot belongs to which.

    `on_changed` is told when a slot went to another shard, or shards came or went.
    """

    def __init__(
        self, address: Address, options: ShardOptions, clock: Clock, *, durable: bool
    ) -> None:
        self.shards: tuple[Shard, ...] = ()
        self.on_changed: set[Callable[[], None]] = set()
        self._seed = address
        self._options = options
        self._clock = clock
        self._durable = durable
        self._places: dict[Shard, ClusterPlaces] = {}
        self._scopes: dict[Shard, anyio.CancelScope] = {}
        self._owners: list[Shard | None] = [None] * SLOTS
        self._numbers = itertools.count()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._lock = anyio.Lock()
        self._read_at = float("-inf")
        self._wanted = anyio.Event()

    def shard_of(self, key: bytes) -> Shard:
        """The shard that holds *key*.

        Raises:
            NotReady: nobody does just now.
        """
        shard = self._owners[slot_of(key)]
        if shard is None:
            raise NotReady("No node of the cluster holds that part of the streams.", "CLUSTERDOWN")
        return shard

    async def run(self) -> None:
        """Keep its shards connected and its map true until cancelled."""
        async with anyio.create_task_group() as tasks:
            self._tasks = tasks
            await self.refresh()
            while True:
                await self._wanted.wait()
                await anyio.sleep(SPACING_S)  # a move is told by many replies at once
                self._wanted = anyio.Event()
                await self.refresh()

    async def refresh(self) -> None:
        """Read the map, if it is not just read, from whichever node answers."""
        async with self._lock:
            if anyio.current_time() - self._read_at < SPACING_S:
                return
            for address in self._addresses():
                try:
                    groups = await self._ask(address)
                except (PlatformError, ValueError, KeyError, TypeError, IndexError):
                    continue
                self._apply(groups)
                break
            self._read_at = anyio.current_time()

    def _addresses(self) -> list[Address]:
        nodes = [node for places in self._places.values() for node in places.group.nodes]
        return list(dict.fromkeys([*(self._seed.at(n.host, n.port) for n in nodes), self._seed]))

    async def _ask(self, address: Address) -> list[Group]:
        lane = await open_lane(address, name="map")
        try:
            reply = await lane.call("CLUSTER", "SHARDS", deadline_s=DEADLINE_S)
            return read_shards(reply, address.host, tls=address.tls is not None)
        finally:
            await lane.close()

    def _apply(self, groups: list[Group]) -> None:
        owners: list[Shard | None] = [None] * SLOTS
        kept = set[Shard]()
        for group in groups:
            shard = self._shard_for(group, kept)
            kept.add(shard)
            for first, last in group.slots:
                owners[first : last + 1] = [shard] * (last - first + 1)
        for shard in set(self._places) - kept:
            del self._places[shard]
            self._scopes.pop(shard).cancel()
        shards = tuple(self._places)
        if owners != self._owners or shards != self.shards:
            self._owners, self.shards = owners, shards
            log.info("engine.map_changed", shards=len(shards), held=SLOTS - owners.count(None))
            for tell in tuple(self.on_changed):
                tell()

    def _shard_for(self, group: Group, taken: set[Shard]) -> Shard:
        for shard, places in self._places.items():
            if shard not in taken and places.group.ids & group.ids:
                if places.group.nodes != group.nodes:
                    shard.look_again()
                places.group = group
                return shard
        places = ClusterPlaces(self._seed, group, self.refresh)
        name = f"shard-{next(self._numbers)}"
        shard = Shard(name, places, self._options, self._clock, durable=self._durable)
        shard.on_trouble = self._trouble
        self._places[shard] = places
        self._scopes[shard] = anyio.CancelScope()
        assert self._tasks is not None  # noqa: S101 - `run` has set it
        self._tasks.start_soon(self._run_one, shard, self._scopes[shard])
        return shard

    async def _run_one(self, shard: Shard, scope: anyio.CancelScope) -> None:
        with scope:
            await shard.run()

    def _trouble(self, error: PlatformError) -> None:
        del error
        self._wanted.set()
