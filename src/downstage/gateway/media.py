"""Frames and input over a WebSocket: the streamer's bytes, passed on without a look.

The streamer's own socket is dialled where it lies on this machine, else the streamer dials back
(`downstage.gateway.tunnel`).

Towards the server a message has at most 64 KiB (the public server's own limit), towards the
browser at most 8 MiB. Nothing is queued here beyond `AHEAD` messages: while a viewer does not
take them, nothing is read from the streamer, which then drops to its next key frame.
"""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import cast
from urllib.parse import urlencode

import anyio
from starlette.websockets import WebSocket, WebSocketDisconnect
from websockets.asyncio.client import unix_connect
from websockets.exceptions import ConnectionClosed, WebSocketException

from downstage.contracts.streamer import MAX_TO_BROWSER
from downstage.gateway.admission import PROTOCOL, Admission, Entry
from downstage.gateway.models import Session
from downstage.gateway.reconcile import Reconciler
from downstage.gateway.rooms import Room, Rooms
from downstage.gateway.sessions import Sessions
from downstage.gateway.states import ViewersChanged
from downstage.gateway.tunnel import Tunnels, Upstream, UpstreamGone
from downstage.gateway.wire import LATER, deny_socket
from downstage.kernel.errors import Conflict, PlatformError
from downstage.kernel.ids import new_id
from downstage.kernel.logging import get_logger

__all__ = ["MediaRelay"]

AHEAD = 2
"""Messages read from the streamer that the viewer has not taken."""
CONNECT_S = 3.0
PLACE_S = 0.5
"""How long a manager may take to say where the streamer's own socket is, before it is to dial."""
LIVE = ("ready", "active", "disconnected")
"""States in which a streamer has been on the line."""
NEVER_SENT = (1005, 1006)
"""Close codes that only say that none came."""
LEAVE_S = 5.0
log = get_logger(__name__)


class MediaRelay:
    """Relays media sockets to streamers.

    Args:
        admission: lets viewers in.
        sessions, rooms, reconciler: of this gateway.
        run: the folder below which the sockets of this machine's instances lie.
        tunnels: sockets of instances elsewhere.
    """

    def __init__(
        self,
        admission: Admission,
        sessions: Sessions,
        rooms: Rooms,
        reconciler: Reconciler,
        run: Path,
        *,
        tunnels: Tunnels,
    ) -> None:
        self._admission = admission
        self._sessions = sessions
        self._rooms = rooms
        self._reconciler = reconciler
        self._run = run
        self._tunnels = tunnels

    async def serve(self, websocket: WebSocket, session_id: str) -> None:
        """One socket, from its handshake to its end."""
        try:
            entry = await self._admission.socket(websocket, session_id, "media")
            upstream = await self._dial(entry)
        except PlatformError as error:
            await deny_socket(websocket, error)
            return
        offered = websocket.scope.get("subprotocols", [])
        async with upstream:
            await websocket.accept(subprotocol=PROTOCOL if PROTOCOL in offered else None)
            await self._relay(websocket, upstream, self._rooms.enter(session_id))

    async def _relay(self, websocket: WebSocket, upstream: Upstream, room: Room) -> None:
        async with anyio.create_task_group() as tasks, self._counted(room, tasks.cancel_scope):
            tasks.start_soon(self._up, websocket, upstream, tasks.cancel_scope)
            await self._down(websocket, upstream)
            tasks.cancel_scope.cancel()
        code, reason = upstream.close_code or 1000, upstream.close_reason or "ended"
        if code in NEVER_SENT:
            code, reason = LATER, "streamer-gone"
        with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_S):
            await _close(websocket, code, reason)

    async def _dial(self, entry: Entry) -> Upstream:
        """The streamer's own socket where it lies here, else one that it dials."""
        session, seat = entry.session, entry.seat
        if session.life.state in ("ending", "ended"):
            raise Conflict("The session has ended.")
        peer = f"{seat.id}.{new_id('m')}"
        path = await self._path(session)
        if path is not None:
            near = await self._dial_here(path, peer, seat.role)
            if near is not None:
                return near
            self._reconciler.forget(session.life.instance_id)
        room = self._rooms.enter(session.id)
        try:
            is_live = session.life.state in LIVE
            instance = session.life.instance_id
            return await self._tunnels.dial(room, instance, peer, seat.role, is_live=is_live)
        finally:
            self._rooms.tidy(room)

    async def _path(self, session: Session) -> Path | None:
        """Where the manager, never the streamer, says that its socket is; None: not here."""
        named = None
        try:
            # Where its agent is away the answer takes seconds, and the way over the link is there.
            with anyio.move_on_after(PLACE_S):
                named = await self._reconciler.media_socket(session)
        except PlatformError as error:
            log.info("media.not_found", session_id=session.id, why=error.detail)
            return None
        if named is None:
            return None
        return await anyio.to_thread.run_sync(self._find, Path(named))

    async def _dial_here(self, path: Path, peer: str, role: str) -> Upstream | None:
        query = urlencode({"peer": peer, "role": role})
        try:
            found = await unix_connect(
                str(path),
                uri=f"ws://streamer/media?{query}",
                max_size=MAX_TO_BROWSER,
                max_queue=AHEAD,
                compression=None,
                ping_interval=None,
                open_timeout=CONNECT_S,
                close_timeout=1,
                user_agent_header=None,
            )
        except (OSError, WebSocketException, TimeoutError) as error:
            log.info("media.not_reached", error=type(error).__name__)
            return None
        return cast("Upstream", found)  # it iterates over both kinds of messages, as ours does

    def _find(self, path: Path) -> Path | None:
        """*path* where it is a socket of an instance of ours; nothing else is ever dialled."""
        is_ours = path.is_absolute() and path.resolve().is_relative_to(self._run.resolve())
        return path if is_ours and path.is_socket() else None

    @asynccontextmanager
    async def _counted(self, room: Room, scope: anyio.CancelScope) -> AsyncGenerator[None]:
        """While this is open the session has a viewer more."""
        relay = new_id("m")
        room.open_media(relay, scope.cancel)
        await self._sessions.apply(room.session_id, lambda: ViewersChanged(room.count))
        try:
            yield
        finally:
            room.close_media(relay)
            self._rooms.tidy(room)
            with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_S):
                await self._sessions.apply(room.session_id, lambda: ViewersChanged(room.count))

    async def _down(self, websocket: WebSocket, upstream: Upstream) -> None:
        """To the browser, until one side ends."""
        try:
            async for message in upstream:
                if isinstance(message, str):
                    await websocket.send({"type": "websocket.send", "text": message})
                else:
                    await websocket.send({"type": "websocket.send", "bytes": message})
        except (ConnectionClosed, WebSocketDisconnect, RuntimeError):
            return

    async def _up(self, websocket: WebSocket, upstream: Upstream, scope: anyio.CancelScope) -> None:
        """To the streamer, until the browser goes."""
        while True:
            try:
                message = await websocket.receive()
                if message["type"] == "websocket.disconnect":
                    break
                text = message.get("text")
                await upstream.send(text if text is not None else message["bytes"])
            except (ConnectionClosed, UpstreamGone):
                return  # the other direction knows why
            except RuntimeError:
                break
        scope.cancel()


async def _close(websocket: WebSocket, code: int, reason: str) -> None:
    try:
        await websocket.close(code, reason)
    except (WebSocketDisconnect, RuntimeError):
        return  # it is closed
