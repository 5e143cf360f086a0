"""Applications in front of an application: whole families of paths that need no framework.

A protocol of its own (WebDAV, S3), or a route that must cost next to nothing, is served by a plain
ASGI application. It stands before the middleware: bodies are neither limited nor decoded, and its
messages may be as large as it says. Request ids, counting and answers to errors are the same as
everywhere.

A front may be for sockets alone, with a `SocketHandler` instead of an application.
"""

from __future__ import annotations

import asyncio
import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from time import perf_counter
from typing import TYPE_CHECKING, Any, Protocol

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from downstage.kernel.errors import PlatformError, Unavailable
from downstage.kernel.limits import MAX_SIGNALLING
from downstage.kernel.logging import get_logger
from downstage.services.forwarded import VETTED, is_forged
from downstage.services.refusal import answer
from downstage.services.sockets import AsgiSockets, SocketHandler
from downstage.services.sockets.wire import IDLE_S

if TYPE_CHECKING:
    from downstage.services.sockets.upgrade import Place

__all__ = ["TEMPLATE", "Counter", "Front", "Fronts"]

TEMPLATE = "downstage.template"
"""Key of the scope: a front tells the template of its path, for metrics; never a real path."""
REQUEST_ID = b"x-request-id"
GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
METHODS = frozenset({"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS"})
CLASSES = ("cancelled", "1xx", "2xx", "3xx", "4xx", "5xx")
SEGMENT = re.compile(r"\{[a-z_]+\}")
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
FIRST_OF_OURS = 500
log = get_logger(__name__)


class Counter(Protocol):
    """What a front counts with: `Meter` of the application it stands before."""

    def move(self, requests: int, sockets: int) -> None:
        """Count what begins (1) and what has ended (-1)."""
        ...

    def count(self, key: tuple[str, str, str, str], seconds: float) -> None:
        """One request of that kind has ended."""
        ...


@dataclass(frozen=True, slots=True)
class Front:
    """One application that answers some paths before everything else."""

    path: str
    """Where it begins, ``/dav``; with a slash at the end only what is below.

    Of sockets alone: all of it, in which a name in braces stands for one segment."""
    app: ASGIApp
    max_message: int = MAX_SIGNALLING
    """Bytes of a message on its sockets."""
    owner: str = ""
    """Id of the service that brought it."""
    raw: SocketHandler | None = None
    """It is for sockets alone, and this lets them in."""
    idle_s: float = IDLE_S
    """How long such a socket may be silent."""

    @classmethod
    def of_sockets(
        cls, path: str, raw: SocketHandler, *, max_message: int, owner: str, idle_s: float = IDLE_S
    ) -> Front:
        """A front for sockets alone."""
        return cls(path, AsgiSockets(raw, max_message), max_message, owner, raw, idle_s)

    @property
    def pattern(self) -> str:
        """Of the beginnings of its paths, as they are sent."""
        if self.raw is not None:
            parts = (re.escape(part) for part in SEGMENT.split(self.path))
            return "[^/?]+".join(parts) + r"/?(?=[?]|\Z)"
        return re.escape(self.path) + ("" if self.path.endswith("/") else r"(?=[/?]|\Z)")


class _Beginnings:
    """Finds a front by the path, by one match for all of them: every request is asked for."""

    def __init__(self, fronts: list[Front]) -> None:
        self._fronts = fronts
        groups = [f"({front.pattern})" for front in fronts]
        self._pattern = re.compile("|".join(groups) or r"\Z.")

    def find(self, path: str) -> Front | None:
        found = self._pattern.match(path)
        return None if found is None else self._fronts[(found.lastindex or 0) - 1]


