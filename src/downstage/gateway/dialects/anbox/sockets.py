"""The sockets of this dialect: one ticket, one socket; whatever comes, only that socket ends.

A handshake that is refused is refused by its HTTP status. Once the socket is open, an ``error``
message says why before every close of ours: its clients do not notice a bare one.
"""

from __future__ import annotations

import anyio
from starlette.websockets import WebSocket

from downstage.contracts.gateway import SessionView
from downstage.gateway.admission import Admission, Entry
from downstage.gateway.dialects.anbox import reasons
from downstage.gateway.dialects.anbox.messages import read_client
from downstage.gateway.dialects.anbox.origins import Origins
from downstage.gateway.dialects.anbox.shares import ADB
from downstage.gateway.dialects.anbox.statuses import screen_of
from downstage.gateway.dialects.anbox.talk import PATIENCE, Speaker, Talk
from downstage.gateway.lines import is_guest
from downstage.gateway.rooms import Room, Rooms, Viewer, Violation
from downstage.gateway.sessions import Sessions
from downstage.gateway.wire import BAD_DATA, POLICY, Bucket, Refusal, Wire, deny_socket
from downstage.kernel.candidates import Reach, reach_of
from downstage.kernel.clock import Clock
from downstage.kernel.errors import (
    BadMessage,
    Forbidden,
    InvalidToken,
    PlatformError,
    Unauthenticated,
)
from downstage.kernel.logging import get_logger

__all__ = ["Sockets"]

BURST_S = 4
"""A socket's burst is what it may send in so many seconds."""
LEAVE_S = 5.0
"""How long a closing socket may take to send what is queued."""
ROLES = ("master", "slave", "adb")
log = get_logger(__name__)


class Sockets:
    """Serves them.

    Args:
        admission, sessions, rooms: of this gateway.
        origins: of pages that may open them.
        clock: of the platform.
        rate: messages a second that a socket may send.
    """

    def __init__(
        self,
        admission: Admission,
        sessions: Sessions,
        rooms: Rooms,
        origins: Origins,
        clock: Clock,
        *,
        rate: int,
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._rooms = rooms
        self._origins = origins
        self._clock = clock
        self._rate = rate

    async def serve(self, websocket: WebSocket, session_id: str, role: str) -> None:
        """One socket, from its handshake to its end."""
        try:
            entry = await self._admit(websocket, session_id, role)
        except PlatformError as error:
            await deny_socket(websocket, error)
            return
        await websocket.accept()
        wire = Wire(websocket, Bucket(self._clock, self._rate, self._rate * BURST_S))
        speaker = Speaker(wire)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pump)
            if role == "adb":
                speaker.end(ADB, POLICY, "not-supported")
            else:
                client = websocket.client
                reach = reach_of(client.host if client else None)
                await self._enter(wire, speaker, entry, reach)
            wire.close()
            tasks.cancel_scope.deadline = anyio.current_time() + LEAVE_S

    async def _admit(self, websocket: WebSocket, session_id: str, role: str) -> Entry:
        if self._origins.allows(websocket) is False:
            self._admission.refuse("origin")
            raise Forbidden("This page may not open sockets here. List it in platform.origins.")
        tickets = websocket.query_params.getlist("token")
        if role not in ROLES:
            raise InvalidToken
        if len(tickets) != 1:
            self._admission.refuse("no-credential")
            raise Unauthenticated("This socket needs the token of its address.")
        entry = await self._admission.by_ticket(tickets[0], session_id, "signalling")
        if not is_guest(entry.seat.id):
            self._admission.refuse("ticket")
            raise InvalidToken  # of one of our own pages, which speak otherwise
        return entry

    async def _enter(self, wire: Wire, speaker: Speaker, entry: Entry, reach: Reach) -> None:
        session = await self._sessions.store.get(entry.session.id) or entry.session
        if session.life.state in ("ending", "ended"):
            view: SessionView = self._sessions.view(session)
            speaker.end(reasons.of_end(view.model_dump(mode="json")))
            return
        room = self._rooms.enter(session.id)
        viewer = room.join(entry.seat, speaker, reach)
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(_watch, speaker, room, viewer)
                talk = Talk(speaker, room, viewer, screen_of(session))
                try:
                    await self._read(wire, talk)
                except Refusal as refusal:
                    log.warning("signalling.refused", session_id=session.id, why=refusal.reason)
                    speaker.end(refusal.error.detail, refusal.close_code, refusal.reason)
                tasks.cancel_scope.cancel()
        finally:
            room.leave(viewer)
            self._rooms.tidy(room)

    async def _read(self, wire: Wire, talk: Talk) -> None:
        async for text in wire.messages():
            try:
                talk.hear(read_client(text))
            except BadMessage as error:
                raise Refusal(BAD_DATA, error) from error
            except Violation as violation:
                raise Refusal(POLICY, violation.error, violation.reason) from violation


async def _watch(speaker: Speaker, room: Room, viewer: Viewer) -> None:
    """End the conversation when somebody is silent for too long, and say who."""
    while True:
        awaited, changed = speaker.awaited, speaker.changed
        seconds = PATIENCE.get(awaited)
        with anyio.move_on_after(seconds):
            await changed.wait()
            continue
        if awaited == "media" and room.is_connected(viewer):
            speaker.wait_for("nobody")
            continue
        speaker.end(reasons.silent(awaited, seconds or 0), POLICY, f"silent-{awaited}")
        return
