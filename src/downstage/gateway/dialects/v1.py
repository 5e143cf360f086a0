"""Our own API, ``/v1``: applications, sessions, links, seats, tickets, sockets."""

from __future__ import annotations

from collections.abc import AsyncIterator
from hashlib import sha256
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Header, Query, Request, Response
from sse_starlette import EventSourceResponse, ServerSentEvent
from starlette.websockets import WebSocket

from downstage.auth.principal import Principal
from downstage.contracts.gateway import (
    JoinLink,
    SeatAnswer,
    SeatRequest,
    SessionCreate,
    SessionCreated,
    SessionPage,
    SessionView,
    SocketTicket,
    SocketTicketRequest,
)
from downstage.contracts.manager import ApplicationPage
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.standing import while_standing
from downstage.gateway.filters import Filter
from downstage.gateway.link import Links
from downstage.gateway.media import MediaRelay
from downstage.gateway.models import Key
from downstage.gateway.regions.score import Wish
from downstage.gateway.seats import Seats
from downstage.gateway.sessions import Order, Sessions
from downstage.gateway.sharing import preflight, shared_with
from downstage.gateway.signalling import Signalling
from downstage.gateway.wishes import Wishes
from downstage.kernel.errors import Forbidden, InvalidField, NotFound
from downstage.services.facilities.principal import context_authenticator, require
from downstage.services.openapi import refusals, secured
from downstage.services.routers import ServiceAPIRouter

__all__ = ["PAGE", "SessionRoutes", "order_key", "socket_router"]

PAGE = 50
MAX_PAGE = 200
HEARTBEAT_S = 15
LOOK_AGAIN_S = 5
"""How often to ask after a session that waits, for who does not follow its events."""
MAX_KEY = 255
LATEST = -1
"""The newest published version, as clients of Anbox say it."""

Reader = Annotated[Principal, Depends(require("sessions:read"))]
Writer = Annotated[Principal, Depends(require("sessions:write"))]
KeyHeader = Annotated[str | None, Header(alias="Idempotency-Key")]


def order_key(principal: Principal, key: str | None, body: bytes) -> Key | None:
    """What a caller's idempotency key stands for.

    Raises:
        InvalidField: it is empty or too long.
    """
    if key is None:
        return None
    if not 1 <= len(key) <= MAX_KEY:
        raise InvalidField("Idempotency-Key", f"Idempotency-Key: 1 to {MAX_KEY} characters.")
    return Key(principal.tenant, principal.subject, key, sha256(body).hexdigest())


class EventStream(EventSourceResponse):
    """The same, with its type said where the description is made."""

    media_type = "text/event-stream"


