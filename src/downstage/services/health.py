"""What watches ask: whether a service lives, has started, and takes requests."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import FastAPI
from fastapi.routing import APIRoute
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute

__all__ = ["PATHS", "add_routes", "set_ready"]

PATHS = ("/status", "/health", "/healthcheck", "/ready", "/startup")
"""On every application; a route of the same path that a service registers takes its place."""
LATER = {"retry-after": "1"}


def set_ready(app: FastAPI, ready: bool) -> None:
    """Let ``/ready`` and ``/healthcheck`` of *app* say so; one that never heard of it is ready."""
    app.state.ready = ready
    app.state.started = getattr(app.state, "started", False) or ready


def add_routes(app: FastAPI) -> list[BaseRoute]:
    """Add the health routes to *app*; they are the same everywhere, and described nowhere."""
    handlers: tuple[Callable[..., Awaitable[Response]], ...] = (
        _status,
        _health,
        _healthcheck,
        _ready,
        _startup,
    )
    routes: list[BaseRoute] = [
        APIRoute(path, handler, methods=["GET", "HEAD"], include_in_schema=False)
        for path, handler in zip(PATHS, handlers, strict=True)
    ]
    app.router.routes.extend(routes)
    return routes


async def _status() -> Response:
    return JSONResponse("OK")


async def _health() -> Response:
    return JSONResponse({"status": "ok"})


async def _healthcheck(request: Request) -> Response:
    return _told(request, "ok", "ready")


async def _ready(request: Request) -> Response:
    return _told(request, "ready", "ready")


async def _startup(request: Request) -> Response:
    return _told(request, "started", "started")


def _told(request: Request, word: str, state: str) -> Response:
    value = getattr(request.app.state, state, True)
    return JSONResponse({word: value}, 200 if value else 503, headers=None if value else LATER)
