"""Refused WebSocket handshakes: the engine forgets the answer's body, which says why."""

from __future__ import annotations

from typing import Any

import aiohttp

__all__ = ["DeniableResponse", "Denied"]

SWITCHING = 101
MAX_DENIAL = 1024 * 1024
"""Bytes of a refusal that are read."""


class Denied(Exception):
    """The handshake was answered instead of accepted."""

    def __init__(self, status: int, fields: tuple[tuple[bytes, bytes], ...], body: bytes) -> None:
        super().__init__(status)
        self.status = status
        self.fields = fields
        self.body = body


class DeniableResponse(aiohttp.ClientResponse):
    """Reads the whole of an answer that accepts no WebSocket, and raises it."""

    async def start(self, connection: Any) -> aiohttp.ClientResponse:
        """Read the head; of a refusal, the body too."""
        response = await super().start(connection)
        if self.status == SWITCHING:
            return response
        body = bytearray()
        async for piece in self.content.iter_any():
            body += piece[: MAX_DENIAL - len(body)]
            if len(body) >= MAX_DENIAL:
                break
        raise Denied(self.status, self.raw_headers, bytes(body))
