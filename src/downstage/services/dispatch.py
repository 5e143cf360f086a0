"""Which route a request goes to: an index over an application's routes, rebuilt when they change.

FastAPI walks its routes in order of registration, so that ``/{id}`` hides a ``/list`` that came
later, and included routers are objects without a path. Here every route has an entry of its own;
literal segments win over parameters whatever the order, and a request touches the few entries
that can match instead of all. What is found is run by FastAPI itself, on a router of one route.
"""

from __future__ import annotations

import copy
import re
import weakref
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, Self, SupportsIndex, cast
from urllib.parse import urlsplit, urlunsplit

from fastapi import APIRouter
from starlette.exceptions import HTTPException
from starlette.routing import BaseRoute, Mount, Route, WebSocketRoute, compile_path
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from downstage.services.flights import Flights

__all__ = ["Dispatcher", "Entry", "Leaf", "RouteList", "leaves", "nested", "shape_of", "watched"]

PARAMETER = re.compile(r"\{[^}:]+(?::([^}]+))?\}")
REDIRECT = 307
LITERAL, PARTIAL, TYPED, PLAIN, TAIL, END = range(6)


class RouteList(list[BaseRoute]):
    """A router's routes; tells when they change, whoever changes them."""

    def __init__(self, routes: Iterable[BaseRoute]) -> None:
        super().__init__(routes)
        self._watchers: list[weakref.WeakMethod[Callable[[], None]]] = []

    def watch(self, changed: Callable[[], None]) -> None:
        """Call the method *changed* after every change, for as long as its object lives."""
        self.unwatch(changed)
        self._watchers.append(weakref.WeakMethod(changed))

    def unwatch(self, changed: Callable[[], None]) -> None:
        """The inverse of `watch`."""
        self._watchers = [item for item in self._watchers if item() not in (None, changed)]

    def _changed(self) -> None:
        for watcher in list(self._watchers):
            tell = watcher()
            if tell is not None:
                tell()

    def append(self, item: BaseRoute, /) -> None:
        """As of a list."""
        super().append(item)
        self._changed()

    def insert(self, index: SupportsIndex, item: BaseRoute, /) -> None:
        """As of a list."""
        super().insert(index, item)
        self._changed()

    def extend(self, items: Iterable[BaseRoute], /) -> None:
        """As of a list."""
        super().extend(items)
        self._changed()

    def remove(self, item: BaseRoute, /) -> None:
        """As of a list."""
        super().remove(item)
        self._changed()

    def pop(self, index: SupportsIndex = -1, /) -> BaseRoute:
        """As of a list."""
        item = super().pop(index)
        self._changed()
        return item

    def clear(self) -> None:
        """As of a list."""
        super().clear()
        self._changed()

    def __iadd__(self, items: Iterable[BaseRoute], /) -> Self:  # pyright: ignore[reportIncompatibleMethodOverride]
        self.extend(items)
        return self

    def __setitem__(self, index: Any, item: Any, /) -> None:
        super().__setitem__(index, item)
        self._changed()

    def __delitem__(self, index: Any, /) -> None:
        super().__delitem__(index)
        self._changed()


def watched(router: APIRouter) -> RouteList:
    """The routes of *router*, from now on as a list that tells of its changes."""
    known = router.routes
    if isinstance(known, RouteList):
        return known
    router.routes = made = RouteList(known)
    return made


@dataclass(frozen=True, slots=True)
class Leaf:
    """One route of a router, alone: what `include_router` takes, and where it will be."""

    router: APIRouter
    path: str
    route: BaseRoute


def leaves(router: APIRouter, prefix: str = "") -> Iterator[Leaf]:
    """Every route of *router* and of the routers that it includes, each as a router of its own."""
    for route in list(router.routes):
        inner = getattr(route, "original_router", None)
        if isinstance(inner, APIRouter):
            # FastAPI >= 0.130 keeps an included router as one object.
            context: Any = getattr(route, "include_context", None)
            kind = cast("Callable[..., BaseRoute]", type(route))
            for leaf in leaves(inner, prefix + context.prefix):
                wrapped = kind(original_router=leaf.router, include_context=context)
                yield Leaf(_only(router, wrapped), leaf.path, leaf.route)
        else:
            yield Leaf(_only(router, route), prefix + str(getattr(route, "path", "")), route)


def nested(router: APIRouter) -> Iterator[APIRouter]:
    """*router* and every router that it includes, directly or through others."""
    yield router
    for route in list(router.routes):
        inner = getattr(route, "original_router", None)
        if isinstance(inner, APIRouter):
            yield from nested(inner)


