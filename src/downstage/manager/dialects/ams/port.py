"""The dialect's own port: TLS that asks for a client certificate, and paths from ``/1.0`` on.

Python's TLS checks a client's certificate against authorities and knows no other way. So each
trusted certificate is an authority here: those that sign themselves pass, as this dialect's do, and
a certificate that is not trusted fails in the handshake. Which one it was is looked up again for
each request: what was distrusted meanwhile is let in no more.

Connections are taken here and not by the server, since they count before their handshake, too: so
many in all, so many of one address, and none is waited for that says nothing.
"""

from __future__ import annotations

import asyncio
import errno
import socket
import ssl
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import anyio.abc
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol

from downstage.kernel.logging import get_logger
from downstage.manager.dialects.ams.callers import CERTIFICATE
from downstage.manager.dialects.ams.envelope import BASE, PREFIX
from downstage.manager.dialects.ams.store import AmsStore
from downstage.services.connections import Connection
from downstage.services.crowd import Crowd, Visit

__all__ = ["AmsPort", "client_context"]

OWN = "/1.0"
MOST, MOST_OF_ONE = 1024, 128
"""Connections that may be open, in all and of one address."""
HANDSHAKE_S = 10.0
"""How long the agreement on TLS may take."""
MAX_MESSAGE = 1 << 20
STOP_S = 2.0
START_S = 10.0
LOOK_S = 0.005
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOBUFS, errno.ENOMEM})
"""No more connections can be had on this machine just now."""
PAUSE_S = 0.5
Peer = tuple[str, int]
log = get_logger(__name__)


class _Visitors:
    """Who is connected, and which certificate each showed.

    A new connection from the same address and port always says anew what it showed, so that
    nothing of an old one counts for it.
    """

    def __init__(self) -> None:
        self._crowd = Crowd(MOST, MOST_OF_ONE)
        self._shown: dict[Peer, tuple[Visit, bytes | None]] = {}
        self._refused, self._told_at = 0, 0.0

    def enter(self, address: str) -> Visit | None:
        """Let one in, unless there are too many."""
        visit = self._crowd.enter(address)
        if visit is None:
            self._refused += 1
            if time.monotonic() - self._told_at > 1:  # strangers do not fill the log
                log.warning("ams.crowded", open=len(self._crowd), refused=self._refused)
                self._refused, self._told_at = 0, time.monotonic()
        return visit

    def show(self, visit: Visit, peer: Peer, certificate: bytes | None) -> None:
        """*visit*, of *peer*, has shown this."""
        self._shown[peer] = (visit, certificate)

    def leave(self, visit: Visit, peer: Peer) -> None:
        """It has gone."""
        visit.leave()
        if self._shown.get(peer, (None, None))[0] is visit:
            del self._shown[peer]

    def of(self, client: object) -> bytes | None:
        """What the connection of *client* showed."""
        if not isinstance(client, list | tuple):
            return None
        return self._shown.get(tuple(client), (None, None))[1]  # pyright: ignore[reportUnknownArgumentType]


class _Http(Connection):
    """Notes the certificate of a connection; bounds heads, as on every other port."""

    visitors: _Visitors
    visit: Visit
    peer: Peer

    def connection_made(self, transport: Any) -> None:
        """The agreement on TLS has come about."""
        super().connection_made(transport)
        tls = transport.get_extra_info("ssl_object")
        peer = transport.get_extra_info("peername")
        self.peer = (str(peer[0]), int(peer[1]))
        shown = tls.getpeercert(binary_form=True) if tls is not None else None
        self.visitors.show(self.visit, self.peer, shown)

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self.visitors.leave(self.visit, self.peer)
        super().connection_lost(exc)

    def handle_websocket_upgrade(self) -> None:
        """Another protocol takes it over, and is told alone when it goes."""
        super().handle_websocket_upgrade()
        taken = self.transport.get_protocol()
        if isinstance(taken, _Socket):
            taken.leave = lambda: self.visitors.leave(self.visit, self.peer)


class _Socket(WebSocketsSansIOProtocol):
    """A connection that was taken over."""

    leave: Callable[[], None]

    def connection_lost(self, exc: Exception | None) -> None:
        """It has gone."""
        self.leave()
        super().connection_lost(exc)


