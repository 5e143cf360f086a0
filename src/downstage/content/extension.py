"""Content as the service host starts it: the one place where its parts are wired."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import ClassVar
from urllib.parse import urlsplit

import anyio
import anyio.to_thread

from downstage.content.credentials import Credentials, IdentityService
from downstage.content.dialects import operations, pushing, s3, webdav
from downstage.content.dialects.http import PREFIX, Files
from downstage.content.dialects.nucleus.accounts import IdentityAccounts
from downstage.content.dialects.nucleus.routes import Doorkeeper, Nucleus
from downstage.content.dialects.origin import Links, Origin
from downstage.content.dialects.s3 import S3
from downstage.content.dialects.signing import Signer
from downstage.content.dialects.socket import PATH, FilesSocket
from downstage.content.dialects.tickets import Tickets
from downstage.content.dialects.webdav import WebDav
from downstage.content.directory import Callers, IdentityDirectory
from downstage.content.service import Content, open_content
from downstage.contracts.content import MAX_FRAME
from downstage.services.application import ServiceApp
from downstage.services.context import ServiceContext
from downstage.services.extension import IExt
from downstage.services.fronts import Front
from downstage.services.registry import create_app

__all__ = ["Extension"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")


class Extension(IExt):
    """Opens the store, wires the dialects, serves the routes.

    Attributes:
        content, callers, socket: as they run, for tests in the same process.
        origin: the application of the content origin; whoever serves opens its port.
    """

    requires: ClassVar[Mapping[str, str]] = {"identity": "?"}

    content: Content
    callers: Callers
    socket: FilesSocket
    origin: ServiceApp

    _content: Content | None = None
    _socket: FilesSocket | None = None
    _origin: Origin | None = None
    _nucleus: Nucleus | None = None

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything."""
        del ext_id
        context = self.context
        folder = context.settings.content.folder or context.data / "content"
        await anyio.to_thread.run_sync(_make_private, folder)
        signer = await anyio.to_thread.run_sync(Signer, folder / "content.key", context.clock)
        content = self._content = await open_content(folder, clock=context.clock)
        directory = IdentityDirectory(context.client("identity"), context.bus, context.clock)
        self.content, self.callers = content, Callers(directory)
        context.start(directory.run, name="directory")
        self._wire(context, content, self.callers, signer)

    def _wire(
        self, context: ServiceContext, content: Content, callers: Callers, signer: Signer
    ) -> None:
        settings, authenticator = context.settings.content, context.app.state.authenticator
        idle_s = settings.idle_deadline.total_seconds()
        pages = own_origins(context.urls.public, context.settings.platform.origins)
        files = Files(content, callers, authenticator, idle_s=idle_s)
        tickets = Tickets(context.clock)
        socket = self.socket = self._socket = FilesSocket(
            content,
            callers,
            authenticator,
            tickets,
            signer,
            origins=pages,
            lease_s=settings.lock_lease.total_seconds(),
            grace_s=settings.lock_grace.total_seconds(),
        )
        operations.register(socket.ops, content, callers, settings.lock_lease.total_seconds())
        pushing.register(socket.ops, content)
        longest_s = settings.link_lifetime.total_seconds()
        links = Links(signer, context.clock, context.urls.content, longest_s)
        origin = self._origin = Origin(content, callers, links, pages=pages, idle_s=idle_s)
        self.origin = create_app("Downstage content origin")
        self.origin.put_front(Front("/", origin, owner=context.id))
        context.front(PREFIX, files)
        context.front(PATH, socket, max_message=MAX_FRAME)
        context.start(socket.run, name="tokens")
        self._wire_protocols(context, content, callers, idle_s)
        self._wire_nucleus(context, content, callers)

    @staticmethod
    def _wire_protocols(
        context: ServiceContext, content: Content, callers: Callers, idle_s: float
    ) -> None:
        """WebDAV and S3."""
        identity = IdentityService(context.client("identity"))
        credentials = Credentials(context.app.state.authenticator, callers, identity, context.clock)
        dav = WebDav(content, credentials, idle_s=idle_s)
        keys = S3(content, content.uploads, credentials, context.clock, idle_s=idle_s)
        context.front(webdav.PREFIX, dav)
        context.front(s3.PREFIX, keys)

    def _wire_nucleus(self, context: ServiceContext, content: Content, callers: Callers) -> None:
        """``omniverse://``, below ``/omni``."""
        folder = context.settings.content.folder or context.data / "content"
        uri = context.settings.services.identity or "local://identity"
        nucleus = self._nucleus = Nucleus(
            content,
            Doorkeeper(context.app.state.authenticator, callers),
            IdentityAccounts(context.client("identity"), uri),
            folder / "nucleus",
            context.clock,
            grace_s=context.settings.content.lock_grace.total_seconds(),
        )
        for path, app, max_message in nucleus.fronts():
            context.front(path, app, max_message=max_message)
        context.start(nucleus.run, name="nucleus-uploads")

    async def on_shutdown(self) -> None:
        """End the sockets, finish what is being written, close the store."""
        if self._socket is not None:
            await self._socket.stop()
        if self._nucleus is not None:
            await self._nucleus.stop()
        if self._content is not None:
            await self._content.close()

    def metrics(self) -> list[str]:
        """Sockets and refusals, for Prometheus."""
        if self._socket is None or self._origin is None:
            return []
        lines = ["# TYPE downstage_files_sockets gauge"]
        lines.append(f"downstage_files_sockets {self._socket.count}")
        lines.append("# TYPE downstage_files_refused_total counter")
        for door, causes in (("socket", self._socket.refused), ("origin", self._origin.refused)):
            lines += [
                f'downstage_files_refused_total{{door="{door}",cause="{cause}"}} {number}'
                for cause, number in sorted(causes.items())
            ]
        return lines


def own_origins(public: str, further: list[str]) -> frozenset[str]:
    """Origins of our pages: the public address, its other names on loopback, and *further*."""
    parts = urlsplit(public)
    found = {f"{parts.scheme}://{parts.netloc}".lower()}
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if host in LOOPBACK:
        port = f":{parts.port}" if parts.port else ""
        found |= {f"{parts.scheme}://{name}{port}" for name in LOOPBACK}
    return frozenset(found | {item.rstrip("/").lower() for item in further})


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
