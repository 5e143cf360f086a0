"""The dialect's own port: TLS that asks for a client certificate, and paths from ``/1.0`` on.

Python's TLS checks a client's certificate against authorities and knows no other way. So each
trusted certificate is an authority here: those that sign themselves pass, as this dialect's do, and
a certificate that is not trusted fails in the handshake. Which one it was is looked up again for
each request: what was distrusted meanwhile is let in no more.
"""

from __future__ import annotations

import socket
import ssl
from collections import OrderedDict
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import uvicorn
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.manager.dialects.ams.callers import CERTIFICATE
from downstage.manager.dialects.ams.envelope import BASE, PREFIX
from downstage.manager.dialects.ams.store import AmsStore
from downstage.services.connections import Connection

__all__ = ["AmsPort", "client_context"]

OWN = "/1.0"
MOST_PEERS = 10_000
MAX_MESSAGE = 1 << 20
STOP_S = 2.0
Peer = tuple[str, int]


class _Peers:
    """Which certificate each connection showed; the oldest is forgotten at the bound.

    A new connection from the same address and port always says anew what it showed, so that
    nothing of an old one counts for it.
    """

    def __init__(self) -> None:
        self._shown: OrderedDict[Peer, bytes | None] = OrderedDict()

    def note(self, peer: Peer, certificate: bytes | None) -> None:
        self._shown[peer] = certificate
        self._shown.move_to_end(peer)
        while len(self._shown) > MOST_PEERS:
            self._shown.popitem(last=False)

    def of(self, client: object) -> bytes | None:
        return self._shown.get(tuple(client)) if isinstance(client, list | tuple) else None  # pyright: ignore[reportUnknownArgumentType]


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
        peers = self._peers = _Peers()

        class Protocol(Connection):
            """Notes the certificate of each connection; bounds heads, as on every other port."""

            def connection_made(self, transport: Any) -> None:
                super().connection_made(transport)
                tls = transport.get_extra_info("ssl_object")
                peer = transport.get_extra_info("peername")
                shown = tls.getpeercert(binary_form=True) if tls is not None else None
                peers.note((str(peer[0]), int(peer[1])), shown)

        config = uvicorn.Config(
            self._serve,
            interface="asgi3",
            http=Protocol,
            ws="websockets-sansio",
            ws_max_size=MAX_MESSAGE,
            ws_per_message_deflate=False,
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=1,
        )
        config.load()
        config.ssl = self._context
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
            await self._server.serve(sockets=[self._listening])
        except BaseException:
            self._server.should_exit = True
            if self._server.started:
                with anyio.CancelScope(shield=True), anyio.move_on_after(STOP_S):
                    await self._server.shutdown(sockets=[self._listening])
            raise
        finally:
            self._listening.close()

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
            CERTIFICATE: self._peers.of(scope.get("client")),
        }
        await self._app(inner, receive, send)
