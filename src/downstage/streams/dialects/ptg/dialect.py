"""Routes at the data server's paths: with its errors, with and without a slash at the end.

A module of the dialect makes a `Dialect`, puts handlers in it, and has it served::

    dialect = Dialect(door, "recordings")

    async def list_recordings(caller: SignedIn, info: bool = False) -> Json: ...

    dialect.serve("GET", "/recordings", list_recordings)
    context.public(dialect)
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Annotated, Any, cast

from fastapi import Depends
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.models import HTTPBearer
from fastapi.routing import APIRoute
from fastapi.security.base import SecurityBase
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection, Request
from starlette.responses import Response

from downstage.kernel.errors import PlatformError
from downstage.services.routers import ServiceAPIRouter
from downstage.streams.callers import Guest
from downstage.streams.dialects.ptg.answers import refusal, wrong
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.model import Caller

__all__ = ["Dialect", "Known", "SignedIn"]

DOOR = "downstage.ptg.door"
Handler = Callable[[Request], Coroutine[Any, Any, Response]]


class Dialect(ServiceAPIRouter):
    """A router whose refusals are ``{"detail": …}``.

    Args:
        door: lets callers and pages in.
        tag: of its routes in the description.
    """

    def __init__(self, door: Door, tag: str) -> None:
        super().__init__(tags=[f"data server: {tag}"], route_class=_route_class(door))
        self._door = door
        self._paths = set[str]()

    def serve(
        self, method: str, path: str, handler: Callable[..., Any], *refused: int, **options: Any
    ) -> None:
        """Let *handler* answer *method* at *path*.

        Args:
            method: of HTTP.
            path: without a slash at the end; the one with it is served too.
            handler: takes what FastAPI gives, answers a response.
            refused: statuses of its refusals, beside those that every route has.
            options: of FastAPI.
        """
        absent = (404,) if "{" in path else ()  # of names with a slash in them, too
        responses = {**wrong(*absent, *refused), **options.pop("responses", {})}
        common: dict[str, Any] = {"methods": [method], "response_model": None, **options}
        self.add_api_route(path, handler, responses=responses, **common)
        self.add_api_route(f"{path}/", handler, include_in_schema=False, **common)
        if path not in self._paths:
            self._paths.add(path)
            for place in (path, f"{path}/"):
                self.add_api_route(
                    place, self._preflight, methods=["OPTIONS"], include_in_schema=False
                )

    async def _preflight(self, request: Request) -> Response:
        return Response(status_code=204, headers=dict(self._door.preflight(request)))


class _SignedIn(SecurityBase):
    """A dependency that yields who asks."""

    def __init__(self) -> None:
        self.model = HTTPBearer()
        self.scheme_name = "bearer"

    async def __call__(self, connection: HTTPConnection) -> Guest:
        return await cast("Door", connection.scope[DOOR]).guest(connection)


_signed_in = _SignedIn()


async def _caller(guest: Annotated[Guest, Depends(_signed_in)]) -> Caller:
    return guest.caller


Known = Annotated[Guest, Depends(_signed_in)]
"""Of a handler's argument: who asks, with what proved it."""
SignedIn = Annotated[Caller, Depends(_caller)]
"""Of a handler's argument: who asks, and what they may do."""


def _route_class(door: Door) -> type[APIRoute]:
    class Route(APIRoute):
        def get_route_handler(self) -> Handler:
            handler = super().get_route_handler()

            async def answered(request: Request) -> Response:
                request.scope[DOOR] = door
                try:
                    door.check_page(request)
                    response = await handler(request)
                except (PlatformError, RequestValidationError, HTTPException) as error:
                    response = refusal(error)
                for name, value in door.cors(request).items():
                    response.headers.setdefault(name, value)
                return response

            return answered

    return Route
