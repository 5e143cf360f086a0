"""Ways to serve an application for a test: one a scheme."""

from __future__ import annotations

import socket
import tempfile
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import trustme

from downstage.services.registry import put_app, remove_app
from downstage.services.server import Server, open_port, open_unix
from downstage.services.transports.http import close_pool
from downstage.services.transports.local import close_local

__all__ = ["Authority", "serve_http", "serve_local", "serve_unix"]


@asynccontextmanager
async def serve_local(app: Any) -> AsyncGenerator[str]:
    put_app("contract", app)
    try:
        yield "local://contract"
    finally:
        remove_app("contract")
        await close_local()


@asynccontextmanager
async def serve_http(
    app: Any, scheme: str = "http", certificate: tuple[Path, Path] | None = None
) -> AsyncGenerator[str]:
    sock = open_port("127.0.0.1", 0)
    async with _serving(app, sock, certificate):
        yield f"{scheme}://localhost:{sock.getsockname()[1]}"


@asynccontextmanager
async def serve_unix(app: Any) -> AsyncGenerator[str]:
    with tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as folder:
        path = Path(folder) / "a b.sock"
        async with _serving(app, open_unix(path), None):
            yield f"unix://{folder}/a%20b.sock"


@asynccontextmanager
async def _serving(
    app: Any, sock: socket.socket, certificate: tuple[Path, Path] | None
) -> AsyncGenerator[None]:
    server = Server(app, [sock], certificate=certificate)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        try:
            yield
        finally:
            with anyio.CancelScope(shield=True):
                await close_pool()
            server.stop()


class Authority:
    """A certificate authority of one test run, with a server's certificate and a client's."""

    def __init__(self, folder: Path) -> None:
        authority = trustme.CA()
        self.ca_file = folder / "ca.pem"
        authority.cert_pem.write_to_path(str(self.ca_file))
        self.server = self._pair(folder, "server", authority.issue_cert("localhost"))
        self.client = self._pair(folder, "client", authority.issue_cert("client.invalid"))

    @staticmethod
    def _pair(folder: Path, name: str, leaf: trustme.LeafCert) -> tuple[Path, Path]:
        certificate, key = folder / f"{name}.pem", folder / f"{name}.key"
        leaf.cert_chain_pems[0].write_to_path(str(certificate))
        leaf.private_key_pem.write_to_path(str(key))
        return certificate, key
