"""Sockets of the same handlers over any ASGI server, and for calls within the process."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable, Sequence

import anyio
from starlette.types import Message, Receive, Scope, Send

from downstage.kernel.errors import NotFound, PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.sockets.frames import BINARY, TEXT, Data, Packet
from downstage.services.sockets.wire import CLOSE_S, HIGH, LOW, MAX_REASON
from downstage.services.sockets.words import (
    CLOSE,
    Listener,
    SocketHandler,
    SocketRequest,
    close_of,
)

__all__ = ["AsgiSockets"]

GONE = (OSError, RuntimeError)
"""What servers raise, or Starlette for them, where the peer has left."""
log = get_logger(__name__)


class AsgiSockets:
    """An ASGI application that serves sockets of *handler*.

    Args:
        handler: lets them in.
        limit: bytes of a message, for servers that know none.
    """

    def __init__(self, handler: SocketHandler, limit: int) -> None:
        self._handler = handler
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one socket."""
        if scope["type"] != "websocket":
            raise NotFound("Here is a socket alone.")
        await receive()  # websocket.connect
        request = SocketRequest(scope)
        listener = await self._handler.open(request)
        socket = _AsgiSocket(listener, self._limit, scope)
        tag = (b"x-request-id", request.request_id.encode())
        try:
            await send({"type": "websocket.accept", "headers": [tag]})
            async with anyio.create_task_group() as tasks:
                socket.scope = tasks.cancel_scope
                tasks.start_soon(socket.write_all, send)
                await socket.read_all(receive)
                socket.end()
        finally:
            socket.told_close()


class _AsgiSocket:
    """Between a listener, which never waits, and a server, which does."""

    def __init__(self, listener: Listener, limit: int, scope: Scope) -> None:
        self.is_open = True
        self.scope = anyio.CancelScope()
        """Of all that is done for this socket."""
        self._listener = listener
        self._limit = limit
        self._facts = {"path": scope["path"], "request_id": scope.get("request_id", "")}
        self._out = deque[tuple[Message, int]]()
        self._waiting = 0
        self._is_much = False
        self._is_told = False
        self._more = anyio.Event()
        self._go = anyio.Event()
        self._go.set()

    async def read_all(self, receive: Receive) -> None:
        """Tell the listener what comes, until either side has closed."""
        self._guarded(self._listener.on_open, self)
        while self.is_open:
            await self._go.wait()
            message = await receive()
            if message["type"] == "websocket.disconnect":
                self.is_open = False
            elif self.is_open:
                self._tell(message)

    def _tell(self, message: Message) -> None:
        text, data = message.get("text"), message.get("bytes")
        size = len(data) if data is not None else len((text or "").encode())
        if size > self._limit:
            self.close(CLOSE.TOO_BIG, "too-large")
        elif data is not None:
            self._guarded(self._listener.on_binary, data)
        else:
            self._guarded(self._listener.on_text, text or "")

    async def write_all(self, send: Send) -> None:
        """Send what the listener gives, and the close at the end."""
        while True:
            while self._out:
                message, size = self._out.popleft()
                if not await _sent(send, message) or message["type"] == "websocket.close":
                    self.scope.cancel()
                    return
                self._left(size)
            if not self.is_open:
                self.scope.cancel()
                return
            self._more = anyio.Event()
            await self._more.wait()

    def _left(self, size: int) -> None:
        self._waiting -= size
        if self._is_much and self._waiting < LOW:
            self._is_much = False
            if self.is_open:
                self._guarded(self._listener.on_drained)

    def end(self) -> None:
        """The peer has gone, or was told to go."""
        self.is_open = False
        self.scope.deadline = anyio.current_time() + CLOSE_S
        self._more.set()

    def told_close(self) -> None:
        """Tell the listener that it is over, once."""
        self.is_open = False
        if not self._is_told:
            self._is_told = True
            try:
                self._listener.on_close()
            except Exception:  # the edge: nobody is left who could be told
                log.exception("socket.crashed", **self._facts)

    def _guarded(self, function: Callable[..., None], *arguments: object) -> None:
        try:
            function(*arguments)
        except PlatformError as error:
            code, reason = close_of(error)
            if code == CLOSE.OURS:
                log.exception("socket.failed", code=error.code, **self._facts)
            self.close(code, reason)
        except Exception:  # the edge: a mistake of a listener ends its socket alone
            log.exception("socket.crashed", **self._facts)
            self.close(CLOSE.OURS, "internal")

    # What a listener may do.

    def send_text(self, text: str | bytes) -> None:
        """Send one text message."""
        whole = text if isinstance(text, str) else text.decode()
        self._put({"type": "websocket.send", "text": whole}, len(whole))

    def send_bytes(self, data: Data) -> None:
        """Send one binary message."""
        self._put({"type": "websocket.send", "bytes": bytes(data)}, len(data))

    def send_buffers(self, parts: Sequence[Data]) -> None:
        """Send one binary message made of *parts*."""
        self.send_bytes(parts[0] if len(parts) == 1 else b"".join(parts))

    def send_packet(self, packet: Packet) -> None:
        """Send what was encoded for our own server."""
        for opcode, parts in packet.messages:
            if opcode == TEXT:
                self.send_text(b"".join(parts))
            elif opcode == BINARY:
                self.send_buffers(parts)

    def _put(self, message: Message, size: int) -> None:
        if self.is_open:
            self._out.append((message, size))
            self._waiting += size
            self._is_much = self._is_much or self._waiting > HIGH
            self._more.set()

    def buffered(self) -> int:
        """Bytes that wait to leave."""
        return self._waiting

    def pause(self) -> None:
        """Read no more."""
        if self._go.is_set():
            self._go = anyio.Event()

    def resume(self) -> None:
        """Read on."""
        self._go.set()

    def close(self, code: int = CLOSE.NORMAL, reason: str = "") -> None:
        """Say why, and end."""
        if self.is_open:
            reason = reason.encode()[:MAX_REASON].decode(errors="ignore")
            self._put({"type": "websocket.close", "code": int(code), "reason": reason}, 0)
            self._go.set()
            self.end()
            self.told_close()


async def _sent(send: Callable[[Message], Awaitable[None]], message: Message) -> bool:
    try:
        await send(message)
    except GONE:
        return False
    return True
