"""Video, put in its place. What codes is loaded when somebody first asks for it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import anyio
import anyio.to_thread
from starlette.types import Receive, Scope, Send

from downstage.streams.ground import Ground, Part

if TYPE_CHECKING:
    from downstage.streams.video.hls import Hls

__all__ = ["Video", "wire"]


class Video(Part):
    """HLS, RTMP and pulled cameras.

    Args:
        ground: of the service.
    """

    def __init__(self, ground: Ground) -> None:
        self._ground = ground
        self._hls: Hls | None = None
        self._loading = anyio.Lock()

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

    def metrics(self) -> list[str]:
        """What is on air, and what of it was sent."""
        if self._hls is None:
            return []
        return [
            "# TYPE downstage_hls_channels gauge",
            f"downstage_hls_channels {len(self._channels)}",
            "# TYPE downstage_hls_held_bytes gauge",
            f"downstage_hls_held_bytes {self._channels.held_bytes}",
            "# TYPE downstage_hls_sent_bytes_total counter",
            f"downstage_hls_sent_bytes_total {self._hls.served}",
        ]


async def wire(ground: Ground) -> Part:
    """Serve ``/hls``."""
    video = Video(ground)
    ground.context.front("/hls/", video.hls)
    return video
