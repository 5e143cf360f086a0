"""What is registered on one application: routers, routes, mounts, middleware, facilities.

One book an application, kept with it. Each registration remembers who made it and where, which
objects FastAPI made of it, and the requests that it is answering.
"""

from __future__ import annotations

import copy
import inspect
import re
import weakref
from collections.abc import Callable, Generator, Iterable
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from fastapi import APIRouter, FastAPI
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute

from downstage.kernel.errors import Conflict
from downstage.services.dispatch import Dispatcher, Entry, leaves, nested, shape_of, watched
from downstage.services.flights import OWNER, Flights

__all__ = ["Book", "Encoder", "Registration", "book_of", "books", "caller_place"]

HERE = str(Path(__file__).parent)
Kind = Literal["router", "endpoint", "websocket", "mount", "middleware", "facility", "encoder"]
_apps: weakref.WeakSet[FastAPI] = weakref.WeakSet()

Encoder = Any
"""Object with ``compress(bytes)`` and ``decompress(bytes)``."""


@dataclass(eq=False, slots=True, weakref_slot=True)
class Registration:
    """One thing on one application."""

    kind: Kind
    key: tuple[Any, ...]
    what: str
    """For messages: what it is and where it is served."""
    place: str
    """File and line that registered it."""
    owner: str | None
    override: bool
    thing: Any
    flights: Flights
    routes: list[BaseRoute] = field(default_factory=list[BaseRoute])
    """Top-level objects of the application's router that it brought."""
    refresh: Callable[[], None] | None = None
    watching: list[APIRouter] = field(default_factory=list[APIRouter])
    """The router and those in it, whose changes are its own."""

    def refreshed(self) -> None:
        """The router that was registered, or one in it, has changed."""
        if self.refresh is not None:
            self.refresh()


class Book:
    """The registrations of *app*, and the dispatcher that serves them."""

    def __init__(self, app: FastAPI) -> None:
        self._app = weakref.ref(app)
        self._items: dict[tuple[Any, ...], Registration] = {}
        self._of_route: dict[int, Registration] = {}
        self._weak = set[int]()
        self._started: list[APIRouter] = []
        self._following: list[APIRouter] = []
        self.version = 0
        """Counts changes; what is built of the routes names the version that it was built of."""
        self.facilities: dict[str, object] = {}
        self.encoders: dict[str, Encoder] = {}
        self.larger: list[tuple[re.Pattern[str], int]] = []
        """Paths whose bodies may be larger than others', and how large."""
        self.dispatcher = Dispatcher(
            app.router, flights=self._flights_of, standing=self._standing_of
        )
        watched(app.router).watch(self.changed)

    @property
    def app(self) -> FastAPI:
        """The application, which outlives its book."""
        app = self._app()
        assert app is not None  # noqa: S101 - whoever calls holds it
        return app

    def changed(self) -> None:
        """Routes or metadata have changed: nothing that was built of them counts any more."""
        self.version += 1
        self.app.openapi_schema = None

    def allow(self, router: APIRouter, max_body: int) -> None:
        """Let bodies of the routes that *router* has now have up to *max_body* bytes."""
        found = [route.path_regex for route in router.routes if isinstance(route, Route)]
        self.larger += [(pattern, max_body) for pattern in dict.fromkeys(found)]

    def follow(self, router: APIRouter) -> None:
        """Notice when *router*, which FastAPI itself included, or one in it changes."""
        self._following.append(router)
        for one in nested(router):
            watched(one).watch(self._followed)

    def _followed(self) -> None:
        for router in self._following:
            for one in nested(router):
                watched(one).watch(self._followed)
        self.dispatcher.changed()
        self.changed()

    def items(self) -> list[Registration]:
        """All registrations, in order."""
        return list(self._items.values())

    def find(self, *key: Any) -> Registration | None:
        """The registration of *key*."""
        return self._items.get(key)

    def add(
        self, kind: Kind, key: tuple[Any, ...], what: str, thing: Any, *, override: bool = False
    ) -> Registration:
        """Write down a registration by whoever calls from outside of the framework.

        Raises:
            Conflict: the same was registered already; names both places.
        """
        place, owner = caller_place(), OWNER.get()
        known = self._items.get((kind, *key))
        if known is not None:
            raise Conflict(
                f"{what} is registered already: at {known.place}, and again at {place}.",
            )
        item = Registration(kind, (kind, *key), what, place, owner, override, thing, Flights(owner))
        self._items[item.key] = item
        return item

    def remove(self, item: Registration) -> None:
        """Forget *item*: new requests no longer find it, those in flight end as they began."""
        if self._items.pop(item.key, None) is None:
            return
        self._drop_routes(item)
        if item.kind == "router":
            self._watch(item, [])
        elif item.kind == "facility":
            self.facilities.pop(item.key[1], None)
        elif item.kind == "encoder":
            self.encoders.pop(item.key[1], None)
        elif item.kind == "middleware":
            self.app.user_middleware[:] = [
                middleware
                for middleware in self.app.user_middleware
                if middleware is not item.thing
            ]
            self.app.middleware_stack = None
        self.changed()

    def include(self, item: Registration, prefix: str, options: dict[str, Any]) -> None:
        """Serve the router of *item* below *prefix*, now and when routes are added to it.

        Raises:
            Conflict: another registration serves one of the paths; nothing is changed.
        """
        app, router = self.app, item.thing

        def refresh() -> None:
            found = list(leaves(router, prefix))
            self._check(item, [(leaf.path, leaf.route) for leaf in found])
            self._drop_routes(item)
            before = len(app.router.routes)
            with _without_start(app.router):
                for leaf in found:
                    app.router.include_router(leaf.router, prefix=prefix, **options)
            self._take_routes(item, app.router.routes[before:])
            self._watch(item, nested(router))

        try:
            refresh()
        except Exception:
            self._items.pop(item.key, None)
            raise
        item.refresh = refresh
        self._start(router)

    def _watch(self, item: Registration, routers: Iterable[APIRouter]) -> None:
        """Hear of changes of *routers*, and of no others, on behalf of *item*."""
        for router in item.watching:
            watched(router).unwatch(item.refreshed)
        item.watching = list(routers)
        for router in item.watching:
            watched(router).watch(item.refreshed)

    def serve(
        self, item: Registration, add: Callable[[], object], path: str, like: BaseRoute
    ) -> None:
        """Serve what *add* adds to the application's routes, as *item*.

        Raises:
            Conflict: another registration serves the path; nothing is changed.
        """
        try:
            self._check(item, [(path, like)])
        except Conflict:
            self._items.pop(item.key, None)
            raise
        before = len(self.app.router.routes)
        add()
        self._take_routes(item, self.app.router.routes[before:])

    def weaken(self, routes: list[BaseRoute]) -> None:
        """Let *routes* give way to any other of the same path."""
        self._weak |= {id(route) for route in routes}
        self.dispatcher.changed()

    def is_weak(self, route: BaseRoute) -> bool:
        """Whether *route* gives way to any other of the same path."""
        return id(route) in self._weak

    def _start(self, router: APIRouter) -> None:
        """Let the application's start include the router's own, once."""
        if any(known is router for known in self._started):
            return
        if not (router.on_startup or router.on_shutdown) and _is_default(router.lifespan_context):
            return
        self._started.append(router)
        starter = copy.copy(router)
        starter.routes = []
        if _is_default(router.lifespan_context):  # it runs these itself
            starter.on_startup, starter.on_shutdown = [], []
        before = len(self.app.router.routes)
        self.app.router.include_router(starter)
        del self.app.router.routes[before:]

    def _check(self, item: Registration, routes: list[tuple[str, BaseRoute]]) -> None:
        if item.override:
            return
        held = [(entry, self._of_route.get(id(entry.top))) for entry in self.dispatcher.index()]
        for path, route in routes:
            for entry, other in held:
                if other is None or other is item or other.override:
                    continue
                if _hide_each_other(entry, path, route):
                    raise Conflict(
                        f"{item.what} serves {path} at {item.place}, and {other.what} does so "
                        f"already at {other.place}. One of the two must go, or say override=True."
                    )

    def _take_routes(self, item: Registration, routes: list[BaseRoute]) -> None:
        item.routes = list(routes)
        self._of_route |= {id(route): item for route in routes}
        self.dispatcher.changed()
        self.changed()

    def _drop_routes(self, item: Registration) -> None:
        gone = {id(route) for route in item.routes}
        if not gone:
            return
        routes = self.app.router.routes
        routes[:] = [route for route in routes if id(route) not in gone]
        for key in gone:
            self._of_route.pop(key, None)
        item.routes = []

    def _flights_of(self, route: BaseRoute) -> Flights | None:
        item = self._of_route.get(id(route))
        return item.flights if item else None

    def _standing_of(self, route: BaseRoute) -> int:
        item = self._of_route.get(id(route))
        if item is not None and item.override:
            return -1
        return 1 if id(route) in self._weak else 0


