"""One HTTP conversation with an application in this process: its two halves, and the clock."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future, TimerHandle
from collections import deque
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp

from downstage.kernel.logging import get_logger
from downstage.services.transports.feed import Feed
from downstage.services.transports.head import BODILESS, failure, fold, silence
from downstage.services.transports.inflate import inflater
from downstage.services.transports.runner import Runner, Worker
from downstage.services.transports.transport import Answer, Body, Call

__all__ = ["Exchange", "StreamedExchange"]

HIGH_WATER = 256 * 1024
"""Bytes that an application may be ahead of whoever reads its answer."""
DISCONNECT = {"type": "http.disconnect"}
log = get_logger(__name__)


class Exchange:
    """The answer is gathered whole, up to a limit."""

    # What most calls never touch lies on the class: a call is begun twenty times in a millisecond.
    _worker: Worker | None = None
    _over: Future[None] | None = None
    """Resolved when the answer is complete or the caller has gone."""
    _news: Future[None] | None = None
    """Resolved when there is something for the caller."""
    _timer: TimerHandle | None = None
    _feed: Feed | None = None
    _whole: bytes | None = None
    _too_late = ""
    _heard = 0.0
    _size = 0
    _fields: Sequence[tuple[bytes, bytes]] = ()
    status = 0
    is_complete = False
    is_gone = False
    has_ended = False
    error: BaseException | None = None
    """What the application raised."""

    def __init__(self, call: Call, loop: AbstractEventLoop, address: str, limit: int) -> None:
        self._call = call
        self._loop = loop
        self._address = address
        self._limit = limit
        self._parts: list[bytes] = []
        body = call.body
        if type(body) is bytes:
            self._whole = body
        else:
            self._open(body)

    def _open(self, body: Body) -> None:
        if isinstance(body, bytes):
            self._whole = body
        else:
            self._feed = Feed(body, self._loop)

    def start(self, runner: Runner, app: ASGIApp, scope: dict[str, Any]) -> None:
        """Run the application, up to where it first waits."""
        steps: Any = app(scope, self.receive, self.send)
        self._worker = runner.start(steps, self._app_ended)

    # What the application sees.

    async def receive(self) -> MutableMapping[str, Any]:
        """The request's body, then whether the caller has gone."""
        whole = self._whole
        if whole is not None:
            self._whole = None
            return {"type": "http.request", "body": whole, "more_body": False}
        if self._feed is not None and not self._feed.is_exhausted and not self._is_over:
            message = await self._feed.next()
            self._heard = self._loop.time()
            if message is not None:
                return message
            self._leave()  # the body broke off: its error goes to the caller
        if not self._is_over:
            if self._over is None:
                self._over = self._loop.create_future()
            await asyncio.wait({self._over})
        return DISCONNECT

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """One part of the answer.

        Raises:
            OSError: the caller has gone, or takes no more.
        """
        if self.is_gone:
            raise OSError("the caller has gone")
        kind = message["type"]
        if kind == "http.response.start" and not self.status:
            self.status = message["status"]
            self._fields = message.get("headers") or []
            return
        if kind != "http.response.body" or not self.status or self.is_complete:
            raise RuntimeError(f"{kind} out of order")
        body = message.get("body")
        if body and self._call.method != "HEAD" and self.status not in BODILESS:
            self._take(body if type(body) is bytes else bytes(body))
        if not message.get("more_body"):
            self.is_complete = True
            if self._news is not None or self._over is not None:
                self._tell()

    def _take(self, body: bytes) -> None:
        self._size += len(body)
        self._parts.append(body)
        if self._timer is not None:
            self._heard = self._loop.time()
        if self._size > self._limit:
            self._parts.clear()
            self._leave()
            raise OSError("the caller takes no more")

    def _app_ended(self, error: BaseException | None) -> None:
        self.has_ended = True
        if error is None and self.is_complete and self._news is None:
            return
        self.error = error
        if isinstance(error, Exception) and not (self.is_complete or self.is_gone):
            # Starlette answers 500 and raises on, so that servers may log: it has been logged.
            log.error("local_call.crashed", path=self._call.path, exc_info=error)
        self._tell()

    # What the caller sees.

    async def raise_error(self) -> None:
        """For tests: wait until the application has ended, and raise what it raised."""
        while not self.has_ended:
            await self._wait()
        if isinstance(self.error, Exception):
            raise self.error

    async def wait_complete(self) -> None:
        """Return once the answer is complete, or none can come any more.

        Raises:
            ServiceUnavailableError: the call's time is up.
        """
        self._heard = began = self._loop.time()
        try:
            self._watch(began)
            while not (self.is_complete or self.has_ended or self.is_gone):
                await self._wait()
                self._check_time()
        finally:
            if self._timer is not None:
                self._timer.cancel()

    def answer(self) -> Answer:
        """The whole answer.

        Raises:
            ServiceUnavailableError: it is too large, or broke off.
        """
        if not self.is_complete or self._feed is not None:
            self._check_whole()
        if not self.status:
            plain = {"content-type": "text/plain; charset=utf-8"}
            return Answer(500, plain, b"Internal Server Error")
        parts = self._parts
        body = parts[0] if len(parts) == 1 else b"".join(parts)
        headers = fold(self._fields)
        if headers.get("content-length") != str(self._size):
            self._check_length(headers)
        if "content-encoding" in headers:
            body = self._inflated(headers["content-encoding"], body)
        return Answer(self.status, headers, body)

    def _check_whole(self) -> None:
        if self._feed is not None:
            self._feed.check()
        if self._size > self._limit:
            raise self._too_large()
        if not self.is_complete and (self.status or not self.has_ended):
            raise self._broke_off()

    async def end(self) -> None:
        """Nobody listens any more: an answer under way is stopped, what comes after it is not."""
        self.leave()
        if self._feed is not None:
            await self._feed.close()

    def leave(self) -> None:
        """The caller has gone: the handler sees a disconnect, and is cancelled."""
        if not self.is_complete:
            self._leave()
            if self._worker is not None and not self.has_ended:  # else it carries another call
                self._worker.cancel()

    @property
    def _is_over(self) -> bool:
        return self.is_complete or self.is_gone

    def _leave(self) -> None:
        self.is_gone = True
        self._tell()

    def _tell(self) -> None:
        if self._is_over and self._over is not None and not self._over.done():
            self._over.set_result(None)
        if self._news is not None and not self._news.done():
            self._news.set_result(None)

    async def _wait(self) -> None:
        self._news = self._loop.create_future()
        await self._news

    def _watch(self, began: float) -> None:
        """Look again when the call's time may be up; one timer, however many pieces come."""
        call, now = self._call, self._loop.time()
        limits = list[tuple[float, str]]()
        if call.timeout_s is not None:
            limits.append((began + call.timeout_s, f"no answer within {call.timeout_s:g} s"))
        if call.read_timeout_s is not None:
            # Silence counts from the end of the request, however long that is under way.
            is_sending = self._feed and not (self._feed.is_exhausted or self.status)
            quiet = f"nothing came for {call.read_timeout_s:g} s"
            limits.append(((now if is_sending else self._heard) + call.read_timeout_s, quiet))
        if not limits:
            return
        when, why = min(limits)
        if when <= now:
            self._too_late = why
            self._tell()
        else:
            self._timer = self._loop.call_at(when, self._watch, began)

    def _check_time(self) -> None:
        if self._too_late and not (self.is_complete or self.has_ended):
            raise silence(self._call, self._address, self._too_late)

    def _check_length(self, headers: dict[str, str]) -> None:
        declared = headers.get("content-length")
        if declared is None or self._call.method == "HEAD" or self.status in BODILESS:
            return
        if declared != str(self._size):
            raise self._broke_off()

    def _inflated(self, encoding: str, body: bytes) -> bytes:
        inflate, whole = inflater(encoding), bytearray()
        if inflate is None:
            return body
        try:
            for piece in inflate(body):
                whole += piece
                if len(whole) > self._limit:
                    raise self._too_large()
        except ValueError as error:
            raise failure(self._call, self._address, str(error)) from error
        return bytes(whole)

    def _too_large(self) -> Exception:
        why = f"the answer is larger than {self._limit} bytes"
        return failure(self._call, self._address, why)

    def _broke_off(self) -> Exception:
        return failure(self._call, self._address, "the answer broke off")


