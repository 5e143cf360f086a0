"""One accepted WebSocket of this wire: bounded both ways, and never waiting for ever."""

from __future__ import annotations

from collections.abc import AsyncIterator

import anyio
from starlette.types import Message
from starlette.websockets import WebSocket, WebSocketDisconnect

__all__ = ["BAD_DATA", "LATER", "POLICY", "TOO_BIG", "Gone", "Pipe"]

BAD_DATA, POLICY, TOO_BIG, LATER = 1007, 1008, 1009, 1013
"""Close codes: not understood, not allowed, too big, come back."""
SEND_S = 30.0
"""How long one message may take to leave: a slow reader is cut off."""
CLOSE_S = 5.0


class Gone(Exception):
    """The other side went, or does not read."""


class Pipe:
    """Reads and writes whole messages.

    Args:
        websocket: accepted already.
        max_bytes: of a message that comes in.
        idle_s: how long nothing may come; None is for ever.
    """

    def __init__(
        self, websocket: WebSocket, *, max_bytes: int, idle_s: float | None = None
    ) -> None:
        self._websocket = websocket
        self._max_bytes = max_bytes
        self._idle_s = idle_s
        self._turn = anyio.Lock()
        self._is_closed = False

    def widen(self, max_bytes: int) -> None:
        """Take larger messages, and wait for them without end: we know who sends them."""
        self._max_bytes = max_bytes
        self._idle_s = None

    async def messages(self) -> AsyncIterator[bytes]:
        """Messages, text as its bytes, until either side closes or all is silent."""
        while not self._is_closed:
            message = None
            with anyio.move_on_after(self._idle_s):
                message = await self._receive()
            if message is None:
                return
            data = _bytes_of(message)
            if len(data) > self._max_bytes:
                await self.close(TOO_BIG, "too-large")
                return
            yield data

    async def _receive(self) -> Message | None:
        try:
            message = await self._websocket.receive()
        except RuntimeError:
            return None  # closed from our side meanwhile
        return None if message["type"] == "websocket.disconnect" else message

    async def send(self, message: bytes) -> None:
        """Send one message.

        Raises:
            Gone: nobody reads any more.
        """
        try:
            with anyio.fail_after(SEND_S):
                async with self._turn:
                    await self._websocket.send_bytes(message)
        except (WebSocketDisconnect, RuntimeError, TimeoutError) as error:
            self._is_closed = True
            raise Gone from error

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close, whatever the other side does."""
        if self._is_closed:
            return
        self._is_closed = True
        try:
            with anyio.fail_after(CLOSE_S):
                await self._websocket.close(code, reason)
        except (WebSocketDisconnect, RuntimeError, TimeoutError):
            return


def _bytes_of(message: Message) -> bytes:
    data: bytes | None = message.get("bytes")
    return str(message.get("text") or "").encode() if data is None else data
