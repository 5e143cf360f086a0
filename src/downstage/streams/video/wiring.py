"""Video, put in its place. What codes is loaded when somebody first asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import anyio
import anyio.to_thread
from starlette.types import Receive, Scope, Send

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.kernel.net import Guard
from downstage.streams.documents import Documents
from downstage.streams.ground import Ground, Part
from downstage.streams.video.keys import StreamKeys
from downstage.streams.video.nginx import find_nginx
from downstage.streams.video.pulling import Pulls
from downstage.streams.video.routes import VideoRoutes

if TYPE_CHECKING:
    from downstage.streams.video.hls import Hls
    from downstage.streams.video.rtmp import Rtmp
    from downstage.streams.video.views import Views

__all__ = ["Video", "wire"]

log = get_logger(__name__)


class Video(Part):
    """HLS, RTMP and pulled cameras.

    Args:
        ground: of the service.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._hls: Hls | None = None
        self._views: Views | None = None
        self._loading = anyio.Lock()
        self._documents: Documents | None = None
        self._pulls: Pulls | None = None
        self._rtmp: Rtmp | None = None

    async def hls(self, scope: Scope, receive: Receive, send: Send) -> None:
        """``/hls/…`` as an ASGI application; also for a port of its own."""
        if self._hls is None:
            async with self._loading:
                if self._hls is None:
                    self._hls = await anyio.to_thread.run_sync(self._load)
        await self._hls(scope, receive, send)

    def _load(self) -> Hls:
        from downstage.streams.video.channels import Channels
        from downstage.streams.video.hls import Hls
        from downstage.streams.video.passes import Passes
        from downstage.streams.video.sessions import SessionGate

        context, callers = self._ground.context, self._ground.callers
        gate = SessionGate(lambda person: context.client("gateway", act=person), context.clock)
        self._channels = Channels(self._ground.streams, gate, context.start)
        return Hls(self._channels, callers, Passes(context.clock), self._ground.origins)

    async def views(self) -> Views:
        """What is watched by WebRTC."""
        if self._views is None:
            async with self._loading:
                if self._views is None:
                    self._views = await anyio.to_thread.run_sync(self._load_views)
        return self._views

    def _load_views(self) -> Views:
        from downstage.streams.video.views import Views

        context = self._ground.context
        return Views(self._ground.streams, context.settings.media, context.start)

    def metrics(self) -> list[str]:
        """What is on air, what of it was sent, and who publishes."""
        lines = list[str]()
        if self._hls is not None:
            lines += _metric("hls_channels", "Pictures on air.", len(self._channels))
            held = self._channels.held_bytes
            lines += _metric("hls_held_bytes", "Segments in memory.", held)
            lines += _metric("hls_sent_bytes_total", "Sent to players.", self._hls.served)
        if self._rtmp is not None:
            lines += _metric("rtmp_publishers", "Publishers who send now.", len(self._rtmp.live))
            refused = sum(self._rtmp.refused.values())
            lines += _metric("rtmp_refused_total", "Publishers not let in.", refused)
        if self._pulls is not None and self._pulls.all:
            live = sum(pull.state == "live" for pull in self._pulls.all)
            lines += _metric("pulled_sources", "Cameras that are read now.", live)
        return lines

    # Publishers and cameras

    async def open_in(self) -> None:
        """Serve the routes, take publishers where a port is set, pull what was pulled before."""
        ground = self._ground
        context, settings = ground.context, ground.context.settings.streams
        documents = self._documents = Documents(ground.folder / "video.db")
        keys = StreamKeys(documents, context.clock)
        self._pulls = Pulls(ground.streams, documents, Guard(settings.pull_hosts), context.start)
        host = urlsplit(context.urls.public).hostname or "localhost"
        routes = VideoRoutes(ground.callers, keys, self._pulls, host, self.views)
        context.public(routes.router())
        context.start(self._resume, name="pulls")
        if settings.rtmp_port is not None:
            self._open_rtmp(routes, keys, settings.rtmp_port)

    async def _resume(self) -> None:
        if self._pulls is not None:
            await self._pulls.resume()

    def _open_rtmp(self, routes: VideoRoutes, keys: StreamKeys, port: int) -> None:
        from downstage.streams.video.rtmp import Rtmp

        ground = self._ground
        context, wanted = ground.context, ground.context.settings.streams.rtmp_server
        found = None if wanted == "pyav" else find_nginx()
        rtmp = routes.rtmp = self._rtmp = Rtmp(
            ground.streams,
            keys,
            ground.folder / "rtmp",
            host=context.settings.platform.host,
            port=port,
            start=context.start,
        )
        if found is not None and found.module is not None:
            context.start(rtmp.run_nginx, found, name="rtmp")
            return
        if wanted == "nginx":
            raise SetupError("nginx with its RTMP module is not there: see downstage doctor.")
        log.warning("rtmp.one_publisher", why="nginx with its RTMP module is not there")
        context.start(rtmp.run_listener, name="rtmp")

    async def stop(self) -> None:
        """Close what keys and sources are kept in."""
        if self._documents is not None:
            await self._documents.close()


async def wire(ground: Ground) -> Part:
    """Serve ``/hls``, keys and sources; take publishers."""
    video = Video(ground)
    ground.context.front("/hls/", video.hls)
    await video.open_in()
    return video


def _metric(name: str, what: str, value: float) -> list[str]:
    kind = "counter" if name.endswith("_total") else "gauge"
    name = f"downstage_{name}"
    return [f"# HELP {name} {what}", f"# TYPE {name} {kind}", f"{name} {value}"]
