"""A session's picture and sound as streams, on request: ``POST /v1/sessions/{id}/streams``.

The streamer pushes for as many seconds as were asked for; who still reads asks again. The service
of streams asks so for the people who watch by HLS.
"""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Depends

from downstage.auth.principal import Principal
from downstage.contracts import video
from downstage.contracts.gateway import SessionStreams, SessionStreamsRequest
from downstage.gateway.admission import AtHome
from downstage.gateway.rooms import Rooms
from downstage.gateway.store import Store
from downstage.kernel.errors import Conflict, NotFound, Unavailable
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.routers import ServiceAPIRouter

__all__ = ["StreamRoutes"]

Watcher = Annotated[Principal, Depends(require("sessions:read"))]


class StreamRoutes:
    """The one route.

    Args:
        store: to find sessions.
        rooms: where their streamers are.
        at_home: a session as one that this gateway drives, else `Misdirected`.
        url: of the service of streams, for streamers; empty: where their own line goes.
    """

    def __init__(self, store: Store, rooms: Rooms, at_home: AtHome, url: str | None) -> None:
        self._store, self._rooms, self._at_home = store, rooms, at_home
        self._url = url if url and url.startswith(("http://", "https://", "unix://")) else None

    def router(self) -> APIRouter:
        """The routes."""
        router = ServiceAPIRouter(tags=["sessions"])
        router.add_api_route(
            "/v1/sessions/{session_id}/streams",
            self.push,
            methods=["POST"],
            responses=refusals(404, 409, 421, 503),
        )
        return router

    async def push(
        self, session_id: str, caller: Watcher, body: SessionStreamsRequest
    ) -> SessionStreams:
        """Let the session push its picture and sound, or stop; for who owns it."""
        session = await self._store.get(session_id)
        theirs = session is not None and caller.tenant == session.tenant
        if session is None or not theirs or not _may(caller, session.owner):
            raise NotFound("There is no such session.")
        if session.life.state in ("ending", "ended"):
            raise Conflict("The session has ended.")
        await self._at_home(session)
        room = self._rooms.enter(session_id)
        try:
            if not room.push_streams(body.seconds if body.on else 0, self._url):
                raise Unavailable("The session has no picture yet.", retry_after_s=1)
        finally:
            self._rooms.tidy(room)
        source = video.session_stream(session_id)
        return SessionStreams(
            video=video.video_stream(source),
            audio=video.audio_stream(source),
            playlist=f"/hls/{source}/index.m3u8",
        )


def _may(caller: Principal, owner: str) -> bool:
    return caller.person == owner or caller.may("sessions:admin")
