"""Our own dialects wired together: plain HTTP, uploads, actions, events, the socket, the origin."""

from __future__ import annotations

from downstage.content.dialects import linking, living, operations, pushing
from downstage.content.dialects.described import described_router
from downstage.content.dialects.events_stream import EventRoutes
from downstage.content.dialects.http import PREFIX, Files
from downstage.content.dialects.origin import Links, Origin
from downstage.content.dialects.routes import ActionRoutes
from downstage.content.dialects.signing import Signer
from downstage.content.dialects.socket import PATH, FilesSocket
from downstage.content.dialects.tickets import Tickets
from downstage.content.dialects.tus import PREFIX as UPLOADS
from downstage.content.dialects.tus import Tus
from downstage.content.directory import Callers
from downstage.content.service import Content
from downstage.contracts.content import MAX_FRAME
from downstage.services.application import ServiceApp
from downstage.services.context import ServiceContext
from downstage.services.fronts import Front
from downstage.services.origins import own_origins
from downstage.services.registry import create_app

__all__ = ["Native"]


class Native:
    """Makes them and serves them.

    Args:
        context: of the service.
        content: the store.
        callers: makes callers of principals.
        signer: of this service.

    Attributes:
        socket: serves the socket; others register operations with its `ops`.
        links: makes signed links.
        origin: the application of the content origin.
    """

    def __init__(
        self, context: ServiceContext, content: Content, callers: Callers, signer: Signer
    ) -> None:
        settings = context.settings.content
        self._context = context
        self._content = content
        self._callers = callers
        self._authenticator = context.app.state.authenticator
        self._idle_s = settings.idle_deadline.total_seconds()
        self._lease_s = settings.lock_lease.total_seconds()
        self._pages = own_origins(context.urls.public, context.settings.platform.origins)
        self._tickets = Tickets(context.clock)
        longest_s = settings.link_lifetime.total_seconds()
        self.links = Links(signer, context.clock, context.urls.content, longest_s)
        self.socket = self._make_socket(signer)
        self._shown = Origin(content, callers, self.links, pages=self._pages, idle_s=self._idle_s)
        self.origin = self._make_origin()

    def serve(self) -> None:
        """Put everything in its place."""
        context, content, callers = self._context, self._content, self._callers
        files = Files(content, callers, self._authenticator, idle_s=self._idle_s)
        life = context.settings.content.upload_expiry
        uploads = Tus(content, callers, self._authenticator, idle_s=self._idle_s, life=life)
        context.front(PREFIX, files)
        context.front(UPLOADS, uploads)
        context.front(PATH, self.socket, max_message=MAX_FRAME)
        context.public(described_router(files, uploads, self.socket))
        address = context.urls.public.replace("http", "ws", 1) + PATH
        actions = ActionRoutes(
            content,
            callers,
            self.links,
            self._tickets,
            lease_s=self._lease_s,
            socket_url=address,
        )
        context.public(actions.router())
        self.events = EventRoutes(content, callers, self._authenticator)
        context.public(self.events.router())
        context.start(self.socket.run, name="socket-tokens")
        context.start(self.events.run, name="event-streams")

    def metrics(self) -> list[str]:
        """Sockets and refusals, for Prometheus; labels come from sets that we know."""
        lines = [
            "# HELP downstage_files_sockets Sockets of files that are open.",
            "# TYPE downstage_files_sockets gauge",
            f"downstage_files_sockets {self.socket.count}",
            "# HELP downstage_files_refused_total Who was not let in, and why.",
            "# TYPE downstage_files_refused_total counter",
        ]
        for door, causes in (("socket", self.socket.refused), ("origin", self._shown.refused)):
            lines += [
                f'downstage_files_refused_total{{door="{door}",cause="{cause}"}} {number}'
                for cause, number in sorted(causes.items())
            ]
        return lines

    def _make_socket(self, signer: Signer) -> FilesSocket:
        settings = self._context.settings.content
        socket = FilesSocket(
            self._content,
            self._callers,
            self._authenticator,
            self._tickets,
            signer,
            origins=self._pages,
            lease_s=self._lease_s,
            grace_s=settings.lock_grace.total_seconds(),
        )
        operations.register(socket.ops, self._content, self._callers, self._lease_s)
        pushing.register(socket.ops, self._content)
        linking.register(socket.ops, self._content, self.links)
        living.register(socket.ops, self._content)
        return socket

    def _make_origin(self) -> ServiceApp:
        app = create_app("Downstage content origin")
        app.put_front(Front("/", self._shown, owner=self._context.id))
        return app
