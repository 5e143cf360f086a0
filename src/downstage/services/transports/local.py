"""``local://``: a full ASGI call in this process, through middleware, authority and all.

Each call has a scope, a context and a task of its own; nothing is kept between calls but the
application's lifespan. As over HTTP, the answer does not wait for background tasks, an exception
of a handler is its 500 answer, and what a handler sets in context variables stays its own.
"""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop
from collections.abc import AsyncGenerator, Generator
from contextlib import asynccontextmanager, contextmanager
from contextvars import ContextVar
from typing import Any
from urllib.parse import unquote, urlsplit

from starlette.types import ASGIApp

from downstage.services import registry
from downstage.services.errors import ServiceUnavailableError
from downstage.services.transports.exchange import Exchange, StreamedExchange
from downstage.services.transports.head import NAMES, SOUND, check, failure, field_name, query_text
from downstage.services.transports.lifespan import Lifespan
from downstage.services.transports.local_socket import LocalSocket
from downstage.services.transports.runner import MAX_STREAK, Runner
from downstage.services.transports.transport import MAX_ANSWER, Answer, Call

__all__ = ["LocalTransport", "close_app", "close_local", "raise_app_errors"]

ACCEPT = (b"accept", b"*/*")
NO_NAMES = frozenset[bytes]()
CHUNKED = (b"transfer-encoding", b"chunked")
LENGTHLESS = frozenset({"GET", "HEAD", "DELETE", "OPTIONS", "TRACE"})
ASGI_HTTP = {"version": "3.0", "spec_version": "2.4"}
"""2.4: sending to a caller that has gone raises OSError."""
CLIENT = ("local", 0)

_raises: ContextVar[bool] = ContextVar("raise_app_errors", default=False)


@contextmanager
def raise_app_errors() -> Generator[None]:
    """For tests: inside, what an application raises comes out of the call, as it is.

    Without it an exception is what it is over HTTP: an answer with status 500.
    """
    before = _raises.set(True)
    try:
        yield
    finally:
        _raises.reset(before)


class _Here:
    """What applications called from one loop share: workers and lifespans."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self.loop = loop
        self.runner = Runner(loop)
        self.lives: dict[int, Lifespan] = {}
        self.keeper = _keep(self)

    async def begin(self, app: ASGIApp, name: str) -> Lifespan:
        """Start *app* where nobody has; wait until it has started."""
        life = self.lives.get(id(app))
        if life is None:
            # What had this name before has been replaced: its life ends here.
            before = [old for old in self.lives.values() if name and old.name == name]
            life = self.lives[id(app)] = Lifespan(app, self.loop, name)
            for old in before:
                await self.finish(old)
        try:
            await life.wait_up()
        except ServiceUnavailableError:
            if self.lives.get(id(app)) is life:
                del self.lives[id(app)]
            raise
        return life

    async def finish(self, life: Lifespan) -> None:
        """Shut one application down; the next call would start it again."""
        self.lives.pop(id(life.app), None)
        await life.stop()

    async def close(self) -> None:
        """Shut down all applications and workers of this loop."""
        if _here.get(self.loop) is self:
            del _here[self.loop]
        self.runner.close()
        while self.lives:
            await self.finish(next(iter(self.lives.values())))


_here: dict[AbstractEventLoop, _Here] = {}


async def _keep(here: _Here) -> AsyncGenerator[None]:
    """Close when the loop ends: loops finish their asynchronous generators then."""
    try:
        yield
    finally:
        await here.close()


async def _open(loop: AbstractEventLoop) -> _Here:
    here = _here[loop] = _Here(loop)
    await anext(here.keeper)
    return here


async def close_local() -> None:
    """Shut down what ``local://`` calls have started in this loop. Safe to repeat."""
    here = _here.get(asyncio.get_running_loop())
    if here is not None:
        await here.keeper.aclose()


async def close_app(app: ASGIApp) -> None:
    """Shut down one application that ``local://`` calls have started in this loop."""
    here = _here.get(asyncio.get_running_loop())
    life = here.lives.get(id(app)) if here is not None else None
    if here is not None and life is not None:
        await here.finish(life)


