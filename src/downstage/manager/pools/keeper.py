"""Keeps pools at their size: starts what is missing, ends what is too old or too many.

One instance at a time is started for a pool, and none while those of it fail: an application that
cannot start is tried again later and later. A full machine is left alone: sessions come first. For
the same reason one that was taken is replaced a moment later: starting costs the cores that its
person's first picture needs.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass

import anyio

from downstage.contracts.manager import InstanceCreate
from downstage.kernel.clock import Clock
from downstage.kernel.errors import NoCapacity, PlatformError
from downstage.kernel.logging import get_logger
from downstage.manager.catalogue.service import Pool
from downstage.manager.instances import Instances
from downstage.manager.planning import Planner
from downstage.manager.pools.names import pool_of, shown
from downstage.manager.store import Record

__all__ = ["OWNER", "PoolKeeper"]

OWNER = "pool"
"""Whose instances are that wait."""
LOOK_S = 5.0
"""How long a change of what is wanted may go unseen; changes of instances are seen at once."""
REST_S = 0.2
"""Between two looks at least: much may change at once, and each look reads declarations anew."""
GIVE_WAY_S = 2.0
"""After one was taken; whoever takes more meanwhile does not prolong it."""
FIRST_PAUSE_S, LONGEST_PAUSE_S = 2.0, 120.0
ENDS = ("stopped", "evicted", "pool-expired", "pool-shrunk", "node-drained", "node-cordoned")
"""Ends that are no failure of the application."""
log = get_logger(__name__)


@dataclass(slots=True)
class _Trouble:
    """Failures of one pool in a row."""

    failures: int = 0
    until: float = 0.0


class PoolKeeper:
    """Looks after all pools.

    Args:
        instances: where they are started and ended.
        planner: says what an instance of a pool would be.
        wanted: the pools that applications ask for.
        clock: of the platform.
    """

    def __init__(
        self,
        instances: Instances,
        planner: Planner,
        wanted: Callable[[], Awaitable[Iterable[Pool]]],
        clock: Clock,
    ) -> None:
        self._instances, self._planner = instances, planner
        self._wanted, self._clock = wanted, clock
        self._wake = anyio.Event()
        self._trouble: dict[str, _Trouble] = {}
        self._taken, self._gave_way_at = 0, -2 * GIVE_WAY_S
        self.sizes: dict[str, tuple[int, int]] = {}
        """Pool as people see it → how many wait there, how many shall."""
        instances.listeners.append(self._changed)

    async def run(self) -> None:
        """Look again and again, until cancelled."""
        while True:
            self._wake = anyio.Event()
            await self.look()
            await anyio.sleep(REST_S)
            with anyio.move_on_after(self._patience()):
                await self._wake.wait()

    async def look(self) -> None:
        """Bring every pool one step nearer to what it shall be."""
        sizes, known = dict[str, tuple[int, int]](), set[str]()
        for pool in await self._wanted():
            request = InstanceCreate(
                owner=OWNER,
                application=pool.application,
                version=pool.version,
                profile=pool.profile,
            )
            try:
                planned = await self._planner.plan("i-pool", request)
            except PlatformError as error:
                log.warning("pool.refused", application=pool.application, detail=error.detail)
                continue
            name = pool_of(planned)
            known.add(name)
            sizes[shown(name) or name] = (len(self._waiting(name)), pool.size)
            await self._tend(name, pool, request)
        for record in self._instances.living:
            if record.fixed.pool is not None and record.fixed.pool not in known:
                await self._end(record, "pool-shrunk")
        self.sizes = sizes

    async def _tend(self, name: str, pool: Pool, request: InstanceCreate) -> None:
        waiting = self._waiting(name)
        if len(waiting) > pool.size:
            await self._end(waiting[0], "pool-shrunk")
            return
        ready = [record for record in waiting if record.instance.state == "running"]
        is_starting = len(ready) < len(waiting)
        if ready and not is_starting and self._age(ready[0]) > pool.ttl_s:
            await self._end(ready[0], "pool-expired")
            return
        trouble = self._trouble.get(name)
        is_paused = trouble is not None and self._clock.monotonic() < trouble.until
        if is_starting or is_paused or len(waiting) >= pool.size or self._gives_way_for() > 0:
            return
        try:
            await self._instances.start_waiting(request, name)
        except NoCapacity:
            log.debug("pool.no_room", pool=shown(name))
        except PlatformError as error:
            log.warning("pool.refused", pool=shown(name), detail=error.detail)
            self._failed(name)

    def _waiting(self, name: str) -> list[Record]:
        """Those that wait or will, the oldest first."""
        found = [
            record
            for record in self._instances.living
            if record.fixed.pool == name and record.instance.state in ("starting", "running")
        ]
        return sorted(found, key=lambda record: record.created_at)

    def _age(self, record: Record) -> float:
        return (self._clock.now() - record.created_at).total_seconds()

    async def _end(self, record: Record, reason: str) -> None:
        log.info("pool.ended", instance_id=record.fixed.id, reason=reason)
        await self._instances.stop(record.fixed.id, reason)

    def _changed(self, record: Record) -> None:
        """Something became of an instance: of a pool, or of one whose place a pool may want."""
        pool, state = record.fixed.pool, record.instance.state
        if pool is not None and state == "running":
            self._trouble.pop(pool, None)
        if pool is not None and state == "ended" and record.instance.reason not in ENDS:
            self._failed(pool)
        taken, now = self._instances.placed["warm"], self._clock.monotonic()
        if pool is not None or state == "ended" or taken > self._taken:
            self._wake.set()  # what else becomes of somebody's instance concerns no pool
        if taken > self._taken and now - self._gave_way_at >= 2 * GIVE_WAY_S:
            self._gave_way_at = now
        self._taken = taken

    def _gives_way_for(self) -> float:
        """Seconds for which nothing is to be started."""
        return self._gave_way_at + GIVE_WAY_S - self._clock.monotonic()

    def _failed(self, pool: str) -> None:
        trouble = self._trouble.setdefault(pool, _Trouble())
        pause = min(FIRST_PAUSE_S * 2**trouble.failures, LONGEST_PAUSE_S)
        trouble.failures = min(trouble.failures + 1, 16)
        trouble.until = self._clock.monotonic() + pause
        log.warning("pool.failed", pool=shown(pool), failures=trouble.failures, pause_s=pause)

    def _patience(self) -> float:
        now = self._clock.monotonic()
        ends = [one.until - now for one in self._trouble.values()] + [self._gives_way_for()]
        return max(0.1, min((left for left in ends if left > 0), default=LOOK_S))