def _only(router: APIRouter, route: BaseRoute) -> APIRouter:
    """*router* with its options, and *route* as its only one."""
    alone = copy.copy(router)
    alone.routes = [route]
    for name, empty in (("_low_priority_routes", list[Any]()), ("_frontend_routes", None)):
        if hasattr(alone, name):
            setattr(alone, name, empty)
    return alone


@dataclass(slots=True)
class Entry:
    """One route as it is found: `run` handles a request that `pattern` and `methods` fit."""

    path: str
    kind: str
    """``http``, ``websocket`` or ``mount`` (both)."""
    methods: frozenset[str] | None
    run: ASGIApp
    route: BaseRoute
    top: BaseRoute
    """The object of the application's own list that holds it."""
    flights: Flights | None
    pattern: re.Pattern[str]
    rank: tuple[Any, ...]


@dataclass(slots=True)
class _Node:
    literals: dict[str, _Node] = field(default_factory=dict[str, "_Node"])
    any: _Node | None = None
    ends: list[Entry] = field(default_factory=list[Entry])
    tails: list[Entry] = field(default_factory=list[Entry])


def shape_of(path: str) -> str:
    """*path* without the names of its parameters: two routes of one shape hide each other."""
    return PARAMETER.sub(lambda found: f"{{:{found.group(1) or 'str'}}}", path)


class Dispatcher:
    """The innermost ASGI application: finds the route of a request and runs it.

    Args:
        router: the application's own; its order holds for what is not known here.
        flights: whose requests a route's are, by the route's identity.
        standing: order among routes of one shape, by the route's identity; lower wins.
    """

    def __init__(
        self,
        router: APIRouter,
        *,
        flights: Callable[[BaseRoute], Flights | None],
        standing: Callable[[BaseRoute], int],
    ) -> None:
        self._router = router
        self._fallback: ASGIApp = router.middleware_stack
        self._flights = flights
        self._standing = standing
        self._root: _Node | None = None
        self._has_unknown = False
        self.entries: list[Entry] = []
        watched(router).watch(self.changed)
        router.middleware_stack = self

    def changed(self) -> None:
        """Build the index again before the next request."""
        self._root = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Run the route that *scope* names; 405 names every method of the path."""
        kind = scope["type"]
        if kind == "lifespan":
            await self._fallback(scope, receive, send)
            return
        found = self._candidates(_path(scope))
        method = scope.get("method", "")
        allowed = set[str]()
        for entry in found:
            if entry.kind not in (kind, "mount"):
                continue
            if entry.methods is not None and method not in entry.methods:
                allowed |= entry.methods
                continue
            scope.setdefault("router", self._router)
            scope.setdefault("downstage.route", entry.path)
            if entry.flights is None:
                await entry.run(scope, receive, send)
            else:
                await entry.flights.carry(entry.run, scope, receive, send)
            return
        await self._miss(allowed, scope, receive, send)

    async def _miss(self, allowed: set[str], scope: Scope, receive: Receive, send: Send) -> None:
        """Nothing that is known here fits: 405, or 404, or what FastAPI knows beside it."""
        if not self._has_unknown:
            if allowed:
                raise HTTPException(405, headers={"Allow": ", ".join(sorted(allowed))})
            path = _path(scope)
            other = path[:-1] if path.endswith("/") else path + "/"
            if not self._candidates(other):
                # FastAPI would try every route, and every route once more for a redirect.
                scope.setdefault("router", self._router)
                await self._router.default(scope, receive, send)
                return
        await self._fallback(scope, receive, _at_home(scope, send))

    def index(self) -> list[Entry]:
        """All entries, in order of registration."""
        if self._root is None:
            self._build()
        return self.entries

    def _candidates(self, path: str) -> list[Entry]:
        if self._root is None:
            self._build()
        found: list[Entry] = []
        _collect(cast("_Node", self._root), path.split("/"), 1, found)
        found = [entry for entry in found if entry.pattern.match(path)]
        if len(found) > 1:
            found.sort(key=_rank)
        return found

    def _build(self) -> None:
        root, entries = _Node(), list[Entry]()
        # Routes of FastAPI's `frontend` come after all others, and stand elsewhere.
        self._has_unknown = bool(getattr(self._router, "_low_priority_routes", None))
        for place, route in enumerate(self._router.routes):
            entry = self._entry(route, place)
            if entry is None:
                self._has_unknown = True
                continue
            entries.append(entry)
            _insert(root, entry)
        self._root, self.entries = root, entries

    def _entry(self, route: BaseRoute, place: int) -> Entry | None:
        leaf = _leaf(route)
        if leaf is None:
            return None
        path, inner = leaf
        kind, methods = "http", None
        if isinstance(inner, Mount):
            kind, path = "mount", path.rstrip("/") + "/{path:path}"
        elif isinstance(inner, WebSocketRoute):
            kind = "websocket"
        elif isinstance(inner, Route):
            methods = frozenset(inner.methods) if inner.methods else None
        else:
            return None
        return Entry(
            path=path,
            kind=kind,
            methods=methods,
            run=self._runner(route),
            route=inner,
            top=route,
            flights=self._flights(route),
            pattern=_pattern(path),
            rank=(_specificity(path), self._standing(route), place),
        )

    def _runner(self, route: BaseRoute) -> ASGIApp:
        """What runs *route* for a request that fits it."""
        if hasattr(route, "original_router") and not getattr(self._router, "form_limits", None):
            return route.handle  # it matches once more by itself, and sets what handlers need
        alone = _only(self._router, route)
        alone.redirect_slashes = False
        return alone.app


def _leaf(route: BaseRoute) -> tuple[str, BaseRoute] | None:
    """Path and route of a top-level object that holds exactly one; None where it holds more."""
    prefix = ""
    while isinstance(inner := getattr(route, "original_router", None), APIRouter):
        if len(inner.routes) != 1:
            return None
        context: Any = getattr(route, "include_context", None)
        prefix += context.prefix
        route = inner.routes[0]
    path = getattr(route, "path", None)
    return None if path is None else (prefix + path, route)


def _at_home(scope: Scope, send: Send) -> Send:
    """Leads who has a slash too many or too few by a path alone, never by what they call us."""
    host = next((value for name, value in scope["headers"] if name == b"host"), b"")

    async def tell(message: Message) -> None:
        if message["type"] == "http.response.start" and message["status"] == REDIRECT:
            headers = [
                (name, _path_of(value, host) if name == b"location" else value)
                for name, value in message.get("headers", ())
            ]
            message = {**message, "headers": headers}
        await send(message)

    return tell


def _path_of(location: bytes, host: bytes) -> bytes:
    """*location* without scheme and *host*; as it is where it names somebody else."""
    parts = urlsplit(location)
    if parts.netloc != host:
        return location
    path = b"/." + parts.path if parts.path.startswith(b"//") else parts.path
    return urlunsplit((b"", b"", path, parts.query, b""))


def _path(scope: Scope) -> str:
    """The path below the root path, as Starlette's own routing takes it."""
    path, root = cast("str", scope["path"]), cast("str", scope.get("root_path", ""))
    if root and path.startswith(root):
        if path == root:
            return ""
        if path[len(root)] == "/":
            return path[len(root) :]
    return path


