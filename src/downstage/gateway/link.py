"""The streamer's link: it dials in with its instance token, and again whenever the line breaks."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.websockets import WebSocket

from downstage.gateway.beats import keep_beating
from downstage.gateway.messages import (
    Beat,
    FromStreamer,
    Hello,
    PeerClosed,
    PeerConnected,
    PeerDisconnected,
    PeerSessionEnd,
    PeerSignal,
    PictureReady,
    Status,
    StreamerFault,
    read_streamer,
)
from downstage.gateway.models import Session
from downstage.gateway.reconcile import Reconciler
from downstage.gateway.rooms import Room, Rooms, Violation
from downstage.gateway.sessions import Facts, Sessions
from downstage.gateway.states import EndAsked, Faulted, PictureSeen, ViewersChanged
from downstage.gateway.takeover import TakeOver
from downstage.gateway.terms import Terms
from downstage.gateway.wire import BAD_DATA, POLICY, Bucket, Refusal, Wire, deny_socket
from downstage.kernel.clock import Clock
from downstage.kernel.errors import (
    BadMessage,
    DeadlineExceeded,
    Forbidden,
    InvalidToken,
    NotFound,
    PlatformError,
)
from downstage.kernel.logging import get_logger
from downstage.kernel.silence import Silence
from downstage.services.facilities.principal import bearer_token, context_authenticator

__all__ = ["Links"]

HELLO_S = 10.0
"""How long a streamer may take to say who it is."""
BEAT_S = 0.5
"""A streamer hears something at least this often: one whose gateway is silent dials another."""
SILENT_S = 2.5
"""A streamer that answered beats, and says nothing for so long, is cut off."""
LEAVE_S = 5.0
MANY = 4
"""A streamer speaks for many viewers: its rate is so many times a viewer's."""
log = get_logger(__name__)