class StreamedExchange(Exchange):
    """The answer is read piece by piece; the application waits for a slow reader."""

    _room: Future[None] | None = None

    def __init__(self, call: Call, loop: AbstractEventLoop, address: str) -> None:
        super().__init__(call, loop, address, 0)
        self._queue: deque[bytes] = deque()
        self._waiting = 0
        self.headers: dict[str, str] = {}

    async def send(self, message: MutableMapping[str, Any]) -> None:
        """As for `Exchange`; returns when the reader has caught up."""
        while self._waiting >= HIGH_WATER and not self.is_gone:
            if self._room is None or self._room.done():
                self._room = self._loop.create_future()
            await asyncio.wait({self._room})
        await super().send(message)
        if message["type"] == "http.response.start":
            self._tell()

    def _take(self, body: bytes) -> None:
        self._size += len(body)
        self._waiting += len(body)
        self._queue.append(body)
        self._tell()

    def _tell(self) -> None:
        super()._tell()
        if self.is_gone:
            self._make_room()

    def _make_room(self) -> None:
        if self._room is not None and not self._room.done():
            self._room.set_result(None)

    async def wait_head(self) -> None:
        """Return once the status is there.

        Raises:
            ServiceUnavailableError: the call's time is up.
        """
        self._heard = began = self._loop.time()
        try:
            self._watch(began)
            while not (self.status or self.has_ended or self.is_gone):
                await self._wait()
                if self._too_late and not self.status:
                    raise silence(self._call, self._address, self._too_late)
        finally:
            if self._timer is not None:
                self._timer.cancel()
        if self._feed is not None:
            self._feed.check()
        if not self.status:
            self._say_crashed()
        self.headers = fold(self._fields)

    def _say_crashed(self) -> None:
        self.status = 500
        self._fields = [(b"content-type", b"text/plain; charset=utf-8")]
        self._queue.append(b"Internal Server Error")
        self.is_complete = True

    async def __aiter__(self) -> AsyncIterator[bytes]:
        inflate = inflater(self.headers.get("content-encoding", ""))
        try:
            async for piece in self._pieces():
                if inflate is None:
                    yield piece
                    continue
                for inflated in inflate(piece):
                    yield inflated
        except ValueError as error:
            raise failure(self._call, self._address, str(error)) from error

    async def _pieces(self) -> AsyncIterator[bytes]:
        while True:
            while self._queue:
                piece = self._queue.popleft()
                self._waiting -= len(piece)
                if self._waiting < HIGH_WATER:
                    self._make_room()
                yield piece
            if self.is_complete:
                self._check_length(self.headers)
                return
            if self._feed is not None:
                self._feed.check()
            if self.has_ended or self.is_gone:
                raise self._broke_off()
            await self._next_news()

    async def _next_news(self) -> None:
        limit = self._call.read_timeout_s
        with suppress(TimeoutError):
            async with asyncio.timeout(limit):
                await self._wait()
            return
        if not (self._queue or self.is_complete or self.has_ended):
            why = f"nothing came for {limit:g} s"
            raise silence(self._call, self._address, why)