class SessionRoutes:
    """The REST half of the API.

    Args:
        sessions, seats, admission: of this gateway.
        pages: origins of the gateways' pages, which may call each of them.
    """

    def __init__(
        self,
        sessions: Sessions,
        seats: Seats,
        admission: Admission,
        pages: frozenset[str] = frozenset(),
    ) -> None:
        self._pages = pages
        self._sessions = sessions
        self._seats = seats
        self._admission = admission

    def router(self) -> APIRouter:
        """The routes."""
        router = ServiceAPIRouter(tags=["sessions"])
        add = router.add_api_route
        one = "/v1/sessions/{session_id}"
        add("/v1/applications", self.applications, methods=["GET"])
        lost = refusals(404, 409)
        own: dict[str, Any] = {"openapi_extra": secured(), "responses": lost}
        add("/v1/sessions", self.create, methods=["POST"], status_code=201, responses=lost)
        add("/v1/sessions", self.page, methods=["GET"])
        shared: dict[str, Any] = {"route_class_override": shared_with(self._pages)}
        add(one, self.get, methods=["GET"], **own, **shared)
        add(one, self.end, methods=["DELETE"], status_code=202, **own, **shared)
        add(f"{one}/events", self.events, methods=["GET"], response_class=EventStream, **own)
        add(f"{one}/links", self.link, methods=["POST"], **own)
        own["responses"] = refusals(404, 409, 421)
        open_to_all: dict[str, Any] = {**own, "openapi_extra": secured(optional=True)}
        add(f"{one}/seat", self.take_seat, methods=["POST"], **open_to_all, **shared)
        add(f"{one}/seat", self.seat, methods=["GET"], **own, **shared)
        add(f"{one}/tickets", self.ticket, methods=["POST"], **own, **shared)
        if self._pages:
            may = preflight(self._pages)
            for path in (one, f"{one}/seat", f"{one}/tickets"):
                add(path, may, methods=["OPTIONS"], include_in_schema=False)
        return router

    async def applications(self, caller: Reader) -> ApplicationPage:
        """What can be put on stage in this region."""
        del caller
        return await self._sessions.regions.applications()

    async def create(
        self,
        caller: Writer,
        body: SessionCreate,
        request: Request,
        response: Response,
        idempotency_key: KeyHeader = None,
    ) -> SessionCreated:
        """Put an application on stage; the answer's link opens it once.

        Where nothing is free it is ``queued``, and Retry-After says when to look at it again.
        """
        if body.priority > 0 and not caller.may("sessions:admin"):
            raise Forbidden("priority: above 0 needs the scope sessions:admin.", field="priority")
        key = order_key(caller, idempotency_key, await request.body())
        order = Order(
            tenant=caller.tenant,
            owner=caller.subject,
            username=caller.name,
            application=body.application,
            stage=body.stage,
            arguments=tuple(body.arguments),
            environment=body.environment,
            display=body.display,
            where=Wish(
                region=body.region,
                rtt_ms=body.rtt_ms,
                near=body.near,
                address=request.client.host if request.client else None,
            ),
            act=caller.person,
            access_token=body.access_token,
            version=None if body.version == LATEST else body.version,
            wishes=Wishes(profile=body.profile),
            user_data=body.user_data,
            wait=body.wait,
            priority=body.priority,
            key=key,
        )
        session = await self._sessions.create(order)
        link = await self._seats.link(session, caller.subject)
        view = self._sessions.view(session)
        if session.life.waits:
            response.headers["retry-after"] = str(LOOK_AGAIN_S)
        return SessionCreated(**view.model_dump(), join_url=link.join_url)

    async def page(
        self,
        caller: Reader,
        limit: Annotated[int, Query(ge=1, le=MAX_PAGE)] = PAGE,
        after: str | None = None,
    ) -> SessionPage:
        """The caller's sessions, newest first; everybody's for who may see them."""
        owner = None if caller.may("sessions:admin") else caller.subject
        wanted = Filter(caller.tenant, owner)
        found, cursor = await self._sessions.store.page(wanted, limit=limit, after=after)
        return SessionPage(items=[self._sessions.view(item) for item in found], next=cursor)

    async def get(self, session_id: str, request: Request) -> SessionView:
        """One session."""
        caller = await self._admission.caller(request, session_id)
        session = await self._admission.session(caller, session_id, "sessions:read")
        if caller.kind == "seat" or caller.subject == session.owner:
            await self._sessions.note_asked(session)
        return self._sessions.view(session)

    async def end(self, session_id: str, request: Request) -> SessionView:
        """Begin its end; repeating it changes nothing."""
        caller = await self._admission.caller(request, session_id)
        session = await self._admission.session(caller, session_id, "sessions:write")
        if caller.kind == "seat" and caller.role != "controller":
            raise NotFound("There is no such session.")
        return self._sessions.view(await self._sessions.end(session.id))

    async def events(
        self,
        session_id: str,
        request: Request,
        last_event_id: Annotated[str | None, Header(alias="Last-Event-ID")] = None,
    ) -> Response:
        """Server-sent events: the session now and at every change, until it has ended.

        They end earlier where the caller's token is revoked, or over.
        """
        caller = await self._admission.caller(request, session_id)
        session = await self._admission.session(caller, session_id, "sessions:read")
        seen = int(last_event_id) if last_event_id and last_event_id.isdecimal() else 0
        proving = context_authenticator(request)

        def counts() -> bool:
            # Who came by a resume ticket shows no token: the seat is what counts.
            return caller.expires_at is None or proving.counts(caller)

        return EventSourceResponse(
            while_standing(self._events(session.id, seen), counts),
            ping=HEARTBEAT_S,
            headers={"cache-control": "no-store"},
        )

    async def link(self, session_id: str, request: Request) -> JoinLink:
        """One more link that opens the session once."""
        caller = await self._admission.caller(request, session_id)
        session = await self._admission.session(caller, session_id, "sessions:write")
        if caller.kind == "seat":
            raise NotFound("Links are made by who owns the session.")
        return await self._seats.link(session, caller.subject)

    async def take_seat(
        self, session_id: str, body: SeatRequest, request: Request, response: Response
    ) -> SeatAnswer:
        """Take a seat: by a join code, or signed in."""
        if body.code is not None:
            session, seat = await self._seats.by_code(session_id, body.code)
        else:
            caller = await self._admission.caller(request, session_id)
            session = await self._admission.session(caller, session_id, "sessions:write")
            seat = await self._seats.by_person(caller, session)
        response.headers["cache-control"] = "no-store"
        return await self._seats.answer(session, seat, response, with_cookie=True)

    async def seat(self, session_id: str, request: Request, response: Response) -> SeatAnswer:
        """The seat that the cookie holds: what a page asks after a reload."""
        caller = await self._admission.caller(request, session_id)
        session = await self._admission.session(caller, session_id)
        session = await self._admission.at_home(session)
        seat = await self._admission.seat_of(caller, session)
        response.headers["cache-control"] = "no-store"
        return await self._seats.answer(session, seat, response, with_cookie=False)

    async def ticket(
        self, session_id: str, body: SocketTicketRequest, request: Request, response: Response
    ) -> SocketTicket:
        """A ticket for one more socket of the caller's seat."""
        caller = await self._admission.caller(request, session_id)
        session = await self._admission.session(caller, session_id, "sessions:write")
        seat = await self._seats.by_person(caller, session)
        response.headers["cache-control"] = "no-store"
        return await self._seats.ticket(body.use, seat)

    async def _events(self, session_id: str, seen: int) -> AsyncIterator[ServerSentEvent]:
        async for session in self._sessions.watch(session_id):
            if session.revision > seen or session.life.waits:
                view = self._sessions.view(session)
                yield ServerSentEvent(
                    view.model_dump_json(), event="session", id=str(session.revision)
                )


def socket_router(signalling: Signalling, media: MediaRelay) -> APIRouter:
    """The two sockets of a viewer."""
    router = ServiceAPIRouter()

    async def signalling_socket(websocket: WebSocket, session_id: str) -> None:
        await signalling.serve(websocket, session_id)

    async def media_socket(websocket: WebSocket, session_id: str) -> None:
        await media.serve(websocket, session_id)

    router.add_api_websocket_route("/v1/sessions/{session_id}/signalling", signalling_socket)
    router.add_api_websocket_route("/v1/sessions/{session_id}/media", media_socket)
    return router


def link_router(links: Links) -> APIRouter:
    """The socket of streamers: never on the public port."""
    router = ServiceAPIRouter()

    async def link_socket(websocket: WebSocket, instance_id: str) -> None:
        await links.serve(websocket, instance_id)

    router.add_api_websocket_route("/v1/instances/{instance_id}/link", link_socket)
    return router
