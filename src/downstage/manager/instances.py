"""The shell around instances: places taken, keepers watched, changes told.

One task drives each instance from its place to its end; it alone writes the row. Requests only
set the wish to end, and tell the keeper. One that waits in a pool is given to a session under its
driver's lock.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import anyio

from downstage.bus import Bus
from downstage.contracts.manager import (
    INSTANCE_CHANGED,
    InstanceCreate,
    InstancePage,
    InstanceView,
)
from downstage.kernel.errors import Conflict, NotFound, Unavailable
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.manager import states
from downstage.manager.driver import Driver, Live, Start
from downstage.manager.listing import Wanted
from downstage.manager.nodes.fleet import Fleet
from downstage.manager.placing import Place
from downstage.manager.planning import Planned, Planner
from downstage.manager.pools.adopting import adoption_of, can_be_taken
from downstage.manager.pools.names import pool_that_serves
from downstage.manager.scheduler import Wish
from downstage.manager.store import NewInstance, Record, Store
from downstage.spawners.kept import KeptElsewhere
from downstage.spawners.remote.reach import why_not_elsewhere
from downstage.spawners.spawner import Adoption, Handle

__all__ = ["Instances"]

ORDERLY_S = 1.2
"""Of a shutdown: how long applications may take to end by themselves."""

FORCED_S = 1.5
PAGE = 200
"""Instances that are read together where all are asked for."""
MOST_ENDED = 1000
log = get_logger(__name__)


class Instances:
    """All instances of this manager.

    Args:
        store: their rows.
        fleet: the nodes that run them.
        planner: turns a request into a specification, or refuses it.
        bus: where changes are told.
        start: starts a supervised task, as the service context does.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        planner: Planner,
        bus: Bus,
        *,
        start: Callable[..., None],
    ) -> None:
        self._store, self._fleet, self._planner = store, fleet, planner
        self._bus, self._start = bus, start
        self._live: dict[str, Live] = {}
        self._driver = Driver(store, fleet, changed=self._tell, over=self._forget)
        self._is_closing = False
        self.placed = {"cold": 0, "warm": 0, "refused": 0}
        """How many sessions got an instance, and how, since the start."""
        self.listeners: list[Callable[[Record], None]] = []
        """Told of every change."""

    @property
    def living(self) -> list[Record]:
        """Those that have not ended."""
        return [live.record for live in self._live.values()]

    @property
    def running(self) -> int:
        """How many have not ended and are somebody's."""
        found = [r for r in self.living if r.instance.state != "ended" and r.fixed.pool is None]
        return len(found)

    @property
    def capacity(self) -> int:
        """Instances that may run at once: places of nodes that take more, and what is elsewhere."""
        open_nodes = {node.name: node.places for node in self._fleet.nodes if node.takes_more}
        elsewhere = [r for r in self.living if r.node not in open_nodes and r.fixed.pool is None]
        return sum(open_nodes.values()) + len(elsewhere)

    async def resume(self) -> None:
        """After a restart: find the keepers of all instances that hold a place."""
        async for records in self._store.living():
            for record in records:
                self._drive(Live(record))

    async def create(self, request: InstanceCreate) -> InstanceView:
        """Take a place and start, or take one that waits; a session gets one instance, ever.

        One without a session may be asked for again by the id that was chosen for it.

        Raises:
            NotFound: no such application.
            InvalidField: something in the request is not acceptable, or no node could run it.
            NoCapacity: every place is taken.
        """
        return (await self._create(request, None)).view()

    async def start_waiting(self, request: InstanceCreate, pool: str) -> Record:
        """Start one for a pool; it makes nobody give way.

        Raises:
            NotFound, InvalidField, NoCapacity: as `create`.
        """
        return await self._create(request, pool)

    async def _create(self, request: InstanceCreate, pool: str | None) -> Record:
        if self._is_closing:
            raise Unavailable("The manager is shutting down.")
        instance_id = request.instance_id or new_id("i")
        planned = await self._planner.plan(instance_id, request)
        image = planned.spec.image is not None
        here = why_not_elsewhere(planned.spec)
        wish = Wish(planned.needs, request.node_labels, request.node, image, here)
        new = NewInstance(
            id=instance_id,
            session_id=request.session_id,
            tenant=request.tenant,
            owner=request.owner,
            application=planned.application,
            version=planned.version,
            profile=planned.profile,
            name=request.name,
            tags=list(request.tags),
            labels=dict(request.labels),
            needs=planned.needs,
            pool=pool,
            spawner="container" if image else "process",
        )
        place = self._fleet.place(wish)
        taken = None if pool else await self._claim(new, planned, request, place, wish)
        if taken is not None:
            return taken
        try:
            created = await self._store.create(new, place)
        except Unavailable:
            self.placed["refused"] += pool is None
            raise
        if created.is_new:
            self.placed["cold"] += pool is None
            log.info(
                "instance.placed",
                instance_id=instance_id,
                application=planned.application,
                node=created.record.node,
                pool=pool,
            )
            self._tell(created.record)
            self._drive(Live(created.record, Start(planned.spec, wish)))
        for evicted in created.evicted:
            self._start(self._evict, evicted, name=f"evict.{evicted}")
        return created.record

    # Pools

    async def _claim(
        self, new: NewInstance, planned: Planned, request: InstanceCreate, place: Place, wish: Wish
    ) -> Record | None:
        """An instance that waits, if one does; the oldest first."""
        pool = pool_that_serves(planned, request)
        adoption = adoption_of(new, request, planned)
        if pool is None or adoption is None:
            return None
        far = self._fleet.elsewhere() if wish.here is not None else ()
        near = (live for live in self._live.values() if live.record.node not in far)
        waiting = [live for live in near if can_be_taken(live, pool)]
        for live in sorted(waiting, key=lambda live: live.record.created_at):
            async with live.lock:
                if not can_be_taken(live, pool):
                    continue
                record = await self._hand_over(live, new, adoption, place)
            if record is not None:
                return record
        return None

    async def _hand_over(
        self, live: Live, new: NewInstance, adoption: Adoption, place: Place
    ) -> Record | None:
        before, handle = live.record.fixed.id, live.handle
        live.is_claimed = True
        claimed = await self._store.claim(new, live.record, place)
        if claimed is None or handle is None:
            live.is_claimed = False
            return None
        if not claimed.is_new:  # its session came twice, and has another one
            live.is_claimed = False
            return claimed.record
        live.record = claimed.record
        self._live[new.id] = self._live.pop(before)
        self.placed["warm"] += 1
        log.info("instance.adopted", instance_id=new.id, runs_as=before, node=live.record.node)
        self._tell(live.record)
        try:
            await handle.adopt(adoption)
        except Unavailable as error:  # its end is on its way; the session hears of that
            log.warning("instance.not_adopted", instance_id=new.id, detail=error.detail)
        return live.record

    async def _evict(self, instance_id: str) -> None:
        """It gave up its place: end it, and count it in no pool."""
        live = self._live.get(instance_id)
        if live is None:
            return
        async with live.lock:
            live.record = replace(live.record, fixed=replace(live.record.fixed, pool=None))
        await self.stop(instance_id, "evicted")

    # One of them

    async def get(self, instance_id: str) -> InstanceView:
        """One instance.

        Raises:
            NotFound: there is none.
        """
        return self._shown(await self._record(instance_id))

    async def page(self, wanted: Wanted) -> InstancePage:
        """That part of the list of instances, the newest first.

        Raises:
            InvalidField: the cursor that came is none of ours.
        """
        records, cursor = await self._store.page(wanted)
        return InstancePage(items=[self._shown(record) for record in records], next=cursor)

    async def list(self) -> list[InstanceView]:
        """All that have not ended and the last thousand or so that have, oldest first."""
        found, wanted, ended = list[InstanceView](), Wanted(limit=PAGE), 0
        while True:
            page = await self.page(wanted)
            found += page.items
            ended += sum(item.state == "ended" for item in page.items)
            if page.next is None:
                return found[::-1]
            wanted = replace(wanted, after=page.next, living=ended >= MOST_ENDED)

    async def runs_as(self, instance_id: str) -> str:
        """What its spawner calls one, living or ended.

        Raises:
            NotFound: there is none.
        """
        return (await self._record(instance_id)).runs_as

    async def logs_elsewhere(self, instance_id: str) -> KeptElsewhere | None:
        """Who has the logs of one that runs, or ran, on another machine; None: they are here.

        Raises:
            NotFound: there is none.
            NodeUnreachable: its node does not answer, or was removed.
        """
        record = await self._record(instance_id)
        if record.node not in self._fleet.elsewhere():
            return None
        found = self._fleet.spawner(record.node, record.fixed.spawner)
        return found if isinstance(found, KeptElsewhere) else None

    async def inside(self, instance_id: str) -> Handle:
        """The handle of one that runs, for programs inside it and for its logs.

        Raises:
            NotFound: there is none.
            Conflict: nobody holds it just now.
        """
        await self._record(instance_id)
        live = self._live.get(instance_id)
        if live is None or live.handle is None:
            raise Conflict("The instance does not run.")
        return live.handle

    async def stop(self, instance_id: str, reason: str = "stopped") -> InstanceView:
        """Ask one to end; asking again changes nothing.

        Raises:
            NotFound: there is none.
        """
        live = self._live.get(instance_id)
        if live is None:
            return (await self._record(instance_id)).view()
        await self._driver.end(live, reason)
        return live.record.view()

    def patience(self, instance_id: str) -> float:
        """Seconds that its end may take longer than others', since hooks run after it."""
        live = self._live.get(instance_id)
        return 0.0 if live is None else live.last_hooks_s

    async def kill(self, instance_id: str) -> None:
        """End one at once, if it is held."""
        live = self._live.get(instance_id)
        if live is not None and live.handle is not None:
            await live.handle.kill()

    async def prune(self) -> None:
        """Forget those that ended long ago."""
        await self._store.prune()

    async def abandon(self, node: str) -> None:
        """Call everything on *node* ended: the node is taken away, whatever runs there."""
        detail = f"The node {node} was removed by force."
        for live in [live for live in self._live.values() if live.record.node == node]:
            async with live.lock:
                after = states.has_ended_by(live.record.instance, "node-removed", detail)
                await self._driver.save(live, after)
            if live.handle is not None:
                await live.handle.kill()

    async def close(self) -> None:
        """End every instance in order, then by force, and wait for it, within 3 s.

        Works whether the tasks that drive them still run or have been cancelled before.
        """
        self._is_closing = True
        for self._driver.is_forced, patience in ((False, ORDERLY_S), (True, FORCED_S)):
            with anyio.move_on_after(patience):
                async with anyio.create_task_group() as tasks:
                    for live in list(self._live.values()):
                        tasks.start_soon(self._close_one, live)
        for live in self._live.values():
            log.warning("instance.outlived", instance_id=live.record.fixed.id)

    async def _close_one(self, live: Live) -> None:
        if live.handle is None:
            await self.stop(live.record.fixed.id)
        elif self._driver.is_forced:
            await live.handle.kill()
        else:  # its end is written when it comes: one row each is enough at such a time
            await live.handle.stop("stopped")
        if live.is_kept:
            await live.ended.wait()
        else:
            await self._driver.keep(live)

    def _drive(self, live: Live) -> None:
        instance_id = live.record.fixed.id
        self._live[instance_id] = live
        self._start(self._driver.keep, live, name=f"instance.{instance_id}")

    def _forget(self, live: Live) -> None:
        self._live.pop(live.record.fixed.id, None)

    def _tell(self, record: Record) -> None:
        self._bus.publish(
            INSTANCE_CHANGED,
            {
                "instance_id": record.fixed.id,
                "session_id": record.fixed.session_id,
                "revision": record.instance.revision,
            },
        )
        for listener in self.listeners:
            listener(record)

    async def _record(self, instance_id: str) -> Record:
        live = self._live.get(instance_id)
        record = live.record if live else await self._store.get(instance_id)
        if record is None:
            raise NotFound("There is no such instance.")
        return record

    def _shown(self, record: Record) -> InstanceView:
        """As callers see it; where its node is off, that is said."""
        view = record.view()
        if record.instance.state == "ended" or not self._fleet.is_off(record.node):
            return view
        detail = f"Its node {record.node} does not answer. It is looked for when the node is back."
        return view.model_copy(update={"detail": detail})
