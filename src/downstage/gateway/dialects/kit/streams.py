"""``/streaming/stream`` and ``/stream``: sessions in the words of Kit App Streaming.

Starting answers 202 while the session starts, 200 once pictures come. One that has ended answers
410 (or 404, as `gateway.ended_status` says): the original tells nothing of that.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import JSONResponse

from downstage.auth.principal import Principal
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.door import Door
from downstage.gateway.dialects.kit.catalogue import read_version
from downstage.gateway.dialects.kit.models import (
    ListQuery,
    Route,
    RoutesByIp,
    StartStream,
    StopStream,
    Stream,
    StreamPage,
    StreamStatus,
)
from downstage.gateway.dialects.v1 import order_key
from downstage.gateway.dialects.webclient import ICE_DECIDES, WebClient
from downstage.gateway.filters import Filter
from downstage.gateway.models import Session
from downstage.gateway.regions.score import Wish
from downstage.gateway.seats import Seats
from downstage.gateway.sessions import Order, Sessions
from downstage.gateway.wishes import Wishes
from downstage.kernel.errors import Gone, NotFound
from downstage.kernel.settings import Settings
from downstage.services.openapi import refusals, secured
from downstage.services.routers import ServiceAPIRouter

__all__ = ["StreamingRoutes"]

SIGNALING_PORT = 49100
MEDIA_PORT = 47998
"""Ports by which clients of the original know the two; ours go by their source ports."""
NEW = ("queued", "starting")
OVER = ("ending", "ended")
BASES = ("/streaming/stream", "/stream")


@dataclass(frozen=True, slots=True)
class _Words:
    condition: str
    message: str


WORDS = {
    "queued": _Words("queued", "Waiting for a free place."),
    "starting": _Words("starting", "The application starts."),
}


class StreamingRoutes:
    """The routes.

    Args:
        sessions, seats, admission: of this gateway.
        door: lets callers in.
        settings: of the platform.
        public: address by which browsers reach us.
    """

    def __init__(
        self,
        sessions: Sessions,
        seats: Seats,
        admission: Admission,
        door: Door,
        *,
        settings: Settings,
        public: str,
    ) -> None:
        self._sessions, self._seats = sessions, seats
        self._admission, self._door = admission, door
        self._ended_status = settings.gateway.ended_status
        ports = settings.media.udp_ports
        self._pages = WebClient(public.rstrip("/"), ports[0] if ports else None)

    def router(self) -> APIRouter:
        """All of them, under both names."""
        router = ServiceAPIRouter(tags=["kit"])
        own: dict[str, Any] = {
            "responses": {202: {"model": Stream}, **refusals(401, 403, 404, 410, 422, 429, 503)},
            "openapi_extra": secured(optional=True),
        }
        sees: dict[str, Any] = {**own, "dependencies": self._door.before("sessions:read")}
        acts: dict[str, Any] = {**own, "dependencies": self._door.before("sessions:write")}
        for base in BASES:
            one = f"{base}/{{session_id}}"
            router.add_api_route(base, self.page, methods=["GET"], **sees)
            router.add_api_route(base, self.start, methods=["POST"], response_model=Stream, **acts)
            router.add_api_route(base, self.stop, methods=["DELETE"], **acts)
            router.add_api_route(one, self.get, methods=["GET"], response_model=Stream, **sees)
            router.add_api_route(one, self.stop_one, methods=["DELETE"], **acts)
        return router

    async def start(
        self,
        body: StartStream,
        request: Request,
        idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
    ) -> Response:
        """Start an application."""
        caller, _ = await self._door.caller(request, "sessions:write")
        key = order_key(caller, idempotency_key, await request.body())
        session = await self._sessions.create(
            Order(
                tenant=caller.tenant,
                owner=caller.subject,
                username=caller.name,
                application=body.id,
                version=read_version(body.version),
                stage=body.arguments.usd_stage_uri or None,
                wishes=Wishes(profile=body.profile or None),
                where=Wish(address=request.client.host if request.client else None),
                act=caller.person,
                dialect="kit",
                wait=True,
                key=key,
            )
        )
        link = await self._seats.link(session, session.owner)
        return self._answer(session, url=link.join_url)

    async def get(self, session_id: str, request: Request) -> Response:
        """One stream: 202 while it starts, 200 when it is ready."""
        caller, _ = await self._door.caller(request, "sessions:read")
        session = await self._own(caller, session_id, "sessions:read")
        self._check_living(session)
        if caller.subject == session.owner:
            await self._sessions.note_asked(session)
        return self._answer(session)

    async def page(self, request: Request, query: Annotated[ListQuery, Query()]) -> StreamPage:
        """Streams that the caller may see and that have not ended."""
        caller, _ = await self._door.caller(request, "sessions:read")
        owner = None if caller.may("sessions:admin") else caller.subject
        found = await self._sessions.store.sorted(
            Filter(caller.tenant, owner, query.username, self._sessions.now().wall),
            by="username" if query.sort_by == "username" else "created_at",
            descending=query.order == "DESC",
            limit=query.limit,
            offset=query.offset,
        )
        items = [self._stream(session) for session in found]
        return StreamPage(offset=query.offset, limit=query.limit, count=len(items), items=items)

    async def stop(self, body: StopStream, request: Request) -> str:
        """End the stream that the body names."""
        return await self.stop_one(body.id, request)

    async def stop_one(self, session_id: str, request: Request) -> str:
        """End a stream."""
        caller, _ = await self._door.caller(request, "sessions:write")
        session = await self._own(caller, session_id, "sessions:write")
        self._check_living(session)
        await self._sessions.end(session.id)
        return "OK"

    async def _own(self, caller: Principal, session_id: str, scope: str) -> Session:
        return await self._admission.session(caller, session_id, scope)

    def _check_living(self, session: Session) -> None:
        if session.life.state != "ended":
            return
        text = f"This stream has ended: {session.life.detail or session.life.reason or 'stopped'}."
        if self._ended_status == NotFound.status:
            raise NotFound(text)
        raise Gone(text, reason=session.life.reason)

    def _answer(self, session: Session, *, url: str | None = None) -> Response:
        body = self._stream(session, url=url).model_dump(mode="json")
        return JSONResponse(body, 202 if session.life.state in NEW else 200)

    def _stream(self, session: Session, *, url: str | None = None) -> Stream:
        state = session.life.state
        words = WORDS.get(state) or _Words(
            "ending" if state in OVER else "ready",
            "It ends." if state in OVER else "Pictures come.",
        )
        return Stream(
            id=session.id,
            routes={self._pages.host: RoutesByIp(routes=self._routes())},
            status=StreamStatus(
                condition=words.condition,
                message=session.life.detail or words.message,
                status=words.condition == "ready",
            ),
            url=url or self._pages.url(session),
        )

    def _routes(self) -> list[Route]:
        media = self._pages.media_port or ICE_DECIDES
        return [
            Route(
                description="signaling",
                source_port=self._pages.port,
                destination_port=SIGNALING_PORT,
                protocol="TCP",
            ),
            Route(
                description="media",
                source_port=media,
                destination_port=MEDIA_PORT,
                protocol="UDP",
            ),
        ]
