"""HTTP connections that do not wait for ever, nor take heads without end, nor mistake bodies."""

from __future__ import annotations

import re
import sys
from asyncio import TimerHandle, Transport
from typing import Any, cast
from urllib.parse import unquote

from httptools import HttpParserUpgrade
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle

__all__ = ["HEAD_S", "MAX_HEAD", "Connection", "socket_scope"]

HEAD_S = 30.0
"""How long the head of a request may take, and a connection may say nothing at first."""
MAX_HEAD = 64 * 1024
"""Bytes of the address and headers of one request, and of trailers behind a body."""
HOST = re.compile(rb"(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._~!$&'()*+,;=%-]*)(:[0-9]{0,5})?")
"""What may stand in ``Host``: a name or an address, and a port."""
TOO_LARGE = b"\r\n".join(
    (b"HTTP/1.1 431 Too Large", b"content-length: 0", b"connection: close", b"", b"")
)


class TooLargeHead(Exception):
    """Stops the parser."""


class NoTarget(Exception):
    """Stops the parser: nobody can say what was meant."""


class Connection(HttpToolsProtocol):
    """uvicorn's, with bounds on what comes before anybody knows who asks.

    Who sends ``Expect: 100-continue`` and is answered at once never sends the body: whatever came
    next on the connection would be taken for it, so that it ends with the answer.
    """

    app: Any
    _timer: TimerHandle | None = None
    _head = 0
    """Bytes of the head, as far as they were told."""
    _untold = 0
    """Bytes that came since the parser told of anything: of one header that has no end."""
    _chunk = b""
    """What is being parsed."""

    def connection_made(self, transport: Transport) -> None:  # type: ignore[override]
        """A caller, who has some time to say what it wants."""
        super().connection_made(transport)
        self._wait_for_head()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        self._stop_waiting()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Parse what came, unless it is too much."""
        self._untold += len(data)
        self._chunk = data
        super().data_received(data)
        self._chunk = b""
        if self._untold > MAX_HEAD and not self.transport.is_closing():
            self._refuse()

    def early(self) -> bytes:
        """While an upgrade is handled: what came together with the request, behind it."""
        stopped = sys.exception()
        return self._chunk[stopped.args[0] :] if isinstance(stopped, HttpParserUpgrade) else b""

    def send_400_response(self, msg: str) -> None:
        """Answer what could not be parsed."""
        if self._head > MAX_HEAD:
            self._refuse()
        else:
            super().send_400_response(msg)

    def on_message_begin(self) -> None:
        """The first bytes of a request."""
        super().on_message_begin()
        self._head = self._untold = 0
        if self._timer is None:
            self._wait_for_head()

    def on_url(self, url: bytes) -> None:
        """A piece of the address."""
        self._count(len(url))
        super().on_url(url)

    def on_header(self, name: bytes, value: bytes) -> None:
        """A header, or a trailer."""
        self._count(len(name) + len(value))
        super().on_header(name, value)

    def on_headers_complete(self) -> None:
        """The head is whole: the application takes over."""
        self._stop_waiting()
        self._untold = 0
        self._check_target()
        app = self.app
        if self.expect_100_continue:
            self.app = _Unasked(app)
        try:
            super().on_headers_complete()
        finally:
            self.app = app

    def on_body(self, body: bytes) -> None:
        """A piece of the body."""
        self._untold = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        """A request came to its end, wanted or not."""
        cycle = cast("RequestResponseCycle | None", self.cycle)  # none where a socket opens at once
        if cycle is not None and cycle.response_complete:
            self._stop_waiting()
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """An answer was sent: for the rest of a body that nobody wants there is some time, too."""
        super().on_response_complete()
        cycle = self.cycle
        if cycle.response_complete and cycle.more_body and self._timer is None:
            self._wait_for_head()

    def _count(self, size: int) -> None:
        self._untold = 0
        self._head += size
        if self._head > MAX_HEAD:
            raise TooLargeHead

    def _check_target(self) -> None:
        """A path, and one ``Host`` that is one: all else is read in two ways by proxies and us."""
        if not self.url.startswith(b"/"):
            raise NoTarget
        hosts = [value for name, value in self.headers if name == b"host"]
        if not hosts and self.parser is not None and self.parser.get_http_version() == "1.0":
            return
        if len(hosts) != 1 or HOST.fullmatch(hosts[0]) is None:
            raise NoTarget

    def _refuse(self) -> None:
        cycle = cast("RequestResponseCycle | None", self.cycle)
        if cycle is None or cycle.response_complete:
            self.transport.write(TOO_LARGE)
        self.transport.close()

    def _wait_for_head(self) -> None:
        self._timer = self.loop.call_later(HEAD_S, self.transport.close)

    def _stop_waiting(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None


def socket_scope(connection: Connection) -> Scope:
    """The request of *connection*, which asks for a socket, as ASGI describes it."""
    raw, _, query = connection.url.partition(b"?")
    return {
        **connection.scope,
        "type": "websocket",
        "scheme": "wss" if connection.scheme == "https" else "ws",
        "path": unquote(raw.decode("latin-1")),
        "raw_path": raw,
        "query_string": query,
        "subprotocols": [],
    }


class _Unasked:
    """Ends the connection with an answer for which the body was not asked."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        asked = False

        async def ask() -> Message:
            nonlocal asked
            asked = True
            return await receive()

        async def tell(message: Message) -> None:
            if message["type"] == "http.response.start" and not asked:
                headers = [h for h in message.get("headers", ()) if h[0].lower() != b"connection"]
                message = {**message, "headers": [*headers, (b"connection", b"close")]}
            await send(message)

        await self._app(scope, ask, tell)
