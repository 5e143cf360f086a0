"""Every path of this dialect, and what serves it.

Clients of that system write some paths with a slash at the end, and say ``session`` as well as
``sessions`` for sockets: all of it is served.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter, Request, Response
from starlette.websockets import WebSocket

from downstage.gateway.dialects.anbox.envelope import ErrorEnvelope, enveloped
from downstage.gateway.dialects.anbox.origins import Origins
from downstage.gateway.dialects.anbox.places import PlaceRoutes
from downstage.gateway.dialects.anbox.sessions import SessionRoutes
from downstage.gateway.dialects.anbox.shares import ShareRoutes
from downstage.gateway.dialects.anbox.sockets import Sockets
from downstage.kernel.errors import NotFound
from downstage.services.openapi import RETRY_AFTER
from downstage.services.routers import ServiceAPIRouter

__all__ = ["anbox_router"]

BASE = "/1.0"
SESSION = "/sessions/{session_id}"
SHARE = "/shares/{share_id}"
NO_CONTENT = 204
ANY_METHOD = ["GET", "POST", "PUT", "PATCH", "DELETE"]
FAILURES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorEnvelope, "description": words}
    for status, words in (
        (400, "The request, or the present state, does not allow it."),
        (401, "No valid token."),
        (403, "Known, but not allowed; or a limit is reached."),
        (404, "There is no such thing, or no agent can host the session."),
        (500, "A fault of ours."),
        (503, "A part that is needed does not answer just now."),
    )
}
FAILURES[503]["headers"] = RETRY_AFTER


def anbox_router(
    sessions: SessionRoutes,
    shares: ShareRoutes,
    places: PlaceRoutes,
    sockets: Sockets,
    origins: Origins,
) -> APIRouter:
    """The routes, for pages of *origins*."""
    router = ServiceAPIRouter(tags=["anbox"], route_class=enveloped(origins))
    put = _Putter(router, origins)
    put("/status", GET=places.status)
    put("/applications", GET=places.applications)
    put("/regions", GET=places.regions)
    put("/config", GET=places.config, PATCH=places.set_config)
    put("/sessions", GET=sessions.page, POST=sessions.create, DELETE=sessions.delete_many)
    put(SESSION, GET=sessions.get, DELETE=sessions.delete)
    put(f"{SESSION}/join", POST=sessions.join)
    put(f"{SESSION}/connect", GET=shares.connect)
    put(f"{SESSION}/share", POST=shares.create)
    put("/shares", GET=shares.page)
    put(SHARE, GET=shares.get, PATCH=shares.change, DELETE=shares.delete)
    put.anything_else()
    _put_sockets(router, sockets)
    return router


class _Putter:
    """Adds a path with all its methods, in both spellings, and its preflight."""

    def __init__(self, router: APIRouter, origins: Origins) -> None:
        self._router = router
        self._origins = origins

    def __call__(self, path: str, **handlers: Callable[..., Any]) -> None:
        for method, handler in handlers.items():
            status = 201 if (method, path) == ("POST", "/sessions") else 200
            for spelled in (path, f"{path}/"):
                self._router.add_api_route(
                    BASE + spelled,
                    handler,
                    methods=[method],
                    responses=FAILURES,
                    response_model_exclude_none=True,
                    include_in_schema=spelled == path,
                    status_code=status,
                )
        self._preflight(path, [*handlers, "OPTIONS"])

    def _preflight(self, path: str, methods: list[str]) -> None:
        async def preflight(request: Request) -> Response:
            headers = self._origins.preflight(request, methods)
            return Response(
                status_code=NO_CONTENT, headers={**headers, "allow": ", ".join(methods)}
            )

        for spelled in (path, f"{path}/"):
            self._router.add_api_route(
                BASE + spelled,
                preflight,
                methods=["OPTIONS"],
                status_code=NO_CONTENT,
                include_in_schema=False,
            )

    def anything_else(self) -> None:
        """What is below and is not there is missing in the envelope, too."""

        async def missing() -> Response:
            raise NotFound(f"There is no such path below {BASE} here.")

        self._router.add_api_route(
            f"{BASE}/{{rest:path}}", missing, methods=ANY_METHOD, include_in_schema=False
        )


def _put_sockets(router: APIRouter, sockets: Sockets) -> None:
    async def anbox_socket(websocket: WebSocket, session_id: str, role: str) -> None:
        """Signalling of a client; `role` is master, slave or adb, `token` the address's own."""
        await sockets.serve(websocket, session_id, role)

    for name in ("sessions", "session"):
        for end in ("", "/"):
            path = f"{BASE}/{name}/{{session_id}}/sockets/{{role}}{end}"
            router.add_api_websocket_route(path, anbox_socket)
