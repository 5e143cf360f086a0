"""The applications of this process by name, and the free functions that act on the first one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, cast

from fastapi import APIRouter, FastAPI
from starlette.types import ASGIApp

from downstage.kernel.errors import Conflict
from downstage.services.errors import ServiceUnavailableError
from downstage.services.problems import install
from downstage.services.routers import clean_prefix

__all__ = [
    "create_app",
    "deregister_router",
    "find_app",
    "get_app",
    "put_app",
    "register_router",
    "remove_app",
]


@dataclass(frozen=True, slots=True)
class _Included:
    router: APIRouter
    """Kept, so that its identity is nobody else's."""
    routes: list[Any]


_apps: dict[str, ASGIApp] = {}
MAIN = ""
"""Name of the application that ``local://`` without a host means."""


def create_app(title: str, **options: Any) -> FastAPI:
    """A FastAPI application with the platform's errors, request ids, limits and ``/status``."""
    app = FastAPI(title=title, **options)
    install(app)
    app.add_api_route("/status", _status, include_in_schema=False)
    return app


async def _status() -> str:
    return "OK"


def put_app(name: str, app: ASGIApp) -> None:
    """Make *app* reachable as ``local://name``."""
    _apps[name] = app


def remove_app(name: str) -> None:
    """The inverse of `put_app`; absent is fine."""
    _apps.pop(name, None)


def find_app(name: str) -> ASGIApp:
    """The application behind ``local://name``.

    Raises:
        ServiceUnavailableError: no service of that name runs in this process.
    """
    if name == MAIN:
        return get_app()
    try:
        return _apps[name]
    except KeyError:
        raise ServiceUnavailableError(f"no service named {name} runs in this process") from None


def get_app() -> FastAPI:
    """The application that extensions register their routers on."""
    app = _apps.get(MAIN)
    if not isinstance(app, FastAPI):
        app = create_app("Downstage services")
        _apps[MAIN] = app
    return app


def register_router(
    router: APIRouter, prefix: str = "", *, app: FastAPI | None = None, **options: Any
) -> None:
    """Serve all routes of *router* below *prefix*.

    Raises:
        Conflict: it is registered there already.
    """
    target = app or get_app()
    path = clean_prefix(prefix)
    included = _included(target)
    key = (id(router), path)
    if key in included:
        raise Conflict(f"The router is registered already under {path or '/'}.")
    before = {id(route) for route in target.router.routes}
    target.include_router(router, prefix=path, **options)
    # An included router is one object (or, in older versions, many routes): remember identities.
    new = [r for r in target.router.routes if id(r) not in before]
    included[key] = _Included(router, new)
    target.openapi_schema = None


def deregister_router(router: APIRouter, prefix: str = "", *, app: FastAPI | None = None) -> None:
    """Stop serving *router* below *prefix*; requests in flight end as they began."""
    target = app or get_app()
    found = _included(target).pop((id(router), clean_prefix(prefix)), None)
    gone = {id(route) for route in found.routes} if found else set[int]()
    target.router.routes[:] = [r for r in target.router.routes if id(r) not in gone]
    target.openapi_schema = None


def _included(app: FastAPI) -> dict[tuple[int, str], _Included]:
    """What was registered on *app*; kept with it, so that both go together."""
    found = cast("dict[tuple[int, str], _Included] | None", getattr(app.state, "included", None))
    if found is None:
        found = app.state.included = dict[tuple[int, str], _Included]()
    return found
