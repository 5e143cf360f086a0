"""One WebSocket to an application in this process."""

from __future__ import annotations

import asyncio
from asyncio import AbstractEventLoop, Future
from collections import deque
from collections.abc import MutableMapping
from typing import Any, cast

from starlette.types import ASGIApp

from downstage.kernel.logging import get_logger
from downstage.services.transports.close_reason import fit_reason
from downstage.services.transports.head import fold, refusal, silence, size_of
from downstage.services.transports.runner import Runner, Worker
from downstage.services.transports.transport import MAX_ANSWER, MAX_MESSAGE, Call, SocketClosed

__all__ = ["LocalSocket"]

HIGH_WATER = 256 * 1024
"""Bytes that one side may be ahead of the other."""
MAX_WAITING = 1024
"""Messages likewise."""
NO_STATUS = 1005
BROKE_OFF = 1006
TOO_LARGE = 1009
INTERNAL_ERROR = 1011
log = get_logger(__name__)


class _Pipe:
    """Messages one way; whoever puts waits while too much lies there."""

    def __init__(self, loop: AbstractEventLoop) -> None:
        self._loop = loop
        self._items: deque[str | bytes] = deque()
        self._size = 0
        self._changed: Future[None] | None = None
        self.end: tuple[int, str] | None = None
        """Close code and reason; what was put before is still taken."""

    @property
    def is_full(self) -> bool:
        return self._size >= HIGH_WATER or len(self._items) >= MAX_WAITING

    async def put(self, item: str | bytes) -> bool:
        """False if it has been closed."""
        while self.is_full and self.end is None:
            await self._wait()
        if self.end is not None:
            return False
        self._items.append(item)
        self._size += len(item)
        self._tell()
        return True

    async def take(self) -> str | bytes | None:
        """The next message; None after the last one."""
        while not self._items and self.end is None:
            await self._wait()
        if not self._items:
            return None
        item = self._items.popleft()
        self._size -= len(item)
        self._tell()
        return item

    def close(self, code: int, reason: str) -> None:
        if self.end is None:
            self.end = (code, reason)
            self._tell()

    async def _wait(self) -> None:
        if self._changed is None or self._changed.done():
            self._changed = self._loop.create_future()
        await asyncio.wait({self._changed})

    def _tell(self) -> None:
        if self._changed is not None and not self._changed.done():
            self._changed.set_result(None)


