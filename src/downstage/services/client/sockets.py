"""WebSockets on a path."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from types import TracebackType
from typing import Any, Self

import msgspec

from downstage.services.client.asked import Asked
from downstage.services.client.encoding import encode_json
from downstage.services.client.engine import Engine
from downstage.services.client.outgoing import Outgoing
from downstage.services.client.target import Target
from downstage.services.transports import Call, Socket, SocketClosed, Transport

__all__ = ["CallSocket"]

GOOD_ENDS = frozenset({1000, 1001, 1005})
SWITCHING = 101


class CallSocket:
    """A WebSocket on a path; made by ``.ws()`` after any path.

    Enter it; then `send` and `receive`, or iterate over the messages until it is closed.
    """

    def __init__(
        self,
        engine: Engine,
        target: Target,
        arguments: tuple[object, ...],
        keywords: dict[str, Any],
    ) -> None:
        self._engine = engine
        self._written = (target, arguments, keywords)
        self._stack = AsyncExitStack()
        self._socket: Socket | None = None
        self._subprotocols: tuple[str, ...] = ()

    @property
    def subprotocol(self) -> str | None:
        """What the service chose of ``__subprotocols__``."""
        return self._open.subprotocol

    async def __aenter__(self) -> Self:
        asked = await self._engine.ask(*self._written)
        asked.method = "GET"
        if asked.body is not None or asked.raw is not None:
            raise TypeError("a WebSocket takes no body: send it as a message")
        self._subprotocols = asked.subprotocols
        out = self._outgoing(asked)
        try:
            opened = await self._engine.deliver(out, self._send, self._stack.aclose)
        except BaseException:  # a hook failed, or we were cancelled, with the socket open
            await self._stack.aclose()
            raise
        self._socket = opened.socket
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._stack.__aexit__(kind, error, traceback)

    async def send(self, message: str | bytes) -> None:
        """Send one message.

        Raises:
            SocketClosed: the socket is closed.
        """
        await self._open.send(message)

    async def send_json(self, value: object) -> None:
        """Send *value* (a model, a mapping, …) as a text message."""
        await self._open.send(encode_json(value).decode())

    async def receive(self) -> str | bytes:
        """The next message.

        Raises:
            SocketClosed: there is none any more.
        """
        return await self._open.receive()

    async def receive_json(self) -> Any:
        """The next message as an object.

        Raises:
            SocketClosed: there is none any more.
            ValueError: it is no JSON.
        """
        message = await self.receive()
        try:
            return msgspec.json.decode(message)
        except RecursionError as error:
            raise ValueError("the message is nested too deeply") from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; safe to repeat."""
        await self._open.close(code, reason)

    def __aiter__(self) -> AsyncIterator[str | bytes]:
        return self._messages()

    async def _messages(self) -> AsyncIterator[str | bytes]:
        while True:
            try:
                message = await self.receive()
            except SocketClosed as closed:
                if not self.is_good_end(closed):
                    raise
                return
            yield message

    def is_good_end(self, closed: SocketClosed) -> bool:
        """Did the socket end as sockets should?"""
        return closed.code in GOOD_ENDS

    @property
    def _open(self) -> Socket:
        if self._socket is None:
            raise RuntimeError("enter the socket first: async with … as socket")
        return self._socket

    def _outgoing(self, asked: Asked) -> Outgoing:
        out = self._engine.outgoing(asked)
        out.is_repeatable = False  # a socket that fails is its owner's to open again
        out.is_replayable = True
        return out

    async def _send(self, transport: Transport, call: Call) -> _Opened:
        opening = transport.socket(call, self._subprotocols)
        return _Opened(await self._stack.enter_async_context(opening))


class _Opened:
    """An open socket, as hooks see it."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.status = SWITCHING
        self.headers = dict[str, str]()