class LocalTransport:
    """Calls an ASGI application directly: the one given, else the one registered by name."""

    def __init__(self, uri: str, app: ASGIApp | None = None) -> None:
        parts = urlsplit(uri)
        self._app = app
        self._name = parts.netloc
        self._base = parts.path.rstrip("/")
        self._address = f"local://{self._name}{self._base}"
        self._host = (b"host", (self._name or "local").encode())
        self._server = (self._name or "local", None)

    async def request(self, call: Call) -> Answer:
        """Run the application for *call* and gather its answer."""
        if call.headers or (call.method, call.path) not in SOUND:
            check(call)
        loop = asyncio.get_running_loop()
        here = _here.get(loop) or await _open(loop)
        app = self._app or registry.find_app(self._name)
        life = here.lives.get(id(app))
        if life is None or not life.is_up:
            life = await here.begin(app, self._name)
        exchange = Exchange(call, loop, self._address, MAX_ANSWER)
        try:
            exchange.start(here.runner, app, self._scope(call, life.state))
            if not exchange.is_complete and not exchange.has_ended:
                await exchange.wait_complete()
            elif here.runner.streak >= MAX_STREAK:
                await here.runner.breathe()
            if _raises.get():
                await exchange.raise_error()
            return exchange.answer()
        finally:
            if not exchange.has_ended:
                await exchange.end()

    @asynccontextmanager
    async def stream(self, call: Call) -> AsyncGenerator[StreamedExchange]:
        """Run the application for *call*; inside, the answer's head is there."""
        check(call)
        here, app, life = await self._reach()
        exchange = StreamedExchange(call, here.loop, self._address)
        try:
            exchange.start(here.runner, app, self._scope(call, life.state))
            await exchange.wait_head()
            yield exchange
            if _raises.get():
                await exchange.raise_error()
        finally:
            await exchange.end()

    @asynccontextmanager
    async def socket(
        self, call: Call, subprotocols: tuple[str, ...] = ()
    ) -> AsyncGenerator[LocalSocket]:
        """Open a WebSocket to the application; it is closed at exit."""
        check(call)
        here, app, life = await self._reach()
        scope = self._scope(call, life.state)
        del scope["method"]
        scope |= {
            "type": "websocket",
            "scheme": "ws",
            "subprotocols": list(subprotocols),
            "extensions": {"websocket.http.response": {}},
        }
        socket = LocalSocket(call, here.loop, self._address, subprotocols)
        try:
            socket.start(here.runner, app, scope)
            await socket.wait_open()
            yield socket
        finally:
            await socket.close()

    async def _reach(self) -> tuple[_Here, ASGIApp, Lifespan]:
        loop = asyncio.get_running_loop()
        here = _here.get(loop) or await _open(loop)
        app = self._app or registry.find_app(self._name)
        try:
            return here, app, await here.begin(app, self._name)
        except ServiceUnavailableError as error:
            raise failure(Call("", ""), self._address, str(error)) from error

    def _scope(self, call: Call, state: dict[str, Any]) -> dict[str, Any]:
        path = self._base + call.path or "/"
        if call.headers or call.body or call.method not in LENGTHLESS:
            fields = self._fields(call)
        else:
            fields = [self._host, ACCEPT]
        return {
            "type": "http",
            "asgi": ASGI_HTTP.copy(),
            "http_version": "1.1",
            "method": call.method,
            "scheme": "http",
            "path": unquote(path) if "%" in path else path,
            "raw_path": path.encode(),
            "query_string": query_text(call.query).encode() if call.query else b"",
            "root_path": "",
            "headers": fields,
            "client": CLIENT,
            "server": self._server,
            "state": state.copy() if state else {},
            "extensions": {},
        }

    def _fields(self, call: Call) -> list[tuple[bytes, bytes]]:
        fields = [(NAMES.get(k) or field_name(k), v.encode()) for k, v in call.headers.items()]
        names = {name for name, _ in fields} if fields else NO_NAMES
        if b"host" not in names:
            fields.insert(0, self._host)
        if b"accept" not in names:
            fields.append(ACCEPT)
        body = call.body
        if not body and call.method in LENGTHLESS:
            return fields
        if b"content-length" not in names and b"transfer-encoding" not in names:
            if isinstance(body, bytes):
                fields.append((b"content-length", str(len(body)).encode()))
            else:
                fields.append(CHUNKED)
        return fields


TRANSPORTS = {"local": LocalTransport}