def _rank(entry: Entry) -> tuple[Any, ...]:
    return entry.rank


@lru_cache(maxsize=4096)
def _pattern(path: str) -> re.Pattern[str]:
    return compile_path(path)[0]


@lru_cache(maxsize=4096)
def _specificity(path: str) -> tuple[int, ...]:
    """Segment by segment, what is least general first; so is what goes on behind a tail."""
    return (*(_segment_rank(segment) for segment in path.split("/")[1:]), END)


def _segment_rank(segment: str) -> int:
    found = PARAMETER.search(segment)
    if found is None:
        return LITERAL
    if found.group(1) == "path":
        return TAIL
    if found.group(0) != segment:
        return PARTIAL
    return TYPED if found.group(1) else PLAIN


def _insert(root: _Node, entry: Entry) -> None:
    node = root
    for segment in entry.path.split("/")[1:]:
        rank = _segment_rank(segment)
        if rank is TAIL:
            node.tails.append(entry)
            return
        if rank is LITERAL:
            node = node.literals.setdefault(segment, _Node())
        else:
            node.any = node.any or _Node()
            node = node.any
    node.ends.append(entry)


def _collect(node: _Node, segments: list[str], at: int, found: list[Entry]) -> None:
    if node.tails:
        found += node.tails
    if at >= len(segments):
        found += node.ends
        return
    literal = node.literals.get(segments[at])
    if literal is not None:
        _collect(literal, segments, at + 1, found)
    if node.any is not None:
        _collect(node.any, segments, at + 1, found)
