"""Media sockets that streamers dial back, where their own cannot be reached from here.

A viewer's relay asks for one over the link (``media.dial``); the streamer dials
``/v1/relays/{instance}/{relay}``, and both are spliced. The name of a relay is a secret of 128
bits that only the link has carried, and the streamer shows its instance token beside it.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Protocol, Self

import anyio
from starlette.types import Receive, Scope, Send
from starlette.websockets import WebSocket, WebSocketDisconnect

from downstage.gateway.rooms import Room
from downstage.kernel.errors import Forbidden, InvalidToken, NotFound, Unavailable
from downstage.kernel.ids import new_secret
from downstage.services.facilities.principal import bearer_token, context_authenticator

__all__ = ["PATH", "Dialled", "Tunnels", "Upstream", "UpstreamGone"]

PATH = "/v1/relays/"
ARRIVE_S = 3.0
"""For the streamer to come to its line, to be asked, and to dial."""
LOOK_S = 0.05
"""How often it is looked whether it came to its line."""
CLOSE_S = 1.0
NAME_BYTES = 16


class UpstreamGone(Exception):
    """The streamer's socket has closed; what is sent is lost."""


class Upstream(Protocol):
    """A streamer's media socket, however it was reached."""

    @property
    def close_code(self) -> int | None:
        """How it ended."""
        ...

    @property
    def close_reason(self) -> str | None:
        """Why it ended."""
        ...

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        """What the streamer sends, until it ends."""
        ...

    async def send(self, message: str | bytes, /) -> None:
        """Pass on one message."""
        ...

    async def __aenter__(self) -> Self:
        """Use it."""
        ...

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Close it."""
        ...


class Dialled:
    """A socket that a streamer opened."""

    def __init__(self, websocket: WebSocket) -> None:
        self.ended = anyio.Event()
        self.close_code: int | None = None
        self.close_reason: str | None = None
        self._websocket = websocket

    async def __aenter__(self) -> Self:
        """It is open already."""
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
        /,
    ) -> None:
        """Close it, whoever ended it."""
        del kind, error, trace
        try:
            with anyio.move_on_after(CLOSE_S, shield=True):
                await self._websocket.close()
        except (WebSocketDisconnect, RuntimeError):
            pass  # it is closed
        finally:
            self.ended.set()

    async def __aiter__(self) -> AsyncIterator[str | bytes]:
        """What the streamer sends; the next message is read when this one was taken."""
        while True:
            try:
                message = await self._websocket.receive()
            except RuntimeError:
                return
            if message["type"] == "websocket.disconnect":
                self.close_code = message.get("code")
                self.close_reason = message.get("reason")
                return
            text = message.get("text")
            yield text if text is not None else message["bytes"]

    async def send(self, message: str | bytes, /) -> None:
        """Pass on one message.

        Raises:
            UpstreamGone: nobody is there any more.
        """
        kind = "text" if isinstance(message, str) else "bytes"
        try:
            await self._websocket.send({"type": "websocket.send", kind: message})
        except (WebSocketDisconnect, RuntimeError) as error:
            raise UpstreamGone from error


@dataclass(slots=True, eq=False)
class _Wanted:
    """A relay that waits for its streamer."""

    instance_id: str
    arrived: anyio.Event = field(default_factory=anyio.Event)
    socket: Dialled | None = None


class Tunnels:
    """Asks streamers to dial back, and takes their sockets: an ASGI application at `PATH`."""

    def __init__(self) -> None:
        self._wanted: dict[str, _Wanted] = {}

    async def dial(
        self, room: Room, instance_id: str, peer: str, role: str, *, is_live: bool
    ) -> Dialled:
        """The media socket of the streamer on *room*'s link, or on the next that it opens soon.

        Args:
            room: of the session.
            instance_id: whose media.
            peer: what the streamer calls the viewer.
            role: of the viewer.
            is_live: there was a streamer on a line, so that waiting for it makes sense.

        Raises:
            Unavailable: it is not on the line, or did not dial in time.
        """
        relay = new_secret(NAME_BYTES)
        wanted = self._wanted[relay] = _Wanted(instance_id)
        asked = None
        try:
            with anyio.move_on_after(ARRIVE_S):
                while not wanted.arrived.is_set():
                    # It may come just now from a gateway that fell silent, or come anew.
                    asked = room.dial_media(relay, peer, role, asked)
                    if asked is None and not is_live:
                        break
                    with anyio.move_on_after(LOOK_S):
                        await wanted.arrived.wait()
        finally:
            del self._wanted[relay]
        if wanted.socket is not None:
            return wanted.socket
        if asked is None:
            raise Unavailable("The session has no picture yet.", retry_after_s=1)
        raise Unavailable("The streamer does not answer yet.", retry_after_s=1)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One socket of a streamer, until its relay has ended."""
        if scope["type"] != "websocket":
            raise NotFound("Here are sockets of streamers alone.")
        websocket = WebSocket(scope, receive, send)
        wanted = await self._admit(websocket)
        await websocket.accept()
        if wanted not in self._wanted.values() or wanted.socket is not None:
            await websocket.close()  # too late, or the second: nobody would ever end it
            return
        socket = wanted.socket = Dialled(websocket)
        wanted.arrived.set()
        await socket.ended.wait()

    async def _admit(self, websocket: WebSocket) -> _Wanted:
        if websocket.headers.get("origin") is not None:
            raise Forbidden("Pages have no business here.")
        principal = await context_authenticator(websocket).principal(bearer_token(websocket))
        path: str = websocket.scope["path"]
        instance_id, _, relay = path.removeprefix(PATH).partition("/")
        wanted = self._wanted.get(relay)
        is_streamer = principal.kind == "instance" and principal.reach is None
        if not is_streamer or principal.instance_id != instance_id:
            raise InvalidToken
        if wanted is None or wanted.instance_id != instance_id or wanted.socket is not None:
            raise NotFound("Nobody waits for this socket.")
        await websocket.receive()  # websocket.connect
        return wanted
