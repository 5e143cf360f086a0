"""The operator's port, loopback only: readiness in detail, extensions, metrics.

Who reaches the port may read. To change something takes the operator's token in a header, which
a page in somebody's browser does not have; and a name that a page brought along to get here
(DNS rebinding) is refused.
"""

from __future__ import annotations

from ipaddress import ip_address
from typing import TYPE_CHECKING, Annotated, Any, Literal

from fastapi import Depends, FastAPI
from pydantic import BaseModel
from starlette.datastructures import Headers
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from downstage.auth.principal import Principal
from downstage.kernel.errors import Forbidden
from downstage.services.extensions.unit import ExtensionInfo
from downstage.services.facilities.principal import require
from downstage.services.openapi import refusals
from downstage.services.problems import answer
from downstage.services.registry import create_app

if TYPE_CHECKING:
    from downstage.services.host import ServiceHost

__all__ = ["Loopback", "operator_app"]

Operator = Annotated[Principal, Depends(require("operate"))]
Deed = Literal["enable", "disable", "reload"]


class Readiness(BaseModel):
    """Whether the platform takes requests, and what of it does not run."""

    ready: bool
    services: dict[str, str]
    """State of each of the platform's own services."""
    extensions: dict[str, str]
    """State of each extension beside them."""
    failed: dict[str, str]
    """What failed or is blocked, and why."""
    waiting: dict[str, str]
    """What runs and cannot do its work just now, and why: an engine that starts, a full disk."""


class Loopback:
    """Refuses requests that name another host: pages may point a name of theirs at this port."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass on what asks for this machine by one of its loopback names."""
        if scope["type"] == "http" and not _is_here(scope):
            error = Forbidden("This port answers to 127.0.0.1 and localhost alone.")
            await answer(error)(scope, receive, send)
            return
        await self._app(scope, receive, send)


def _is_here(scope: Scope) -> bool:
    client = scope.get("client")
    if client is None or client[0] == "local":
        return True  # a call within this process; a connection has an address
    name = Headers(scope=scope).get("host", "")
    name = name[1:].partition("]")[0] if name.startswith("[") else name.partition(":")[0]
    try:
        return name.lower() == "localhost" or ip_address(name).is_loopback
    except ValueError:
        return False


def operator_app(host: ServiceHost) -> FastAPI:
    """``/ready``, ``/extensions`` and ``/metrics`` of *host*; holds no secrets."""
    app = create_app("Downstage operator", openapi_url=None)
    app.state.authenticator = host.authenticator
    app.add_middleware(Loopback)

    async def ready() -> JSONResponse:
        told = _readiness(host)
        return JSONResponse(told.model_dump(), 200 if told.ready else 503)

    async def extensions() -> list[ExtensionInfo]:
        return host.extensions()

    async def change(name: str, deed: Deed, operator: Operator) -> ExtensionInfo:
        del operator
        life = host.lifecycle
        unit = await {"enable": life.enable, "disable": life.disable, "reload": life.reload}[deed](
            name
        )
        return unit.info()

    async def metrics(request: Request) -> Response:
        accept = request.headers.get("accept", "")
        text, kind = host.metrics_hub.render(accept, lines=host.metric_lines())
        return Response(text, headers={"content-type": kind})

    unready: dict[int | str, dict[str, Any]] = {
        503: {"model": Readiness, "description": "A service does not run"},
        **refusals(403),
    }
    app.add_api_route("/ready", ready, response_model=Readiness, responses=unready)
    app.add_api_route("/extensions", extensions, responses=refusals(403))
    app.add_api_route(
        "/extensions/{name}/{deed}", change, methods=["POST"], responses=refusals(404, 409)
    )
    app.add_api_route(
        "/metrics", metrics, response_class=PlainTextResponse, responses=refusals(403)
    )
    return app


def _readiness(host: ServiceHost) -> Readiness:
    """Ready when the platform's own services run: an extension that failed takes nobody down."""
    services = dict(host.running())
    others = [info for info in host.extensions() if info.name not in services]
    return Readiness(
        ready=all(state == "running" for state in services.values()),
        services=services,
        extensions={info.name: info.state for info in others},
        failed={
            info.name: info.reason
            for info in host.extensions()
            if info.state in ("failed", "blocked")
        },
        waiting=host.waiting(),
    )
