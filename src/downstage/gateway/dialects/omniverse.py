"""The Omniverse public streaming API on our sessions.

Errors are ``{"message": …}`` with the fields of a problem beside it. In a demo on loopback the
API may be called without a token, as the demo's user: its public samples send none.
"""

from __future__ import annotations

import socket
from dataclasses import replace
from datetime import timedelta
from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.responses import JSONResponse

from downstage.auth.principal import Principal
from downstage.gateway.admission import Admission
from downstage.gateway.dialects.api_docs import ApiDocs
from downstage.gateway.dialects.door import Door, is_loopback
from downstage.gateway.dialects.omniverse_models import (
    Created,
    CreateStreamRequest,
    ErrorMessage,
    Health,
    ListQuery,
    OrderBy,
    Record,
    Results,
    SessionItem,
    SortBy,
    Status,
    StreamRequestSpec,
    kept_keys,
    stamp,
)
from downstage.gateway.dialects.v1 import order_key
from downstage.gateway.dialects.webclient import WebClient, content_host
from downstage.gateway.filters import Filter
from downstage.gateway.models import Key, Session
from downstage.gateway.regions.score import Wish
from downstage.gateway.seats import Seats
from downstage.gateway.sessions import Order, Sessions
from downstage.gateway.wishes import Wishes
from downstage.kernel.errors import (
    Forbidden,
    InvalidField,
    NotFound,
    PlatformError,
)
from downstage.kernel.settings import Settings
from downstage.services.openapi import refusals, secured
from downstage.services.routers import ServiceAPIRouter

__all__ = ["OmniverseRoutes", "phase"]

KEPT = timedelta(hours=1)
"""How long a session that ended by itself is still listed."""
PHASES = {"queued": "Pending", "starting": "Pending", "ended": "Succeeded"}
ERRORS = refusals(401, 403, 404, 409, 422, 429, 503)


