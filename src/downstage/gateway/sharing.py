"""Routes that pages of the other gateways may call: CORS for exactly their origins.

No credentials are allowed: such a page shows a resume ticket or a person's token, never a cookie.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import Response

from downstage.gateway.admission import RESUME
from downstage.kernel.errors import PlatformError
from downstage.services.problems import answer
from downstage.services.refusal import HOME

__all__ = ["preflight", "shared_with"]

METHODS = "GET, POST, DELETE"
REMEMBERED_S = "600"

Handler = Callable[[Request], Coroutine[Any, Any, Response]]


def _headers(request: Request, origins: frozenset[str]) -> dict[str, str]:
    """What lets the page that asks read the answer; nothing for any other page."""
    origin = request.headers.get("origin")
    if origin is None or origin.lower() not in origins:
        return {"vary": "origin"}
    return {
        "vary": "origin",
        "access-control-allow-origin": origin,
        "access-control-expose-headers": f"{HOME}, retry-after",
    }


def shared_with(origins: frozenset[str]) -> type[APIRoute]:
    """A class of routes whose answers, refusals too, pages of *origins* may read."""

    class SharedRoute(APIRoute):
        def get_route_handler(self) -> Handler:
            inner = super().get_route_handler()

            async def handle(request: Request) -> Response:
                try:
                    response = await inner(request)
                except PlatformError as error:
                    response = answer(error, request.scope.get("request_id"))
                for name, value in _headers(request, origins).items():
                    response.headers[name] = value
                return response

            return handle

    return SharedRoute


def preflight(origins: frozenset[str]) -> Callable[[Request], Coroutine[Any, Any, Response]]:
    """Answers a browser that asks whether its page may call."""

    async def options(request: Request) -> Response:
        headers = _headers(request, origins)
        if "access-control-allow-origin" in headers:
            headers |= {
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": f"authorization, content-type, {RESUME}",
                "access-control-max-age": REMEMBERED_S,
            }
        return Response(status_code=204, headers=headers)

    return options