class Fronts:
    """The fronts of one application, the longest path first."""

    def __init__(self, meter: Counter) -> None:
        self._meter = meter
        self._put([])

    def __iter__(self) -> Iterator[Front]:
        return iter(self._fronts)

    def add(self, front: Front) -> None:
        """Let *front* answer its paths, in place of one that had the same."""
        kept = [item for item in self._fronts if item.path != front.path]
        self._put([*kept, front])

    def remove(self, owner: str) -> None:
        """Take away the fronts of *owner*."""
        self._put([item for item in self._fronts if item.owner != owner])

    def find(self, path: str, *, is_socket: bool = True) -> Front | None:
        """Who answers *path*, given as it was sent: escapes are not read."""
        return (is_socket and self._raw.find(path)) or self._others.find(path)

    def of(self, scope: Scope) -> Front | None:
        """Who answers the request or socket of *scope*."""
        if not self._fronts or scope["type"] not in ("http", "websocket"):
            return None
        raw: bytes | None = scope.get("raw_path")
        path = raw.decode("latin-1") if raw else scope["path"]
        return self.find(path, is_socket=scope["type"] == "websocket")

    def _put(self, fronts: list[Front]) -> None:
        self._fronts = sorted(fronts, key=lambda item: -len(item.path))
        self._raw = _Beginnings([front for front in self._fronts if front.raw is not None])
        self._others = _Beginnings([front for front in self._fronts if front.raw is None])

    def open(
        self,
        front: Front,
        scope: Scope,
        transport: asyncio.Transport,
        place: Place,
        early: bytes = b"",
    ) -> None:
        """Let the handler of *front* have the connection, whose request is *scope*.

        Args:
            front: of sockets.
            scope: as ASGI describes the request.
            transport: of the connection.
            place: where the server finds it when it stops.
            early: what came behind the request.
        """
        from downstage.services.sockets.upgrade import Opening

        assert front.raw is not None  # noqa: S101 - the caller looked
        if VETTED not in scope:
            scope["headers"] = [item for item in scope["headers"] if not is_forged(item[0])]
        _request_id(scope)
        Opening(
            transport,
            scope,
            front.raw,
            limit=front.max_message,
            early=early,
            idle_s=front.idle_s,
            place=place,
            move=lambda change: self._meter.move(0, change),
        ).begin()

    async def serve(self, front: Front, scope: Scope, receive: Receive, send: Send) -> None:
        """Let *front* answer, and see to what every answer has."""
        if scope["type"] == "websocket":
            await self._serve_socket(front, scope, receive, send)
            return
        request_id = _request_id(scope)
        tag = (REQUEST_ID, request_id.encode())
        status = 0

        async def tagged(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), tag]
            await send(message)

        self._meter.move(1, 0)
        began = perf_counter()
        try:
            await front.app(scope, receive, tagged)
        except PlatformError as error:
            if status:
                raise
            _tell(error, scope)
            await answer(error, request_id)(scope, receive, tagged)
        except Exception:  # the edge: whatever it was, it is answered and logged
            if status:
                raise
            log.exception("request.crashed", path=front.path, request_id=request_id)
            refusal = PlatformError("An error of ours; the log has it.")
            await answer(refusal, request_id)(scope, receive, tagged)
        finally:
            self._meter.move(-1, 0)
            method = scope["method"] if scope["method"] in METHODS else "(other)"
            template = scope.get(TEMPLATE, front.path)
            key = (front.owner, method, template, CLASSES[min(status // 100, 5)])
            self._meter.count(key, perf_counter() - began)

    async def _serve_socket(self, front: Front, scope: Scope, receive: Receive, send: Send) -> None:
        request_id = _request_id(scope)
        accepted = closed = False

        async def watched(message: Message) -> None:
            nonlocal accepted, closed
            accepted = accepted or message["type"] == "websocket.accept"
            closed = closed or message["type"] == "websocket.close"
            await send(message)

        self._meter.move(0, 1)
        try:
            await front.app(scope, receive, watched)
        except PlatformError as error:
            _tell(error, scope)
            if not accepted:
                await _deny(error, request_id, send)
            elif not closed:
                ours = error.status >= FIRST_OF_OURS
                code = INTERNAL_ERROR if ours else POLICY_VIOLATION
                await send({"type": "websocket.close", "code": code, "reason": error.code})
        finally:
            self._meter.move(0, -1)


async def _deny(error: PlatformError, request_id: str, send: Send) -> None:
    response = answer(error, request_id)
    head: dict[str, Any] = {
        "type": "websocket.http.response.start",
        "status": response.status_code,
        "headers": [*response.raw_headers, (REQUEST_ID, request_id.encode())],
    }
    await send(head)
    await send({"type": "websocket.http.response.body", "body": response.body})


def _request_id(scope: Scope) -> str:
    for name, value in scope["headers"]:
        if name == REQUEST_ID and GOOD_ID.fullmatch(value):
            found: str = value.decode()
            break
    else:
        found = f"{random.getrandbits(128):032x}"
    scope["request_id"] = found
    return found


def _tell(error: PlatformError, scope: Scope) -> None:
    if error.status >= FIRST_OF_OURS and not isinstance(error, Unavailable):
        log.error(
            "request.failed",
            exc_info=error,
            path=scope["path"],
            code=error.code,
            request_id=scope.get("request_id"),
        )
