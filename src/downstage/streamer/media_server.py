"""The unix socket on which the gateway reaches `/media`: frames out, input in."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from pathlib import Path

from aiohttp import WSMsgType, web

from downstage.contracts.streamer import MAX_TO_SERVER
from downstage.kernel.logging import get_logger
from downstage.media.transport.websocket import MediaSocket
from downstage.streamer.unix_site import serve_at

__all__ = ["MediaServer", "read_messages"]

log = get_logger(__name__)

MAX_PEER = 128
ROLES = ("controller", "spectator")
HEARTBEAT_S = 15.0

Serve = Callable[[str, str, web.WebSocketResponse], Awaitable[None]]


class MediaServer:
    """Serves WebSockets on a unix socket of mode 0600; the folder above keeps others out.

    Args:
        path: the socket's path; one that is left over is replaced.
        serve: called with peer, role and accepted socket; returns when the viewer has left.
    """

    def __init__(self, path: Path, serve: Serve) -> None:
        self._path, self._serve = path, serve
        self._runner: web.AppRunner | None = None

    async def open(self) -> None:
        """Begin to listen."""
        application = web.Application()
        application.router.add_get("/media", self._accept)
        self._runner = await serve_at(self._path, application, hide=0o177)

    async def close(self) -> None:
        """Stop to listen and end every connection."""
        if self._runner is not None:
            await self._runner.cleanup()
        self._path.unlink(missing_ok=True)

    async def _accept(self, request: web.Request) -> web.StreamResponse:
        peer, role = request.query.get("peer", ""), request.query.get("role", "")
        if not 0 < len(peer) <= MAX_PEER or role not in ROLES:
            raise web.HTTPBadRequest(text="peer and role are needed")
        socket = web.WebSocketResponse(
            compress=False,
            max_msg_size=MAX_TO_SERVER,
            heartbeat=HEARTBEAT_S,
            writer_limit=1 << 20,
        )
        await socket.prepare(request)
        await self._serve(peer, role, socket)
        if not socket.closed:
            await socket.close()
        return socket


async def read_messages(socket: MediaSocket, take: Callable[[str | bytes], None]) -> None:
    """Give every text message of *socket* to *take*, until it ends."""
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            take(str(message.data))