class LocalSocket:
    """The caller's end; the application has `receive_event` and `send_event`."""

    def __init__(
        self, call: Call, loop: AbstractEventLoop, address: str, offered: tuple[str, ...]
    ) -> None:
        self._call = call
        self._address = address
        self._offered = offered
        self._to_app = _Pipe(loop)
        self._to_caller = _Pipe(loop)
        self._worker: Worker | None = None
        self._is_asked = False
        self._is_told = False
        self._is_open = False
        self._has_ended = False
        self._denied_with = 0
        self._denied_fields: list[tuple[bytes, bytes]] = []
        self._denied_body = bytearray()
        self._decided: Future[None] = loop.create_future()
        self.subprotocol: str | None = None

    def start(self, runner: Runner, app: ASGIApp, scope: dict[str, Any]) -> None:
        """Run the application, up to where it first waits."""
        steps = cast("Any", app)(scope, self.receive_event, self.send_event)
        self._worker = runner.start(steps, self._app_ended)

    # What the caller sees.

    async def wait_open(self) -> None:
        """Return once the application has accepted.

        Raises:
            BaseServiceError: it has refused; carries its answer.
        """
        done, _ = await asyncio.wait({self._decided}, timeout=self._call.timeout_s)
        if not done:
            why = f"no answer within {self._call.timeout_s:g} s"
            raise silence(self._call, self._address, why)
        if not self._is_open:
            headers, body = fold(self._denied_fields), bytes(self._denied_body)
            raise refusal(self._call, self._address, self._denied_with, headers, body)

    async def send(self, message: str | bytes) -> None:
        """Send one message; waits while the application is far behind."""
        if size_of(message) > MAX_MESSAGE:
            self._end(TOO_LARGE, "")
        if not await self._to_app.put(message):
            raise self._closed()

    async def receive(self) -> str | bytes:
        """The next message of the application."""
        message = await self._to_caller.take()
        if message is None:
            raise self._closed()
        return message

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; an application that never opened it is stopped."""
        self._end(code, fit_reason(reason))
        if not self._is_open and self._worker is not None:
            self._worker.cancel()

    def _closed(self) -> SocketClosed:
        return SocketClosed(*(self._to_caller.end or (BROKE_OFF, "")))

    def _end(self, code: int, reason: str) -> None:
        self._to_app.close(code, reason)
        self._to_caller.close(code, reason)

    # What the application sees.

    async def receive_event(self) -> MutableMapping[str, Any]:
        """``websocket.connect``, then messages, then the close, for ever."""
        if not self._is_asked:
            self._is_asked = True
            return {"type": "websocket.connect"}
        message = await self._to_app.take()
        if message is None:
            self._is_told = True
            code, reason = self._to_app.end or (NO_STATUS, "")
            return {"type": "websocket.disconnect", "code": code, "reason": reason}
        kind = "text" if isinstance(message, str) else "bytes"
        return {"type": "websocket.receive", kind: message}

    async def send_event(self, event: MutableMapping[str, Any]) -> None:
        """Accept, messages, close; or an answer in place of them.

        Raises:
            OSError: the caller has gone.
        """
        kind = event["type"]
        if self._is_open:
            await self._send_open(kind, event)
        elif self._to_app.end is not None and not self._decided.done():
            raise OSError("the caller has gone")
        elif kind == "websocket.accept" and not self._decided.done():
            self._accept(event.get("subprotocol"))
        elif kind == "websocket.close" and not self._decided.done():
            self._deny(403)
        elif kind == "websocket.http.response.start" and not self._denied_with:
            self._denied_with = event["status"]
            self._denied_fields = event.get("headers") or []
        elif kind == "websocket.http.response.body" and self._denied_with:
            self._take_denial(event)
        else:
            raise RuntimeError(f"{kind} out of order")

    async def _send_open(self, kind: str, event: MutableMapping[str, Any]) -> None:
        if kind == "websocket.close":
            self._end(event.get("code") or 1000, fit_reason(event.get("reason") or ""))
            return
        if kind != "websocket.send":
            raise RuntimeError(f"{kind} out of order")
        given = event.get("bytes")
        message: str | bytes = event.get("text") or "" if given is None else bytes(given)
        if size_of(message) > MAX_MESSAGE:
            self._end(TOO_LARGE, "")
        if not await self._to_caller.put(message):
            raise OSError("the caller has gone")

    def _accept(self, subprotocol: str | None) -> None:
        self._is_open = True
        self.subprotocol = subprotocol if subprotocol in self._offered else None
        self._decided.set_result(None)

    def _deny(self, status: int) -> None:
        self._denied_with = status
        self._decided.set_result(None)
        self._to_app.close(BROKE_OFF, "")

    def _take_denial(self, event: MutableMapping[str, Any]) -> None:
        if self._decided.done():
            raise RuntimeError("the answer is complete")
        self._denied_body += event.get("body", b"")
        if len(self._denied_body) > MAX_ANSWER:
            self._denied_body.clear()
            raise OSError("the caller takes no more")
        if not event.get("more_body"):
            self._deny(self._denied_with)

    def _app_ended(self, error: BaseException | None) -> None:
        self._has_ended = True
        self._worker = None
        if isinstance(error, Exception) and self._to_app.end is None:
            log.error("local_socket.crashed", path=self._call.path, exc_info=error)
        if not self._decided.done():
            self._denied_fields = [(b"content-type", b"text/plain; charset=utf-8")]
            self._denied_body[:] = b"Internal Server Error"
            self._deny(500)
        self._end(BROKE_OFF if error is None else INTERNAL_ERROR, "")
