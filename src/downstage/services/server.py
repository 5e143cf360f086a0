"""uvicorn on sockets that we opened: several in one loop, no signal handlers of its own."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Generator
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.types import ASGIApp
from uvicorn.protocols.websockets.websockets_sansio_impl import WebSocketsSansIOProtocol
from websockets.http11 import Request

from downstage.kernel.errors import SetupError
from downstage.kernel.limits import MAX_SIGNALLING
from downstage.services.application import ServiceApp
from downstage.services.connections import Connection, socket_scope
from downstage.services.forwarded import Forwarded

__all__ = ["Server", "open_port", "open_unix"]

BACKLOG = 512
UNSENT = 128 * 1024
"""Bytes that wait in the kernel before a writer must wait: about 150 ms of a 6 Mbit/s picture."""


class _Quiet(uvicorn.Server):
    """The platform handles signals for all its servers at once."""

    @contextlib.contextmanager
    def capture_signals(self) -> Generator[None]:
        yield


def _socket_protocol(app: ASGIApp) -> type[WebSocketsSansIOProtocol]:
    """A protocol of uvicorn's whose messages may be as large as *app* says for each path."""
    if not isinstance(app, ServiceApp):
        return WebSocketsSansIOProtocol
    limit, front_of = app.max_message, app.front_of_socket

    class Limited(WebSocketsSansIOProtocol):
        def handle_connect(self, event: Request) -> None:
            self.conn.max_message_size = limit(event.path)  # before the first message
            front = front_of(event.path)
            if front is not None and front.raw is not None:
                self.ping_interval = self.ping_timeout = front.idle_s / 2
            super().handle_connect(event)

        async def send(self, message: Any) -> None:
            await super().send(message)
            if message["type"] == "websocket.http.response.body" and self.close_sent:
                self.handshake_complete = True  # else each refusal is logged as an error of ours

    return Limited


def _http_protocol(app: ASGIApp, forwarded: Forwarded | None) -> type[Connection]:
    """A protocol of uvicorn's that hands sockets of `SocketHandler`s over to them."""
    if not isinstance(app, ServiceApp):
        return Connection
    service = app

    class Handing(Connection):
        def handle_websocket_upgrade(self) -> None:
            front = service.front_of_socket(self.url.decode("latin-1"))
            if front is None or front.raw is None or service.fronts is None:
                super().handle_websocket_upgrade()
                return
            self.connections.discard(self)
            scope = socket_scope(self)
            if forwarded is not None:
                forwarded.read(scope)
            service.fronts.open(front, scope, self.transport, self.server_state, self.early())

    return Handing


class Server:
    """Serves one application on some sockets until it is told to stop.

    Args:
        app: what is served.
        sockets: that listen.
        trusted: addresses or networks of proxies that are believed.
        certificate: chain and key, PEM.
        raw_sockets: read and write sockets of `SocketHandler`s ourselves; without, uvicorn does.
    """

    def __init__(
        self,
        app: ASGIApp,
        sockets: list[socket.socket],
        *,
        trusted: list[str] | None = None,
        certificate: tuple[Path, Path] | None = None,
        raw_sockets: bool = True,
    ) -> None:
        forwarded = Forwarded(app, trusted) if trusted else None
        config = uvicorn.Config(
            forwarded or app,
            http=_http_protocol(app, forwarded) if raw_sockets else Connection,
            ws=_socket_protocol(app),
            ws_max_size=MAX_SIGNALLING,
            ws_per_message_deflate=False,
            ws_ping_interval=20,
            ws_ping_timeout=20,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,  # `Forwarded` and the application's edge read, and strip, them
            timeout_graceful_shutdown=1,
            timeout_keep_alive=30,
            ssl_certfile=str(certificate[0]) if certificate else None,
            ssl_keyfile=str(certificate[1]) if certificate else None,
        )
        self._server = _Quiet(config)
        self._sockets = sockets

    async def run(self) -> None:
        """Serve until `stop` or cancellation; open connections get a second to end."""
        try:
            await self._server.serve(sockets=self._sockets)
        except BaseException:
            self._server.should_exit = True
            if self._server.started:
                with anyio.CancelScope(shield=True), anyio.move_on_after(2):
                    await self._server.shutdown(sockets=self._sockets)
            raise
        finally:
            for sock in self._sockets:
                sock.close()

    async def wait_started(self, deadline_s: float = 10) -> None:
        """Return once it accepts connections."""
        with anyio.fail_after(deadline_s):
            while not self._server.started:
                await anyio.sleep(0.005)  # uvicorn tells no other way

    def stop(self) -> None:
        """Ask `run` to return."""
        self._server.should_exit = True


def open_port(host: str, port: int) -> socket.socket:
    """A listening TCP socket; port 0 takes a free one.

    Raises:
        SetupError: the port is taken or not ours to take; says how to choose another.
    """
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # asyncio turns Nagle's algorithm off for sockets that say TCP alone; with it each answer in two
    # parts waits 40 ms. Accepted sockets inherit the option, whatever the loop does.
    sock = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Else the kernel takes megabytes for a viewer who reads slowly: pictures grow old there.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, UNSENT)
        sock.bind((host, port))
        sock.listen(BACKLOG)
        sock.setblocking(False)
    except OSError as error:
        sock.close()
        raise SetupError(
            f"Cannot listen on {host}:{port}: {error.strerror}. "
            "Choose another with --port, or stop the program that holds it.",
            port=port,
        ) from error
    return sock


def open_unix(path: Path) -> socket.socket:
    """A listening unix socket at *path*, mode 0600; a stale one is replaced.

    Raises:
        SetupError: somebody listens there, it is no socket, or the path is too long.
    """
    _remove_stale(path)
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        sock.bind(str(path))
    except OSError as error:
        sock.close()
        raise SetupError(
            f"Cannot make the socket {path}: {error.strerror or error}. Unix sockets need a path "
            "under 108 characters: choose a shorter --data folder.",
        ) from error
    path.chmod(0o600)
    sock.listen(BACKLOG)
    sock.setblocking(False)
    return sock


def _remove_stale(path: Path) -> None:
    if not path.exists():
        return
    if not path.is_socket():
        raise SetupError(f"{path} stands where a socket must be made. Move it away.")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1)
        try:
            probe.connect(str(path))
        except OSError:
            path.unlink(missing_ok=True)
            return
    raise SetupError(f"Another Downstage runs with this data folder: it listens on {path}.")
