"""The applications of this process by name, and the free functions that act on the first one.

Whatever is registered here can be deregistered, also while requests are in flight, and is known
by the extension that registered it.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from typing import Any

import anyio
from fastapi import APIRouter, FastAPI
from fastapi.routing import APIRoute, APIWebSocketRoute
from starlette.middleware import Middleware
from starlette.routing import Mount
from starlette.types import ASGIApp

from downstage.kernel.logging import get_logger
from downstage.services.application import ServiceApp, create_app
from downstage.services.book import Book, Registration, book_of, books
from downstage.services.errors import ServiceUnavailableError
from downstage.services.flights import OWNER
from downstage.services.health import set_ready
from downstage.services.routers import clean_prefix

__all__ = [
    "create_app",
    "deregister_encoder",
    "deregister_endpoint",
    "deregister_facility",
    "deregister_middleware",
    "deregister_mount",
    "deregister_router",
    "deregister_websocket_endpoint",
    "find_app",
    "get_app",
    "owner",
    "put_app",
    "register_encoder",
    "register_endpoint",
    "register_facility",
    "register_middleware",
    "register_mount",
    "register_router",
    "register_websocket_endpoint",
    "remove_app",
    "remove_owned",
    "set_metadata",
    "set_ready",
]

_apps: dict[str, ASGIApp] = {}
MAIN = ""
"""Name of the application that ``local://`` without a host means."""
GRACE_S = 5.0
STOP_S = 5.0
log = get_logger(__name__)


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
    router: APIRouter,
    prefix: str = "",
    *,
    app: FastAPI | None = None,
    override: bool = False,
    **options: Any,
) -> None:
    """Serve all routes of *router* below *prefix*; those too that are added to it later.

    Args:
        router: FastAPI's or ours.
        prefix: dots become slashes, one slash leads.
        app: None is `get_app()`.
        override: its routes win over others of the same method and path.
        options: ``tags``, ``dependencies`` and others of `FastAPI.include_router`.

    Raises:
        Conflict: it is registered there already, or another serves one of its paths; the message
            names both places.
    """
    book, path = _book(app), clean_prefix(prefix)
    what = f"The router {_name_of(router)} under {path or '/'}"
    item = book.add("router", (id(router), path), what, router, override=override)
    book.include(item, path, options)


def deregister_router(router: APIRouter, prefix: str = "", *, app: FastAPI | None = None) -> None:
    """Stop serving *router* below *prefix*; requests in flight end as they began."""
    _forget(_book(app), "router", id(router), clean_prefix(prefix))


def register_endpoint(
    verb: str,
    url: str,
    func: Callable[..., Any],
    *,
    app: FastAPI | None = None,
    override: bool = False,
    **options: Any,
) -> None:
    """Serve one route.

    Raises:
        Conflict: another registration serves it.
    """
    book, path, method = _book(app), _clean_path(url), verb.upper()
    what = f"The endpoint {method} {path}"
    item = book.add("endpoint", (method, path), what, func, override=override)
    probe = APIRoute(path, _probe, methods=[method])
    book.serve(
        item,
        lambda: book.app.router.add_api_route(path, func, methods=[method], **options),
        path,
        probe,
    )


def deregister_endpoint(verb: str, url: str, *, app: FastAPI | None = None) -> None:
    """The inverse of `register_endpoint`; absent is fine."""
    _forget(_book(app), "endpoint", verb.upper(), _clean_path(url))


def register_websocket_endpoint(
    url: str,
    func: Callable[..., Any],
    *,
    app: FastAPI | None = None,
    override: bool = False,
    **options: Any,
) -> None:
    """Serve one WebSocket route.

    Raises:
        Conflict: another registration serves it.
    """
    book, path = _book(app), _clean_path(url)
    item = book.add("websocket", (path,), f"The socket {path}", func, override=override)
    book.serve(
        item,
        lambda: book.app.router.add_api_websocket_route(path, func, **options),
        path,
        APIWebSocketRoute(path, _probe),
    )


def deregister_websocket_endpoint(url: str, *, app: FastAPI | None = None) -> None:
    """The inverse of `register_websocket_endpoint`; absent is fine."""
    _forget(_book(app), "websocket", _clean_path(url))


def register_mount(
    path: str, mounted: ASGIApp, *, app: FastAPI | None = None, override: bool = False
) -> None:
    """Serve any ASGI application below *path*. Its own start-up is its owner's affair.

    Raises:
        Conflict: another is mounted there.
    """
    book, place = _book(app), clean_prefix(path)
    item = book.add("mount", (place,), f"The mount {place or '/'}", mounted, override=override)
    mount = Mount(place or "/", mounted)
    book.serve(item, lambda: book.app.router.routes.append(mount), place, mount)


def deregister_mount(path: str, *, app: FastAPI | None = None) -> None:
    """The inverse of `register_mount`; absent is fine."""
    _forget(_book(app), "mount", clean_prefix(path))


