"""From the request that asks for a socket to the open socket, or to an answer that refuses it."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from email.utils import formatdate
from http import HTTPStatus
from typing import Any, Protocol

import anyio
from starlette.types import Scope
from websockets.datastructures import Headers
from websockets.exceptions import SecurityError
from websockets.http11 import Request, Response
from websockets.server import ServerProtocol

from downstage.kernel.errors import DeadlineExceeded, PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.refusal import answer
from downstage.services.sockets.wire import IDLE_S, WireSocket
from downstage.services.sockets.words import Handover, Listener, SocketHandler, SocketRequest

__all__ = ["Opening", "Place"]

OPEN_S = 10.0
"""How long a handler may take to let somebody in."""
SWITCHING = 101
FIRST_OF_OURS = 500
log = get_logger(__name__)


class Place(Protocol):
    """Where a server keeps what is open: uvicorn's state."""

    connections: set[Any]
    tasks: set[asyncio.Task[None]]


class Opening(asyncio.BufferedProtocol):
    """A connection whose request asks for a socket; nothing is read from it meanwhile.

    Args:
        transport: of the connection.
        scope: of the request, as ASGI describes it.
        handler: lets it in.
        limit: bytes of a message.
        early: what came behind the request.
        idle_s: how long the peer may be silent.
        place: where the server finds it when it stops.
        move: counts sockets: 1 when one begins, -1 when it has ended.
    """

    def __init__(
        self,
        transport: asyncio.Transport,
        scope: Scope,
        handler: SocketHandler,
        *,
        limit: int,
        place: Place,
        move: Callable[[int], None],
        early: bytes = b"",
        idle_s: float = IDLE_S,
    ) -> None:
        self._transport = transport
        self._scope = scope
        self._handler = handler
        self._limit = limit
        self._early = early
        self._idle_s = idle_s
        self._place = place
        self._move = move
        self._task: asyncio.Task[None] | None = None
        self._is_counted = False
        self._is_elsewhere = False

    def begin(self) -> None:
        """Take the connection over."""
        self._transport.pause_reading()
        self._transport.set_protocol(self)
        self._place.connections.add(self)
        self._count(1)
        self._task = asyncio.get_running_loop().create_task(self._run())
        self._place.tasks.add(self._task)
        self._task.add_done_callback(self._place.tasks.discard)

    def get_buffer(self, sizehint: int) -> bytearray:
        """Nothing is read here; where it is all the same, it is forgotten."""
        return bytearray(max(sizehint, 1024))

    def buffer_updated(self, nbytes: int) -> None:
        """As above."""

    def eof_received(self) -> bool:
        """The peer left."""
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone before it was open."""
        del exc
        if self._task is not None:
            self._task.cancel()
        if self._is_elsewhere:
            self._place.connections.discard(self)  # whoever has it counts it
        else:
            self._end(self)

    def shutdown(self) -> None:
        """The server stops."""
        if self._task is not None:
            self._task.cancel()
        self._transport.close()

    async def _run(self) -> None:
        request = SocketRequest(self._scope)
        try:
            response = _handshake(self._scope)
            if response.status_code != SWITCHING:
                self._refuse(
                    response.status_code, list(response.headers.raw_items()), response.body
                )
                return
            with anyio.fail_after(OPEN_S):
                listener = await self._handler.open(request)
        except TimeoutError:
            self._deny(DeadlineExceeded("It took too long to let this socket in."))
        except PlatformError as error:
            self._deny(error)
        except Exception:  # the edge: whatever it was, it is answered and logged
            log.exception("socket.crashed", **self._facts)
            self._deny(PlatformError("An error of ours; the log has it."), is_told=True)
        else:
            response.headers["X-Request-ID"] = request.request_id
            self._open(response, listener)

    def _open(self, response: Response, listener: Listener) -> None:
        answer = response.serialize()
        if self._hand_over(answer, listener):
            return
        socket = WireSocket(
            self._transport,
            listener,
            limit=self._limit,
            idle_s=self._idle_s,
            on_lost=self._end,
            facts=self._facts,
        )
        self._place.connections.discard(self)
        if self._transport.is_closing():
            socket.connection_lost(None)
            return
        self._place.connections.add(socket)
        self._transport.set_protocol(socket)
        self._transport.write(answer)
        socket.start(self._early)

    def _hand_over(self, answer: bytes, listener: Listener) -> bool:
        """Whether another process has it from now on; nothing was read or written since."""
        transport = self._transport
        sock = transport.get_extra_info("socket")
        if sock is None or transport.get_extra_info("ssl_object") is not None:
            return False
        if transport.is_closing() or transport.get_write_buffer_size():
            return False
        handover = Handover(
            sock.fileno(),
            SocketRequest(self._scope),
            answer,
            self._early,
            self._limit,
            self._idle_s,
            lambda: self._count(-1),
        )
        if not listener.elsewhere(handover):
            return False
        self._is_elsewhere = True
        transport.abort()  # our descriptor alone: the connection lives on
        return True

    def _end(self, ended: object) -> None:
        self._place.connections.discard(ended)
        self._count(-1)

    def _count(self, change: int) -> None:
        if self._is_counted != (change > 0):
            self._is_counted = change > 0
            self._move(change)

    @property
    def _facts(self) -> dict[str, str]:
        return {"path": self._scope["path"], "request_id": self._scope.get("request_id", "")}

    def _deny(self, error: PlatformError, *, is_told: bool = False) -> None:
        if error.status >= FIRST_OF_OURS and not is_told and error.status not in LATER:
            log.error("request.failed", exc_info=error, code=error.code, **self._facts)
        found = answer(error, self._facts["request_id"])
        headers = [(k.decode("latin-1"), v.decode("latin-1")) for k, v in found.raw_headers]
        self._refuse(found.status_code, headers, bytes(found.body))

    def _refuse(self, status: int, headers: list[tuple[str, str]], body: bytes | bytearray) -> None:
        given = {name.lower(): value for name, value in headers}
        given["connection"] = "close"
        given["content-length"] = str(len(body))
        given["x-request-id"] = self._facts["request_id"]
        given.setdefault("date", formatdate(usegmt=True))
        lines = [f"HTTP/1.1 {status} {HTTPStatus(status).phrase}"]
        lines += [f"{name}: {value}" for name, value in given.items()]
        if not self._transport.is_closing():
            self._transport.write("\r\n".join([*lines, "", ""]).encode("latin-1") + body)
            self._transport.close()


LATER = frozenset({503, 507})
"""Not mistakes of ours: nobody needs the whole story of each."""


def _handshake(scope: Scope) -> Response:
    """101 where *scope* asks for a socket as RFC 6455 says, without extensions; else a refusal."""
    protocol = ServerProtocol()
    if not _is_bare(scope):
        return protocol.reject(
            HTTPStatus.BAD_REQUEST, "Ask for a socket by a GET without a body.\n"
        )
    headers = Headers()
    for name, value in scope["headers"]:
        headers[name.decode("latin-1")] = value.decode("latin-1")
    headers.pop("sec-websocket-extensions", None)  # permessage-deflate is agreed with nobody
    try:
        response = protocol.accept(Request(scope["path"], headers))
    except (SecurityError, ValueError):
        return protocol.reject(HTTPStatus.BAD_REQUEST, "This is no request for a socket.\n")
    return response


def _is_bare(scope: Scope) -> bool:
    """Whether it is a GET of HTTP/1.1 without a body.

    What a proxy takes for a body would be frames to us, and what it takes for the answer to a
    request that cannot be upgraded would be what a socket says.
    """
    named = dict(scope["headers"])
    return (
        scope.get("method", "GET") == "GET"
        and scope.get("http_version", "1.1") == "1.1"
        and b"transfer-encoding" not in named
        and named.get(b"content-length", b"0") == b"0"
    )
