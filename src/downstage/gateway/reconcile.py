"""Bring sessions and their instances together: read what is so, do what must be done, until done.

A session is *marked* whenever something may have changed: a hint came by, its end was asked
for, its link broke, the gateway started. Whatever the mark meant, the truth is read anew.
"""

from __future__ import annotations

from collections.abc import Callable

import anyio
import anyio.abc

from downstage.bus import Bus
from downstage.contracts.agent import ANY_INSTANCE_CHANGED
from downstage.contracts.manager import InstanceView
from downstage.gateway.models import Session
from downstage.gateway.sessions import Facts, Sessions
from downstage.gateway.states import Effect, Event, InstanceEnded, Placed, Progressed
from downstage.kernel.errors import PlatformError, Unavailable
from downstage.kernel.logging import get_logger

__all__ = ["BARE", "Reconciler"]

FIRST_PAUSE_S = 0.2
LONGEST_PAUSE_S = 5.0
AT_ONCE = 16
"""Sessions looked at at the same time in each region: one that is silent holds up no other."""
SETTLED = ("ready", "active", "disconnected")
"""A session that was so when the gateway stopped is looked at where it does not fit its instance,
as `downstage.gateway.audit` finds: there may be thousands."""
LOST = "The platform knows no instance of this session any more. Start a new session."
CUT_OFF = "The platform was stopped before it had started the session. Start it again."
BARE = "The application runs without isolation: this host has no working bubblewrap."
log = get_logger(__name__)


class Reconciler:
    """Looks at marked sessions.

    Args:
        sessions: those of this gateway.
        bus: where hints of agents come by.

    Attributes:
        on_gap: called when hints were lost: all is to be compared.
    """

    def __init__(self, sessions: Sessions, bus: Bus) -> None:
        self._sessions = sessions
        self._bus = bus
        self._marked: set[str] = set()
        self._busy: set[str] = set()
        self._wake = anyio.Event()
        self._limiters: dict[str, anyio.CapacityLimiter] = {}
        self._media_sockets: dict[str, str] = {}
        self.on_gap: list[Callable[[], None]] = []
        sessions.listeners.append(self._on_change)

    def mark(self, session_id: str) -> None:
        """Look at this session soon."""
        self._marked.add(session_id)
        self._wake.set()

    async def media_socket(self, session: Session) -> str | None:
        """Where the session's streamer serves its media, as the manager said."""
        known = self._media_sockets.get(session.life.instance_id)
        if known is None:
            region = self._sessions.regions.of(session.region)
            instance = await region.instance(session.life.instance_id)
            if instance is not None and instance.media_socket:
                self._media_sockets[instance.id] = instance.media_socket
                return instance.media_socket
        return known

    def forget(self, instance_id: str) -> None:
        """Ask the manager again where this instance serves its media."""
        self._media_sockets.pop(instance_id, None)

    async def run(self) -> None:
        """Work for ever."""
        async with anyio.create_task_group() as tasks:
            await tasks.start(self._listen)
            async for session in self._sessions.restore():
                if session.life.state not in SETTLED:
                    self.mark(session.id)
                    self._begin_marked(tasks)
            while True:
                self._begin_marked(tasks)
                await self._wake.wait()

    def _begin_marked(self, tasks: anyio.abc.TaskGroup) -> None:
        self._wake = anyio.Event()
        for session_id in self._marked - self._busy:
            self._marked.discard(session_id)
            self._busy.add(session_id)
            tasks.start_soon(self._look, session_id)

    async def _listen(self, *, task_status: anyio.abc.TaskStatus[None]) -> None:
        async with self._bus.subscribe(ANY_INSTANCE_CHANGED) as hints:
            task_status.started()
            async for hint in hints:
                if hint.gap or hint.payload.get("gap"):
                    for told in self.on_gap:
                        told()
                session_id = hint.payload.get("session_id")
                if isinstance(session_id, str):
                    self.mark(session_id)

    async def _look(self, session_id: str) -> None:
        """Settle one session; after a failure again, later each time, and never give up."""
        pause = FIRST_PAUSE_S
        try:
            while True:
                try:
                    await self._settle(session_id)
                except PlatformError as error:
                    log.warning("session.not_settled", session_id=session_id, why=error.detail)
                else:
                    return
                await anyio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE_S)
        finally:
            self._busy.discard(session_id)
            self._wake.set()

    async def _settle(self, session_id: str) -> None:
        session = await self._sessions.store.get(session_id)
        if session is None or session_id in self._sessions.placing:
            return
        if session.life.state == "ended":
            await self._sessions.files.end(session)
            return
        instance = await self._instance(session)
        if instance is None and session.life.waits:
            return  # `downstage.gateway.waiting` places it
        if instance is None:
            is_new = session.life.state == "queued"
            gone = InstanceEnded(*(("not-placed", CUT_OFF) if is_new else ("instance-lost", LOST)))
            await self._end(session, gone)
        elif instance.state == "ended":
            reason = instance.reason or "instance-ended"
            ended = InstanceEnded(reason, instance.detail, instance.exit_code)
            await self._end(session, ended)
        elif session.life.state != "ending":
            await self._follow(session_id, instance)

    async def _instance(self, session: Session) -> InstanceView | None:
        """The session's instance as it stands, told to end where the session does."""
        limiter = self._limiters.setdefault(session.region, anyio.CapacityLimiter(AT_ONCE))
        region = self._sessions.regions.of(session.region)
        async with limiter:
            instance = await region.instance(session.life.instance_id)
            if instance is None or instance.state == "ended" or session.life.state != "ending":
                return instance
            return await region.stop(instance.id)

    async def _end(self, session: Session, ended: InstanceEnded) -> None:
        """Files first: who restarts between the two steps never looks at what has ended."""
        try:
            await self._sessions.files.end(session)
        except Unavailable as error:  # the session's end waits for nobody; it is tried again after
            log.warning("session.files_not_ended", session_id=session.id, why=error.detail)
        await self._sessions.apply(session.id, ended)

    async def _follow(self, session_id: str, instance: InstanceView) -> None:
        if instance.media_socket:
            self._media_sockets[instance.id] = instance.media_socket
        events: tuple[Event, ...] = (Placed(instance.id), Progressed(instance.stage))
        facts = Facts(
            application=instance.application,
            warning=None if instance.isolated else BARE,
            ports=tuple(port.model_dump(mode="json") for port in instance.ports),
        )
        await self._sessions.apply(session_id, *events, facts=facts)

    def _on_change(self, session: Session, effects: tuple[Effect, ...]) -> None:
        if Effect.STOP_INSTANCE in effects and session.id not in self._sessions.placing:
            self.mark(session.id)
        if session.life.state == "ended":
            self.forget(session.life.instance_id)
            self.mark(session.id)
