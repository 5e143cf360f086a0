"""One instance from its place to its end: started or found again, watched, its row written.

Where its node does not answer, nothing of it is called lost: it is looked for again when the node
is back. Only what has not started yet goes to another node.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace

import anyio

from downstage.contracts.manager import PortRoute
from downstage.kernel.errors import InvalidField, NoCapacity
from downstage.kernel.logging import get_logger
from downstage.manager import states
from downstage.manager.nodes.fleet import Fleet
from downstage.manager.scheduler import Wish
from downstage.manager.store import Record, Store
from downstage.spawners.plan import Report
from downstage.spawners.spawner import (
    Handle,
    InstanceSpec,
    NodeUnreachable,
    Spawner,
    SpawnFailed,
)

__all__ = ["Driver", "Live", "Start"]

AGAIN_S = 2.0
"""After which a node that was out of reach is tried again; sooner when it is seen to be back."""
START_S = 60.0
"""In which somebody must keep it, be it that its image is still pulled; one that was asked to end
meanwhile has `CUT_S` left."""
CUT_S = 5.0
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Start:
    """What is to be started, and where it may be."""

    spec: InstanceSpec
    wish: Wish


@dataclass(slots=True)
class Live:
    """An instance that holds a place."""

    record: Record
    start: Start | None = None
    handle: Handle | None = None
    starting: anyio.CancelScope | None = None
    """Its spawner is about to start it."""
    is_kept: bool = False
    """A task drives it."""
    is_claimed: bool = False
    """Its session's own words are on their way to its keeper, or were."""
    last_hooks_s: float = 0.0
    """How long its end may take longer, since hooks run after its application."""
    ended: anyio.Event = field(default_factory=anyio.Event)
    lock: anyio.Lock = field(default_factory=anyio.Lock)
    """Held by who changes the record."""


class Driver:
    """Drives instances, each in a task of its own.

    Args:
        store: their rows.
        fleet: what runs them.
        changed: told of every change.
        over: told when nothing of an instance runs any more.
    """

    def __init__(
        self,
        store: Store,
        fleet: Fleet,
        *,
        changed: Callable[[Record], None],
        over: Callable[[Live], None],
    ) -> None:
        self._store, self._fleet = store, fleet
        self._changed, self._over = changed, over
        self.is_forced = False
        """Whatever is held is killed."""

    async def keep(self, live: Live) -> None:
        """From place to end. Called again after a crash, it finds what runs already."""
        live.is_kept = True
        try:
            while not await self._reached_the_end(live):
                await self._fleet.returned(AGAIN_S)
        finally:
            live.is_kept = False

    async def end(self, live: Live, reason: str) -> None:
        """Ask for its end, wherever it is; asking again changes nothing."""
        async with live.lock:
            await self.save(live, states.ask_to_end(live.record.instance, reason))
        if live.handle is not None:
            await live.handle.stop(reason)
        elif live.starting is not None:
            soon = anyio.current_time() + CUT_S
            live.starting.deadline = min(live.starting.deadline, soon)

    async def save(
        self,
        live: Live,
        after: states.Instance,
        media_socket: str | None = None,
        ports: tuple[PortRoute, ...] | None = None,
    ) -> None:
        """Write what became of it; its lock is held."""
        record = live.record
        socket = media_socket or record.media_socket
        ports = record.ports if ports is None else ports
        if (after, socket, ports) == (record.instance, record.media_socket, record.ports):
            return
        live.record = await self._store.change(record, after, socket, ports)
        self._changed(live.record)

    async def _reached_the_end(self, live: Live) -> bool:
        try:
            await self._keep_to_the_end(live)
        except NodeUnreachable as error:
            if live.record.instance.state != "ended":
                log.warning(
                    "instance.out_of_reach",
                    instance_id=live.record.fixed.id,
                    node=live.record.node,
                    detail=error.detail,
                )
                return False
        self._over(live)
        live.ended.set()
        final = live.record.instance
        log.info(
            "instance.ended",
            instance_id=live.record.fixed.id,
            reason=final.reason,
            exit_code=final.exit_code,
        )
        return True

    async def _keep_to_the_end(self, live: Live) -> None:
        handle = await self._hold(live)
        if handle is not None:
            live.handle = handle
            try:
                if self.is_forced:
                    await handle.kill()
                elif live.record.instance.state == "ending":
                    await handle.stop(live.record.instance.reason or "stopped")
                await self._watch(live, handle)
            finally:
                live.handle = None
                with anyio.CancelScope(shield=True):
                    await handle.close()
        spawner = self._spawner(live)
        if live.record.instance.state != "ended":
            report = await spawner.clean(live.record.runs_as)
            async with live.lock:
                await self.save(live, states.lose(live.record.instance, report))
        await spawner.forget(live.record.runs_as)

    def _spawner(self, live: Live) -> Spawner:
        return self._fleet.spawner(live.record.node, live.record.fixed.spawner)

    async def _hold(self, live: Live) -> Handle | None:
        """Start it the first time, find it ever after; None where there is nothing to hold."""
        start, live.start = live.start, None
        if live.record.instance.state == "ended":
            return None
        if start is None:
            return await self._spawner(live).attach(live.record.runs_as)
        failed = set[str]()
        while True:
            if live.record.instance.state == "ending":
                await self._give_up(live, "stopped", "It was ended before it started.")
                return None
            try:
                return await self._start(live, start.spec)
            except SpawnFailed as error:
                await self._give_up(live, "start-failed", error.detail)
                return None
            except NodeUnreachable as error:
                failed.add(live.record.node)
                if not await self._move(live, start.wish, failed):
                    await self._give_up(live, "node-unreachable", error.detail)
                    return None

    async def _start(self, live: Live, spec: InstanceSpec) -> Handle | None:
        spec = replace(spec, gpu_card=live.record.gpu_card)
        spawner = self._spawner(live)
        with anyio.move_on_after(START_S) as scope:
            live.starting = scope
            try:
                return await spawner.start(spec)
            finally:
                live.starting = None
        with anyio.move_on_after(CUT_S):
            await spawner.clean(live.record.runs_as)
        await self._give_up(live, "start-failed", "Its node did not start it in time.")
        return None

    async def _move(self, live: Live, wish: Wish, failed: set[str]) -> bool:
        """Find it another node: nobody waits for one that is off."""
        async with live.lock:
            before = live.record.node
            try:
                place = self._fleet.place(wish, without=failed)
                live.record = await self._store.move(live.record, place)
            except (NoCapacity, InvalidField):
                return False
        log.warning(
            "instance.moved",
            instance_id=live.record.fixed.id,
            before=before,
            node=live.record.node,
        )
        return True

    async def _give_up(self, live: Live, reason: str, detail: str) -> None:
        async with live.lock:
            await self.save(live, states.has_ended_by(live.record.instance, reason, detail))

    async def _watch(self, live: Live, handle: Handle) -> None:
        async for report in handle.reports():
            live.last_hooks_s = report.last_hooks_s
            if report.phase == "ended":
                await self._spawner(live).forget(live.record.runs_as)
            async with live.lock:
                after = states.learn(live.record.instance, report)
                ports = tuple(PortRoute(**port) for port in report.ports)
                await self.save(live, after, handle.media_socket, ports or None)
                is_cut_off = self._is_cut_off(live, report)
            if is_cut_off:
                await handle.stop("not-adopted")

    def _is_cut_off(self, live: Live, report: Report) -> bool:
        """Its session took it, and we were killed before it was told: nobody can tell it now."""
        has_session = live.record.fixed.session_id is not None
        return report.waits and has_session and not live.is_claimed
