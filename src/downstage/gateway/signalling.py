"""The viewer's signalling socket: offers, answers, candidates, and news of the session."""

from __future__ import annotations

import anyio
from starlette.websockets import WebSocket

from downstage.contracts.gateway import SessionView
from downstage.gateway.admission import PROTOCOL, Admission, Entry
from downstage.gateway.beats import keep_beating
from downstage.gateway.ice import Policy
from downstage.gateway.messages import Bye, read_viewer
from downstage.gateway.resume import Resume
from downstage.gateway.rooms import Room, Rooms, Viewer, Violation
from downstage.gateway.sessions import Sessions
from downstage.gateway.states import ViewersChanged
from downstage.gateway.wire import BAD_DATA, POLICY, Bucket, Refusal, Wire, deny_socket
from downstage.kernel.candidates import reach_of
from downstage.kernel.clock import Clock
from downstage.kernel.errors import BadMessage, PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["Signalling"]

BURST_S = 4
"""A socket's burst is what it may send in so many seconds."""
BEAT_S = 1.0
"""A viewer hears something at least this often: a page whose gateway is silent asks another."""
LEAVE_S = 5.0
"""How long a closing socket may take to send what is queued."""
log = get_logger(__name__)


class Signalling:
    """Serves viewers' signalling sockets.

    Args:
        admission: lets them in.
        sessions, rooms: of this gateway.
        clock: of the platform.
        rate: messages a second that a socket may send.
        policy: which paths viewers may try: all, or the relay alone.
        resume: how pages come back at other gateways.
    """

    def __init__(
        self,
        admission: Admission,
        sessions: Sessions,
        rooms: Rooms,
        clock: Clock,
        rate: int,
        *,
        policy: Policy = "all",
        resume: Resume,
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._rooms = rooms
        self._clock = clock
        self._rate = rate
        self._policy = policy
        self._resume = resume

    async def serve(self, websocket: WebSocket, session_id: str) -> None:
        """One socket, from its handshake to its end."""
        try:
            entry = await self._admission.socket(websocket, session_id, "signalling")
        except PlatformError as error:
            await deny_socket(websocket, error)
            return
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
        wire = Wire(websocket, Bucket(self._clock, self._rate, self._rate * BURST_S))
        room = self._rooms.enter(session_id)
        client = websocket.client
        viewer = room.join(entry.seat, wire, reach_of(client.host if client else None))
        for_good = False
        try:
            for_good = await self._talk(wire, room, viewer, entry)
        finally:
            room.leave(viewer, for_good=for_good)
            self._rooms.tidy(room)
            if for_good:
                with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_S):
                    await self._sessions.apply(session_id, lambda: ViewersChanged(room.count))

    async def _talk(self, wire: Wire, room: Room, viewer: Viewer, entry: Entry) -> bool:
        """Send and read until one side ends; whether the viewer said bye."""
        said_bye = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pump)
            if await self._welcome(wire, entry):
                said_bye = await self._listen(wire, room, viewer)
            wire.close(1000, "bye" if said_bye else "")
            tasks.cancel_scope.deadline = anyio.current_time() + LEAVE_S
        return said_bye

    async def _listen(self, wire: Wire, room: Room, viewer: Viewer) -> bool:
        said_bye = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._resume.renew, wire, viewer.seat)
            tasks.start_soon(keep_beating, wire, BEAT_S)
            try:
                said_bye = await self._read(wire, room, viewer)
            except Refusal as refusal:
                log.warning("signalling.refused", session_id=room.session_id, why=refusal.reason)
                wire.refuse(refusal)
            tasks.cancel_scope.cancel()
        return said_bye

    async def _welcome(self, wire: Wire, entry: Entry) -> bool:
        """Say how the session stands now; False where it has ended."""
        session = await self._sessions.store.get(entry.session.id) or entry.session
        wire.send(
            {
                "type": "welcome",
                "session": _dump(self._sessions.view(session)),
                "seat": entry.seat.id,
                "role": entry.seat.role,
                "ice_servers": self._rooms.servers(session.id, entry.seat.id),
                "ice_policy": self._policy,
                "heartbeat_ms": int(BEAT_S * 1000),
            }
        )
        if session.life.state != "ended":
            return True
        wire.send({"type": "bye", "reason": session.life.reason or "ended"})
        wire.close(1000, "ended")
        return False

    async def _read(self, wire: Wire, room: Room, viewer: Viewer) -> bool:
        async for text in wire.messages():
            try:
                message = read_viewer(text)
                if isinstance(message, Bye):
                    return True
                room.hear(viewer, message)
            except BadMessage as error:
                raise Refusal(BAD_DATA, error) from error
            except Violation as violation:
                raise Refusal(POLICY, violation.error, violation.reason) from violation
        return False


def _dump(view: SessionView) -> dict[str, object]:
    return view.model_dump(mode="json")