class Links:
    """Serves streamers.

    Args:
        sessions, rooms, reconciler: of this gateway.
        takeover: where sessions are at home.
        clock: of the platform.
        rate: messages a second that a viewer's socket may send.
    """

    def __init__(
        self,
        sessions: Sessions,
        rooms: Rooms,
        reconciler: Reconciler,
        takeover: TakeOver,
        clock: Clock,
        *,
        rate: int,
    ) -> None:
        self._sessions = sessions
        self._rooms = rooms
        self._reconciler = reconciler
        self._takeover = takeover
        self._clock = clock
        self._rate = rate * MANY

    async def serve(self, websocket: WebSocket, instance_id: str) -> None:
        """One link, from its handshake to its end."""
        try:
            session = await self._admit(websocket, instance_id)
        except PlatformError as error:
            await deny_socket(websocket, error)
            return
        await websocket.accept()
        wire = Wire(websocket, Bucket(self._clock, self._rate, self._rate * MANY))
        room = self._rooms.enter(session.id)
        try:
            await self._talk(wire, room, session)
        finally:
            # What the streamer did not live to tell, the manager knows.
            if room.detach(wire):
                self._reconciler.mark(session.id)
                # Perhaps it dialled another gateway, which took the session.
                await self._look(session.id)
            self._rooms.tidy(room)

    async def _look(self, session_id: str) -> None:
        with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_S):
            try:
                await self._takeover.check(session_id)
            except PlatformError as error:
                log.info("link.not_looked_after", session_id=session_id, why=error.detail)

    async def _admit(self, websocket: WebSocket, instance_id: str) -> Session:
        if websocket.headers.get("origin") is not None:
            raise Forbidden("Pages have no business here.")
        principal = await context_authenticator(websocket).principal(bearer_token(websocket))
        if principal.kind != "instance" or principal.instance_id != instance_id:
            raise InvalidToken
        if principal.reach is not None:
            raise InvalidToken  # the application's own, for files: it is no streamer
        session = await self._sessions.store.get(principal.session_id or "")
        if session is None or session.life.state == "ended":
            # It lives although its session does not: what was forgotten is ended after all.
            await self._sessions.regions.stop(instance_id, session and session.region)
            raise NotFound("There is no such session.")
        if session.life.instance_id != instance_id:
            raise InvalidToken
        return await self._takeover.at_home(session)

    async def _talk(self, wire: Wire, room: Room, session: Session) -> None:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(wire.pump)
            async with anyio.create_task_group() as beside:
                silence = Silence(lambda: SILENT_S)
                beside.start_soon(keep_beating, wire, BEAT_S)
                beside.start_soon(_give_up, silence, session.id, tasks.cancel_scope)
                await self._listen(wire, room, session, silence)
                beside.cancel_scope.cancel()
            wire.close()
            tasks.cancel_scope.deadline = anyio.current_time() + LEAVE_S

    async def _listen(self, wire: Wire, room: Room, session: Session, silence: Silence) -> None:
        messages = wire.messages()
        try:
            await self._greet(wire, room, session, messages)
            async for text in messages:
                message = _parse(text)
                # One of an earlier version never beats: its silence says nothing.
                if isinstance(message, Beat) or silence.is_on:
                    silence.heard()
                silence.is_held = True
                await self._hear(room, message)
                silence.is_held = False
        except Refusal as refusal:
            log.warning("link.refused", session_id=session.id, why=refusal.reason)
            wire.refuse(refusal)
        except Violation as violation:
            log.warning("link.refused", session_id=session.id, why=violation.reason)
            wire.refuse(Refusal(POLICY, violation.error, violation.reason))

    async def _greet(
        self, wire: Wire, room: Room, session: Session, messages: AsyncIterator[str]
    ) -> None:
        """The first message must be the streamer's ``hello``, and true."""
        hello = None
        with anyio.move_on_after(HELLO_S):
            hello = _parse(await anext(messages, ""))
        if hello is None:
            raise Refusal(POLICY, DeadlineExceeded("The streamer did not say hello."), "no-hello")
        if not isinstance(hello, Hello):
            raise Refusal(BAD_DATA, BadMessage("The first message is hello."))
        if (hello.instance_id, hello.session_id) != (session.life.instance_id, session.id):
            raise Refusal(POLICY, Forbidden("This is not the instance it says."), "foreign")
        room.attach(wire, hello.peers)
        changed = await self._sessions.apply(session.id, lambda: ViewersChanged(room.count))
        if changed is not None and changed.life.state == "ending":
            wire.send({"type": "end", "reason": changed.life.reason or "stopped"})

    async def _hear(self, room: Room, message: FromStreamer) -> None:
        match message:
            case PictureReady():
                await self._ready(room, message)
            case Status():
                await self._status(room, message)
            case PeerSignal(peer=peer, payload=payload):
                room.offer(peer, payload)
            case PeerConnected(peer=peer):
                room.connected(peer, is_connected=True)
                await self._count(room)
            case PeerDisconnected(peer=peer):
                room.connected(peer, is_connected=False)
                await self._count(room)
            case PeerClosed(peer=peer, reason=reason, detail=detail):
                room.closed(peer, reason, detail)
                await self._count(room)
            case PeerSessionEnd(peer=peer):
                await self._farewell(room, peer)
            case StreamerFault():
                await self._sessions.apply(room.session_id, Faulted(message.code, message.detail))
            case _:
                if isinstance(message, Hello):
                    raise Refusal(BAD_DATA, BadMessage("A streamer says hello once."))

    async def _count(self, room: Room) -> None:
        await self._sessions.apply(room.session_id, lambda: ViewersChanged(room.count))

    async def _farewell(self, room: Room, peer: str) -> None:
        """A viewer is done: so is the session, where that was agreed and nobody else looks.

        Who only looks on ends nothing: who controls it may be cut off, and come back.
        """
        seat = await self._sessions.store.seat(room.session_id, peer.partition(".")[0])
        looks_on = seat is not None and seat.role == "spectator"
        room.part(peer)
        session = await self._sessions.apply(room.session_id, lambda: ViewersChanged(room.count))
        if session is None or looks_on or room.count:
            return
        if Terms.of(session.extra).ends_when_left:
            await self._sessions.end(session.id, EndAsked("stopped", "viewer-left"))

    async def _ready(self, room: Room, message: PictureReady) -> None:
        encoder = message.encoder
        if encoder and message.encoder_reason:
            encoder = f"{encoder} ({message.encoder_reason})"
        silence = None if message.audio else f"No sound: {message.audio_reason or 'unknown'}"
        facts = Facts(
            width=message.width,
            height=message.height,
            encoder=encoder[:500] if encoder else None,
            warning=silence,
        )
        # Somebody may have been connected before the gateway heard of the picture.
        await self._sessions.apply(
            room.session_id, PictureSeen(), lambda: ViewersChanged(room.count), facts=facts
        )

    async def _status(self, room: Room, message: Status) -> None:
        event = None
        if message.last_input_s is not None:
            event = self._sessions.note_input(room.session_id, message.last_input_s)
        size = (message.width, message.height)
        if event is not None or size not in ((None, None), room.picture):
            room.picture = size
            happenings = () if event is None else (event,)
            facts = Facts(width=message.width, height=message.height)
            await self._sessions.apply(room.session_id, *happenings, facts=facts)


async def _give_up(silence: Silence, session_id: str, link: anyio.CancelScope) -> None:
    """End *link* when the streamer falls silent: no farewell would reach it."""
    await silence.wait()
    log.warning("link.silent", session_id=session_id)
    link.cancel()


def _parse(text: str) -> FromStreamer:
    try:
        return read_streamer(text)
    except BadMessage as error:
        raise Refusal(BAD_DATA, error) from error
