"""One WebSocket through aiohttp."""

from __future__ import annotations

import asyncio
from contextlib import suppress

import aiohttp
from aiohttp import WSMsgType

from downstage.services.transports.close_reason import fit_reason
from downstage.services.transports.head import size_of
from downstage.services.transports.transport import MAX_MESSAGE, SocketClosed

__all__ = ["HEARTBEAT_S", "HttpSocket"]

WHY_S = 1.0
HEARTBEAT_S = 20.0
"""Seconds between pings: a peer that has vanished is noticed."""
NO_STATUS = 1005
BROKE_OFF = 1006
TOO_LARGE = 1009


class HttpSocket:
    """Messages there and back; knows how it was closed."""

    def __init__(self, raw: aiohttp.ClientWebSocketResponse) -> None:
        self._raw = raw
        self._closed: SocketClosed | None = None
        self.subprotocol = raw.protocol

    async def send(self, message: str | bytes) -> None:
        """Send one message; waits while the peer is far behind."""
        if self._closed is not None:
            raise self._closed
        if size_of(message) > MAX_MESSAGE:
            await self.close(TOO_LARGE)
            raise SocketClosed(TOO_LARGE)
        try:
            if isinstance(message, str):
                await self._raw.send_str(message)
            else:
                await self._raw.send_bytes(message)
        except (aiohttp.ClientError, ConnectionError) as error:
            raise await self._why() from error

    async def receive(self) -> str | bytes:
        """The next message."""
        if self._closed is not None:
            raise self._closed
        message = await self._raw.receive()
        match message.type:
            case WSMsgType.TEXT | WSMsgType.BINARY:
                return message.data
            case WSMsgType.CLOSE:
                raise self._ended(message.data or NO_STATUS, message.extra or "")
            case WSMsgType.ERROR:
                raise self._ended(self._raw.close_code or BROKE_OFF, "")
            case _:  # closed by us while this waited, or broken off
                raise self._ended(BROKE_OFF, "")

    async def _why(self) -> SocketClosed:
        """How it ended, where sending failed: the peer's close may lie there unread."""
        with suppress(
            TimeoutError, RuntimeError, SocketClosed
        ):  # or somebody reads it at this moment
            async with asyncio.timeout(WHY_S):
                while self._closed is None:
                    await self.receive()
        return self._closed or self._ended(BROKE_OFF, "")

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; a peer that does not answer the close is left after some seconds."""
        if self._closed is None:
            self._ended(code, reason)
        await self._raw.close(code=code, message=fit_reason(reason).encode())

    def _ended(self, code: int, reason: str) -> SocketClosed:
        if self._closed is None:
            self._closed = SocketClosed(code, reason)
        return self._closed