def register_middleware(
    cls: Callable[..., Any], *, app: FastAPI | None = None, **options: Any
) -> None:
    """Put ASGI middleware around the routes, the last one outermost; also while it serves.

    All middleware is made anew for the next request: what one keeps must not live in it alone.

    Raises:
        Conflict: it is registered already.
    """
    book = _book(app)
    name = getattr(cls, "__qualname__", repr(cls))
    added = Middleware(cls, **options)
    book.add("middleware", (cls,), f"The middleware {name}", added)
    # Outside of what was registered before, inside of the edge: errors and limits hold for it too.
    fixed = book.app.fixed if isinstance(book.app, ServiceApp) else 0
    book.app.user_middleware.insert(fixed, added)
    book.app.middleware_stack = None


def deregister_middleware(cls: Callable[..., Any], *, app: FastAPI | None = None) -> None:
    """The inverse of `register_middleware`; absent is fine."""
    _forget(_book(app), "middleware", cls)


def register_facility(name: str, facility: object, *, app: FastAPI | None = None) -> None:
    """Make *facility* available to all routers, those that were registered before it too.

    Raises:
        Conflict: the name is taken.
    """
    book = _book(app)
    book.add("facility", (name,), f"The facility {name}", facility)
    book.facilities[name] = facility


def deregister_facility(name: str, *, app: FastAPI | None = None) -> None:
    """The inverse of `register_facility`; absent is fine. It is not stopped."""
    _forget(_book(app), "facility", name)


def register_encoder(name: str, encoder: Any, *, app: FastAPI | None = None) -> None:
    """Take request bodies of the content coding *name*: *encoder* has `compress`, `decompress`.

    Raises:
        Conflict: the name is taken.
    """
    book = _book(app)
    book.add("encoder", (name.lower(),), f"The encoder {name}", encoder)
    book.encoders[name.lower()] = encoder


def deregister_encoder(name: str, *, app: FastAPI | None = None) -> None:
    """The inverse of `register_encoder`; absent is fine."""
    _forget(_book(app), "encoder", name.lower())


def set_metadata(
    title: str | None = None,
    description: str | None = None,
    version: str | None = None,
    tags_metadata: Sequence[dict[str, Any]] | None = None,
    root_path: str | None = None,
    *,
    app: FastAPI | None = None,
) -> None:
    """Change the head of the description; what is None stays."""
    book = _book(app)
    target = book.app
    target.title = title if title is not None else target.title
    target.description = description if description is not None else target.description
    target.version = version if version is not None else target.version
    target.openapi_tags = list(tags_metadata) if tags_metadata else target.openapi_tags
    target.root_path = root_path if root_path is not None else target.root_path
    book.changed()


@contextmanager
def owner(ext_id: str) -> Generator[None]:
    """What is registered inside, and in tasks begun inside, belongs to the extension *ext_id*."""
    token = OWNER.set(ext_id)
    try:
        yield
    finally:
        OWNER.reset(token)


async def remove_owned(ext_id: str, grace_s: float = GRACE_S) -> int:
    """Deregister all that *ext_id* registered, on all applications.

    New requests no longer find it. Those in flight may end within *grace_s* and are cut off then;
    after that its facilities are stopped, the last first.

    Returns:
        How many requests were cut off.
    """
    gone: list[Registration] = []
    for book in books():
        mine = [item for item in book.items() if item.owner == ext_id]
        for item in reversed(mine):
            book.remove(item)
        gone += reversed(mine)
    left = 0

    async def end(item: Registration) -> None:
        nonlocal left
        left += await item.flights.end(grace_s)

    async with anyio.create_task_group() as tasks:
        for item in gone:
            tasks.start_soon(end, item)
    if left:
        log.warning("extension.requests_cut_off", extension=ext_id, count=left, grace_s=grace_s)
    for item in gone:
        if item.kind == "facility":
            await _stop(ext_id, item)
    return left


async def _stop(ext_id: str, item: Registration) -> None:
    stop = getattr(item.thing, "stop", None)
    if not callable(stop):
        return
    with anyio.move_on_after(STOP_S, shield=True) as scope:
        try:
            result = stop()
            if inspect.isawaitable(result):
                await result
        except (Exception, SystemExit):  # somebody else's code: the others must still be stopped
            log.exception("facility.stop_failed", owner=ext_id, name=item.key[1])
    if scope.cancelled_caught:
        log.error("facility.stop_timed_out", owner=ext_id, name=item.key[1], limit_s=STOP_S)


def _book(app: FastAPI | None) -> Book:
    return book_of(app or get_app())


def _forget(book: Book, *key: Any) -> None:
    item = book.find(*key)
    if item is not None:
        book.remove(item)


def _clean_path(url: str) -> str:
    return "/" + url.lstrip("/")


def _name_of(router: APIRouter) -> str:
    tags = ", ".join(str(tag) for tag in router.tags)
    return tags or router.prefix or type(router).__name__


async def _probe() -> None:
    """Stands for a handler where only path and method count."""
