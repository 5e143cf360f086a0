"""The shell around instances: slots taken, keepers watched, changes told.

One task drives each instance from its slot to its end; it alone writes the row. Requests only
set the wish to end, and tell the keeper.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

from downstage.bus import Bus
from downstage.contracts.manager import INSTANCE_CHANGED, InstanceCreate, InstanceView
from downstage.kernel.errors import NotFound, Unavailable
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger
from downstage.manager import states
from downstage.manager.planning import Planner
from downstage.manager.store import NewInstance, Record, Store
from downstage.spawners.spawner import Handle, InstanceSpec, Spawner, SpawnFailed

__all__ = ["Instances"]

ORDERLY_S = 1.2
"""Of a shutdown: how long applications may take to end by themselves."""

FORCED_S = 1.5
log = get_logger(__name__)


@dataclass(slots=True)
class _Live:
    """An instance that holds a slot."""

    record: Record
    spec: InstanceSpec | None = None
    handle: Handle | None = None
    is_kept: bool = False
    """A task drives it."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    lock: anyio.Lock = field(default_factory=anyio.Lock)


class Instances:
    """All instances of this machine.

    Args:
        store: their rows.
        spawner: what runs them.
        planner: turns a request into a specification, or refuses it.
        bus: where changes are told.
        capacity: slots.
        start: starts a supervised task, as the service context does.
    """

    def __init__(
        self,
        store: Store,
        spawner: Spawner,
        planner: Planner,
        bus: Bus,
        *,
        capacity: int,
        start: Callable[..., None],
    ) -> None:
        self._store, self._spawner, self._planner = store, spawner, planner
        self._bus, self._start = bus, start
        self._live: dict[str, _Live] = {}
        self._is_closing = self._is_forced = False
        self.capacity = capacity

    @property
    def running(self) -> int:
        """Slots that are taken."""
        return sum(live.record.instance.state != "ended" for live in self._live.values())

    async def resume(self) -> None:
        """After a restart: find the keepers of all instances that hold a slot."""
        for record in await self._store.living():
            self._drive(_Live(record))

    async def create(self, request: InstanceCreate) -> InstanceView:
        """Take a slot and start; the same session gets the same instance.

        Raises:
            NotFound: no such application.
            InvalidField: something in the request is not acceptable.
            NoCapacity: every slot is taken.
        """
        if self._is_closing:
            raise Unavailable("The manager is shutting down.")
        instance_id = request.instance_id or new_id("i")
        planned = await self._planner.plan(instance_id, request)
        new = NewInstance(
            id=instance_id,
            session_id=request.session_id,
            tenant=request.tenant,
            owner=request.owner,
            application=planned.application,
        )
        record, is_new = await self._store.create(new, capacity=self.capacity)
        if is_new:
            log.info("instance.placed", instance_id=instance_id, application=planned.application)
            self._tell(record)
            self._drive(_Live(record, planned.spec))
        return record.view()

    async def get(self, instance_id: str) -> InstanceView:
        """One instance.

        Raises:
            NotFound: there is none.
        """
        return (await self._record(instance_id)).view()

    async def list(self) -> list[InstanceView]:
        """All on record, oldest first."""
        return [record.view() for record in await self._store.list()]

    async def stop(self, instance_id: str, reason: str = "stopped") -> InstanceView:
        """Ask one to end; asking again changes nothing.

        Raises:
            NotFound: there is none.
        """
        live = self._live.get(instance_id)
        if live is None:
            return (await self._record(instance_id)).view()
        async with live.lock:
            await self._save(live, states.ask_to_end(live.record.instance, reason))
        if live.handle is not None:
            await live.handle.stop(reason)
        return live.record.view()

    async def close(self) -> None:
        """End every instance in order, then by force, and wait for it, within 3 s.

        Works whether the tasks that drive them still run or have been cancelled before.
        """
        self._is_closing = True
        for self._is_forced, patience in ((False, ORDERLY_S), (True, FORCED_S)):
            with anyio.move_on_after(patience):
                async with anyio.create_task_group() as tasks:
                    for live in list(self._live.values()):
                        tasks.start_soon(self._close_one, live)
        for live in self._live.values():
            log.warning("instance.outlived", instance_id=live.record.fixed.id)

    async def _close_one(self, live: _Live) -> None:
        await self.stop(live.record.fixed.id)
        if live.handle is not None and self._is_forced:
            await live.handle.kill()
        if live.is_kept:
            await live.ended.wait()
        else:
            await self._keep(live)

    # Driving one

    def _drive(self, live: _Live) -> None:
        instance_id = live.record.fixed.id
        self._live[instance_id] = live
        self._start(self._keep, live, name=f"instance.{instance_id}")

    async def _keep(self, live: _Live) -> None:
        """From slot to end. Called again after a crash, it finds what runs already."""
        live.is_kept = True
        try:
            await self._keep_to_the_end(live)
        finally:
            live.is_kept = False

    async def _keep_to_the_end(self, live: _Live) -> None:
        instance_id = live.record.fixed.id
        handle = await self._hold(live)
        if handle is not None:
            live.handle = handle
            try:
                if self._is_forced:
                    await handle.kill()
                elif live.record.instance.state == "ending":
                    await handle.stop(live.record.instance.reason or "stopped")
                await self._watch(live, handle)
            finally:
                live.handle = None
                with anyio.CancelScope(shield=True):
                    await handle.close()
        if live.record.instance.state != "ended":
            report = await self._spawner.clean(instance_id)
            async with live.lock:
                await self._save(live, states.lose(live.record.instance, report))
        await self._spawner.forget(instance_id)
        self._live.pop(instance_id, None)
        live.ended.set()
        final = live.record.instance
        log.info(
            "instance.ended",
            instance_id=instance_id,
            reason=final.reason,
            exit_code=final.exit_code,
        )

    async def _hold(self, live: _Live) -> Handle | None:
        """Start it the first time, find it ever after; None where there is nothing to hold."""
        instance_id = live.record.fixed.id
        spec, live.spec = live.spec, None
        if spec is None:
            return await self._spawner.attach(instance_id)
        if live.record.instance.state == "ending":
            reason = "It was ended before it started."
            await self._give_up(live, "stopped", reason)
            return None
        try:
            return await self._spawner.start(spec)
        except SpawnFailed as error:
            await self._give_up(live, "start-failed", error.detail)
            return None

    async def _give_up(self, live: _Live, reason: str, detail: str) -> None:
        async with live.lock:
            await self._save(live, states.has_ended_by(live.record.instance, reason, detail))

    async def _watch(self, live: _Live, handle: Handle) -> None:
        async for report in handle.reports():
            if report.phase == "ended":
                await self._spawner.forget(live.record.fixed.id)
            async with live.lock:
                after = states.learn(live.record.instance, report)
                await self._save(live, after, handle.media_socket)

    async def _save(
        self, live: _Live, after: states.Instance, media_socket: str | None = None
    ) -> None:
        socket = media_socket or live.record.media_socket
        if after == live.record.instance and socket == live.record.media_socket:
            return
        live.record = await self._store.change(live.record, after, socket)
        self._tell(live.record)

    def _tell(self, record: Record) -> None:
        self._bus.publish(
            INSTANCE_CHANGED,
            {
                "instance_id": record.fixed.id,
                "session_id": record.fixed.session_id,
                "revision": record.instance.revision,
            },
        )

    async def _record(self, instance_id: str) -> Record:
        live = self._live.get(instance_id)
        record = live.record if live else await self._store.get(instance_id)
        if record is None:
            raise NotFound("There is no such instance.")
        return record