def client_context(certificate: tuple[Path, Path], trusted: Sequence[str]) -> ssl.SSLContext:
    """TLS of this port: 1.2 at least; asks for a client's certificate, and takes none as well."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(*certificate)
    context.verify_mode = ssl.CERT_OPTIONAL
    for pem in trusted:
        context.load_verify_locations(cadata=pem)
    return context


class _Quiet(uvicorn.Server):
    """Leaves signals to the platform."""

    @contextmanager
    def capture_signals(self) -> Generator[None]:
        """Take none."""
        yield


class AmsPort:
    """Serves the manager's application from ``/1.0`` on.

    Args:
        app: the manager's application, with the dialect at `BASE`.
        listening: the port, bound.
        certificate: of the server, chain and key.
        store: trusted clients.
    """

    def __init__(
        self,
        app: ASGIApp,
        listening: socket.socket,
        certificate: tuple[Path, Path],
        store: AmsStore,
    ) -> None:
        self._app, self._listening = app, listening
        self._context = client_context(certificate, [item.pem for item in store.trusted])
        store.on_trust = self._trust
        self._visitors = _Visitors()
        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http=_Http,
            ws=_Socket,
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        self._server = _Quiet(config)

    @property
    def port(self) -> int:
        """Its number."""
        return int(self._listening.getsockname()[1])

    def _trust(self, pem: str) -> None:
        self._context.load_verify_locations(cadata=pem)

    async def run(self) -> None:
        """Serve until cancelled; open connections get a second to end."""
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._answer)
                with anyio.fail_after(START_S):
                    while not self._server.started:
                        await anyio.sleep(LOOK_S)  # uvicorn tells no other way
                await self._accept(tasks)
        finally:
            self._listening.close()

    async def _answer(self) -> None:
        """Serve those that were let in."""
        try:
            await self._server.serve(sockets=[])
        except BaseException:
            self._server.should_exit = True
            if self._server.started:
                with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_S):
                    await self._server.shutdown(sockets=[])
            raise

    async def _accept(self, tasks: anyio.abc.TaskGroup) -> None:
        """Let in who comes, as far as there is room."""
        loop = asyncio.get_running_loop()
        while True:
            try:
                connection, address = await loop.sock_accept(self._listening)
            except OSError as error:
                if error.errno not in EXHAUSTED:
                    raise
                log.warning("ams.not_accepted", why=error.strerror)
                await anyio.sleep(PAUSE_S)
                continue
            visit = self._visitors.enter(str(address[0]))
            if visit is None:
                connection.close()
            else:
                tasks.start_soon(self._greet, connection, visit)

    async def _greet(self, connection: socket.socket, visit: Visit) -> None:
        """Agree on TLS, and hand over to the server."""
        is_served = False
        loop = asyncio.get_running_loop()
        try:
            connection.setblocking(False)
            await loop.connect_accepted_socket(
                lambda: self._protocol(loop, visit),
                connection,
                ssl=self._context,
                ssl_handshake_timeout=HANDSHAKE_S,
            )
            is_served = True
        except OSError as error:  # of TLS, too: a stranger's doing, and nothing to be told
            log.debug("ams.no_handshake", why=type(error).__name__)
        finally:
            if not is_served:
                visit.leave()
                connection.close()

    def _protocol(self, loop: asyncio.AbstractEventLoop, visit: Visit) -> asyncio.Protocol:
        server = self._server
        made = _Http(
            config=server.config,
            server_state=server.server_state,
            app_state=server.lifespan.state,
            _loop=loop,
        )
        made.visitors, made.visit = self._visitors, visit
        return made

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> None:
        """The dialect's paths, as if they had come to the public port; nothing else is here."""
        path: str = scope.get("path", "")
        if path != OWN and not path.startswith(f"{OWN}/"):
            if scope["type"] == "http":
                body = {
                    "type": "error",
                    "error": "Everything here is below /1.0.",
                    "error_code": 404,
                }
                await JSONResponse(body, 404)(scope, receive, send)
            else:
                await send({"type": "websocket.close", "code": 1008})
            return
        moved = BASE.removesuffix(OWN) + path
        inner = {
            **scope,
            "path": moved,
            "raw_path": moved.encode(),
            PREFIX: OWN,
            CERTIFICATE: self._visitors.of(scope.get("client")),
        }
        await self._app(inner, receive, send)