class OmniverseRoutes:
    """The API's routes.

    Args:
        sessions, seats, admission: of this gateway.
        settings: of the platform.
        public: address by which browsers reach us.
    """

    def __init__(
        self,
        sessions: Sessions,
        seats: Seats,
        admission: Admission,
        settings: Settings,
        public: str,
    ) -> None:
        self._sessions = sessions
        self._seats = seats
        self._admission = admission
        self._door = Door(admission, is_demo=settings.platform.demo)
        ports = settings.media.udp_ports
        self._pages = WebClient(public.rstrip("/"), ports[0] if ports else None)
        self._node = socket.gethostname()[:63]

    def router(self) -> APIRouter:
        """The routes and their documentation."""
        router = ServiceAPIRouter(tags=["streaming"])
        add = router.add_api_route
        base = "/session-service/session"
        add("/healthcheck", self.health, methods=["GET"], responses={503: {"model": ErrorMessage}})
        own: dict[str, Any] = {"responses": ERRORS, "openapi_extra": secured(optional=True)}
        acts: dict[str, Any] = {**own, "dependencies": self._door.before("sessions:write")}
        sees: dict[str, Any] = {**own, "dependencies": self._door.before("sessions:read")}
        add(base, self.results, methods=["GET"], **sees)
        add(base, self.create, methods=["POST"], **acts)
        add(f"{base}/{{session_id}}", self.delete, methods=["DELETE"], **acts)
        ApiDocs("/backend/api-docs", "Streaming API", list(router.routes)).add_to(router)
        return router

    async def health(self) -> Response:
        """Whether sessions can be started: a manager answers within 2 s."""
        try:
            await self._sessions.regions.check_health()
        except PlatformError as error:
            body = {"ok": False, "message": error.detail}
            return JSONResponse(body, 503, headers={"retry-after": "2"})
        return JSONResponse(Health(ok=True).model_dump())

    async def results(self, request: Request, query: Annotated[ListQuery, Query()]) -> Results:
        """Sessions that the caller may see."""
        caller, _ = await self._door.caller(request, "sessions:read")
        owner = None if caller.may("sessions:admin") else caller.subject
        since = self._sessions.now().wall - KEPT
        found = await self._sessions.store.sorted(
            Filter(caller.tenant, owner, query.username, since),
            by="username" if query.sort() is SortBy.username else "created_at",
            descending=query.direction() is OrderBy.desc,
            limit=query.limit,
            offset=query.offset,
        )
        return Results(results=[self._item(session) for session in found])

    async def create(
        self,
        body: CreateStreamRequest,
        request: Request,
        idempotency_key: Annotated[str | None, Header(alias="Idempotency-Key")] = None,
    ) -> Created:
        """Start a session; the answer's address opens it once."""
        caller, is_open = await self._door.caller(request, "sessions:write")
        self._check_spec(body.spec)
        if body.username != caller.name and not is_open and not caller.may("sessions:admin"):
            raise Forbidden("username: this caller may not act for others.", field="username")
        key = order_key(caller, idempotency_key, await request.body())
        where = Wish(address=request.client.host if request.client else None)
        order = replace(self._order(body, caller, key, is_open=is_open), where=where)
        try:
            session = await self._sessions.create(order)
        except InvalidField as error:
            raise _renamed(error) from error
        code = await self._seats.link(session, session.owner)
        return Created(
            redirect=self._pages.url(session, code=code.code),
            session_id=session.id,
            session_routes=self._pages.routes(session),
        )

    async def delete(self, session_id: str, request: Request) -> str:
        """End a session. A body, such as ``{}``, is taken and means nothing."""
        caller, _ = await self._door.caller(request, "sessions:write")
        session = await self._admission.session(caller, session_id, "sessions:write")
        if session.life.state == "ended":
            raise NotFound("There is no such session.")
        await self._sessions.end(session.id)
        return "OK"

    def _check_spec(self, spec: StreamRequestSpec) -> None:
        """Refuse by name what cannot be honoured."""
        if spec.streaming_mode == "insecure" and not is_loopback(self._pages.host):
            raise InvalidField(
                "spec.streaming_mode", "spec.streaming_mode: insecure is taken on loopback alone."
            )

    def _order(
        self, body: CreateStreamRequest, caller: Principal, key: Key | None, *, is_open: bool
    ) -> Order:
        spec = body.spec
        acts_for_other = body.username != caller.name and not is_open
        unknown = kept_keys(spec)
        kept = {
            "user_labels": spec.user_labels,
            "node_labels": spec.node_labels,
            "streaming_mode": spec.streaming_mode,
        }
        return Order(
            tenant=caller.tenant,
            owner=body.username if acts_for_other else caller.subject,
            username=body.username,
            application=spec.image,
            stage=body.url if is_stage(body.url) else None,
            arguments=tuple(spec.kit_args),
            environment=spec.kit_env,
            act=caller.person,
            access_token=body.access_token,
            wishes=Wishes(
                image=spec.image if is_image(spec.image) else None,
                streaming_mode=spec.streaming_mode,
                node_labels=spec.node_labels,
                labels=spec.user_labels,
                ports=tuple(spec.user_ports),
            ),
            dialect="omniverse",
            wait=True,
            spec={**unknown, **kept, "url": body.url},
            warnings=tuple(
                f"spec.{name[:64]}: not known here; kept on the session." for name in unknown
            ),
            key=key,
        )

    def _item(self, session: Session) -> SessionItem:
        name = f"ovc-v1-kit-{session.id}"
        return SessionItem(
            session_record=Record(
                session_id=session.id,
                username=session.username,
                source_address="0.0.0.0",  # noqa: S104 - the API's word for anywhere
                destination_address=self._pages.host,
                session_routes=self._pages.routes(session),
                nucleus=content_host(str(session.spec.get("url") or session.stage or "")),
                pod_name=name,
                service_name=name,
                configmap_name=name,
                session_link=self._pages.url(session),
                created_at=stamp(session.created_at),
                updated_at=stamp(session.updated_at),
            ),
            status=Status(
                phase=phase(session),
                node_name=self._node,
                host_ip=self._pages.host,
                pod_ip=self._pages.host,
                start_time=stamp(session.created_at, fraction=False),
            ),
            warnings=list(session.warnings),
        )


def phase(session: Session) -> Any:
    """The word of Kubernetes for how *session* stands."""
    life = session.life
    if life.state in ("ending", "ended") and life.outcome == "failed":
        return "Failed"
    return PHASES.get(life.state, "Running")


def is_stage(url: str) -> bool:
    """Whether *url* names something to open: a bare host, or a server's root, does not."""
    scheme, separator, rest = url.partition("://")
    if not separator:
        return "/" in url or url.lower().endswith((".usd", ".usda", ".usdc", ".usdz"))
    return scheme == "file" or bool(rest.partition("/")[2])


def is_image(name: str) -> bool:
    """Whether *name* can only be an image's: an application's has neither slash nor colon."""
    return "/" in name or ":" in name or "@" in name


def _renamed(error: InvalidField) -> InvalidField:
    """The manager's field in this API's words."""
    first, dot, rest = error.field.partition(".")
    names = {
        "arguments": "spec.kit_args",
        "environment": "spec.kit_env",
        "application": "spec.image",
        "stage": "url",
        "ports": "spec.user_ports",
        "node_labels": "spec.node_labels",
        "labels": "spec.user_labels",
        "image": "spec.image",
    }
    field = f"{names.get(first, first)}{dot}{rest}"
    detail = error.detail
    if detail.startswith(error.field):
        detail = field + detail.removeprefix(error.field)
    return InvalidField(field, detail)
