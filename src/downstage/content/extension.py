"""Content as the service host starts it: the one place where its parts are wired."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import ClassVar

import anyio
import anyio.to_thread

from downstage.content.credentials import Credentials, IdentityService
from downstage.content.dialects import s3, webdav
from downstage.content.dialects.native import Native
from downstage.content.dialects.nucleus.accounts import IdentityAccounts
from downstage.content.dialects.nucleus.routes import Doorkeeper, Nucleus
from downstage.content.dialects.origin import Links
from downstage.content.dialects.pictures import PictureRoutes
from downstage.content.dialects.s3 import S3, SignedFirst
from downstage.content.dialects.signing import Signer
from downstage.content.dialects.socket import FilesSocket
from downstage.content.dialects.webdav import WebDav
from downstage.content.directory import Callers, IdentityDirectory
from downstage.content.limits import Limits
from downstage.content.service import Content, open_content
from downstage.content.thumbnails import Thumbnails, identity_office
from downstage.kernel.settings import Settings
from downstage.services.application import ServiceApp
from downstage.services.context import ServiceContext
from downstage.services.extension import IExt
from downstage.spawners.errand import Errands
from downstage.spawners.probe import IsolationFound

__all__ = ["Extension"]


class Extension(IExt):
    """Opens the store, wires the dialects, serves the routes.

    Attributes:
        content, callers, socket, links: as they run, for tests in the same process.
        origin: the application of the content origin; whoever serves opens its port.
    """

    requires: ClassVar[Mapping[str, str]] = {"identity": "?"}

    content: Content
    callers: Callers
    socket: FilesSocket
    links: Links
    origin: ServiceApp

    _content: Content | None = None
    _native: Native | None = None
    _nucleus: Nucleus | None = None

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything."""
        del ext_id
        context = self.context
        folder = context.settings.content.folder or context.data / "content"
        await anyio.to_thread.run_sync(_make_private, folder)
        signer = await anyio.to_thread.run_sync(Signer, folder / "content.key", context.clock)
        content = self._content = await open_content(
            folder, clock=context.clock, limits=Limits.of(context.settings.content)
        )
        directory = IdentityDirectory(context.client("identity"), context.bus, context.clock)
        self.content, self.callers = content, Callers(directory)
        context.start(directory.run, name="directory")
        context.start(content.care.run, name="files-care")
        context.start(content.live.run, name="files-live")
        self._wire(context, content, self.callers, signer)

    def _wire(
        self, context: ServiceContext, content: Content, callers: Callers, signer: Signer
    ) -> None:
        native = self._native = Native(context, content, callers, signer)
        self.socket, self.origin, self.links = native.socket, native.origin, native.links
        native.serve()
        idle_s = context.settings.content.idle_deadline.total_seconds()
        self._wire_protocols(context, content, callers, idle_s)
        self._wire_pictures(context, content, callers)
        self._wire_nucleus(context, content, callers)

    def _wire_protocols(
        self, context: ServiceContext, content: Content, callers: Callers, idle_s: float
    ) -> None:
        """WebDAV and S3."""
        identity = IdentityService(context.client("identity"))
        credentials = Credentials(context.app.state.authenticator, callers, identity, context.clock)
        dav = WebDav(content, credentials, idle_s=idle_s)
        context.front(webdav.PREFIX, dav)

        def below(prefix: str) -> S3:
            return S3(
                content,
                content.uploads,
                credentials,
                context.clock,
                prefix=prefix,
                idle_s=idle_s,
            )

        context.front(s3.PREFIX, below(s3.PREFIX))
        shown = self.origin.fronts.find("/") if self.origin.fronts is not None else None
        if shown is not None:
            self.origin.put_front(replace(shown, app=SignedFirst(below(""), shown.app)))

    @staticmethod
    def _wire_pictures(context: ServiceContext, content: Content, callers: Callers) -> None:
        """Thumbnails of stages, drawn behind the walls that applications have."""
        bare = IsolationFound("none", has_size=False) if is_bare(context.settings) else None
        thumbnails = Thumbnails(
            content,
            identity_office(context.client("identity")),
            (context.settings.content.folder or context.data / "content") / "thumbnails",
            public=context.urls.public,
            sockets=context.urls.content_folder,
            errands=Errands(bare),
        )
        context.public(PictureRoutes(thumbnails, content.live, callers).router())

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
        if self._native is not None:
            await self._native.socket.stop()
        if self._nucleus is not None:
            await self._nucleus.stop()
        if self._content is not None:
            await self._content.close()

    def metrics(self) -> list[str]:
        """Sockets, refusals and the care of what is stored, for Prometheus."""
        if self._native is None or self._content is None:
            return []
        return [*self._native.metrics(), *self._content.care.metrics()]


def is_bare(settings: Settings) -> bool:
    """Whether applications are to run without walls, and so the programs that draw."""
    return settings.manager.isolation == "none"


def _make_private(folder: Path) -> None:
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
