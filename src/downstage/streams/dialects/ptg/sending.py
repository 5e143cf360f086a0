"""Bytes on their way out: slow readers are waited for as long as they take something."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from downstage.kernel.errors import DeadlineExceeded

__all__ = ["STALL_S", "Pieces", "put"]

STALL_S: Final = 60.0
"""How long a reader may take nothing."""
SLICE: Final = 256 * 1024
BINARY = "application/octet-stream"


async def put(send: Send, data: bytes) -> None:
    """Send *data* as a part of a body.

    Raises:
        DeadlineExceeded: the reader took nothing for `STALL_S`.
    """
    try:
        for start in range(0, len(data), SLICE):
            piece = data if len(data) <= SLICE else data[start : start + SLICE]
            with anyio.fail_after(STALL_S):
                await send({"type": "http.response.body", "body": piece, "more_body": True})
    except TimeoutError as error:
        raise DeadlineExceeded(f"The reader took nothing for {STALL_S:.0f} s.") from error


class Pieces(Response):
    """A body in pieces, which are not put together first."""

    def __init__(self, pieces: Sequence[bytes], headers: Mapping[str, str]) -> None:
        size = sum(map(len, pieces))
        super().__init__(headers={**headers, "content-length": str(size)}, media_type=BINARY)
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them one by one."""
        del scope, receive
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        for piece in self._pieces:
            await put(send, piece)
        await send({"type": "http.response.body", "body": b"", "more_body": False})
