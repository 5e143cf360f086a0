"""An engine of somebody's own: what kind it is is known once it answers."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from downstage.kernel.clock import Clock
from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.streams.engine.address import Address, parse_address
from downstage.streams.engine.cluster import Cluster
from downstage.streams.engine.facts import Facts, examine, refusal
from downstage.streams.engine.places import Known
from downstage.streams.engine.replies import NotReady
from downstage.streams.engine.resp import open_lane
from downstage.streams.engine.shard import Shard, ShardOptions
from downstage.streams.model import Durability

__all__ = ["Remote", "checked_address"]

PAUSE_S = 0.5
log = get_logger(__name__)


def checked_address(url: str) -> Address:
    """The address that *url* names.

    Raises:
        SetupError: it is none, or it leads off this machine without a password in the clear.
    """
    address = parse_address(url)
    if not (address.is_local or address.password or address.tls):
        raise SetupError(
            "streams.url leads to another machine without a password: anybody there could read "
            "and write every stream. Give it one (redis://user:password@host), or use rediss."
        )
    return address


class Remote:
    """One node with its replicas, or a cluster."""

    def __init__(
        self, address: Address, options: ShardOptions, clock: Clock, *, durable: bool
    ) -> None:
        self.on_changed: set[Callable[[], None]] = set()
        self.refused = False
        """Whether it may never be used as it is."""
        self.detail = f"{address} was not reached yet."
        """Why there are no shards, where there are none."""
        self._address = address
        self._options = options
        self._clock = clock
        self._durable = durable
        self._found: Shard | Cluster | None = None
        self._settled = anyio.Event()

    @property
    def is_cluster(self) -> bool:
        """Whether it is one; False while that is not known."""
        return isinstance(self._found, Cluster)

    @property
    def shards(self) -> tuple[Shard, ...]:
        """Those that are known."""
        if isinstance(self._found, Cluster):
            return self._found.shards
        return (self._found,) if self._found is not None else ()

    def shard_of(self, key: bytes) -> Shard:
        """The shard that holds *key*.

        Raises:
            NotReady: that is not known now.
        """
        if self._found is None:
            raise NotReady(self.detail)
        return self._found.shard_of(key) if isinstance(self._found, Cluster) else self._found

    async def settled(self) -> None:
        """Return once its shards are known, or it is refused."""
        await self._settled.wait()

    async def run(self) -> None:
        """Find out what it is, and keep it connected, until cancelled."""
        while (facts := await self._first_contact()) is None:
            await anyio.sleep(PAUSE_S)
        if facts.is_cluster:
            cluster = Cluster(self._address, self._options, self._clock, durable=self._durable)
            cluster.on_changed.add(self._tell)
            self._found = cluster
            await cluster.run()
            return
        places = Known(self._address)
        name = "durable" if self._durable else "engine"
        shard = Shard(name, places, self._options, self._clock, durable=self._durable)
        self._found = shard
        self._tell()
        await shard.run()

    def _tell(self) -> None:
        self._settled.set()
        for tell in tuple(self.on_changed):
            tell()

    async def _first_contact(self) -> Facts | None:
        try:
            lane = await open_lane(self._address)
            try:
                facts = await examine(lane)
            finally:
                await lane.close()
        except NotReady as error:
            if error.detail != self.detail:
                log.warning("engine.not_reached", why=error.detail)
            self.detail = error.detail
            if error.word == "AUTH":
                self._refuse(error.detail)
            return None
        why = self._why_refused(facts)
        if why is not None:
            self._refuse(why)
            return None
        self.refused = False
        return facts

    def _why_refused(self, facts: Facts) -> str | None:
        why = refusal(facts, allow_old=self._options.allow_old)
        if why is None and self._durable and facts.durability is not Durability.ALWAYS:
            return (
                "The engine at streams.durable_url does not write to the disk before it answers: "
                "set appendonly yes and appendfsync always there."
            )
        return why

    def _refuse(self, why: str) -> None:
        if not self.refused:
            log.error("engine.refused", why=why)
        self.refused, self.detail = True, why
        self._settled.set()