def book_of(app: FastAPI) -> Book:
    """The book of *app*; opened when first asked for."""
    book: Book | None = getattr(app.state, "book", None)
    if book is None:
        book = app.state.book = Book(app)
        _apps.add(app)
    return book


def books() -> list[Book]:
    """The books of all applications of this process."""
    return [book_of(app) for app in list(_apps)]


def caller_place() -> str:
    """File and line of the nearest caller outside of the framework."""
    frame = inspect.currentframe()
    assert frame is not None  # noqa: S101 - CPython has frames
    while frame.f_back is not None and frame.f_code.co_filename.startswith((HERE, "<")):
        frame = frame.f_back
    return f"{frame.f_code.co_filename}:{frame.f_lineno}"


def _hide_each_other(entry: Entry, path: str, route: BaseRoute) -> bool:
    kinds = {Mount: "mount", WebSocketRoute: "websocket", Route: "http"}
    kind = next((name for base, name in kinds.items() if isinstance(route, base)), "")
    if kind == "mount":
        path = path.rstrip("/") + "/{path:path}"
    if kind != entry.kind or shape_of(path) != shape_of(entry.path):
        return False
    methods = getattr(route, "methods", None)
    return methods is None or entry.methods is None or bool(entry.methods & set(methods))


@contextmanager
def _without_start(router: APIRouter) -> Generator[None]:
    """Inside, what *router* includes adds nothing to its start and end.

    Each inclusion would start the included one once more, and none would leave it.
    """
    lifespan = router.lifespan_context
    begin, end = list(router.on_startup), list(router.on_shutdown)
    try:
        yield
    finally:
        router.lifespan_context = lifespan
        router.on_startup[:], router.on_shutdown[:] = begin, end


def _is_default(lifespan: object) -> bool:
    return type(lifespan).__name__ == "_DefaultLifespan"
