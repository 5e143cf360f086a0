"""Bytes on their way out: slow readers are waited for as long as they take something."""

from __future__ import annotations

from collections import Counter
from collections.abc import Generator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from typing import Final

import anyio
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from downstage.kernel.errors import DeadlineExceeded, TooMany
from downstage.streams.dialects.ptg.answers import refusal
from downstage.streams.model import Caller

__all__ = ["MOST_LARGE", "STALL_S", "LargeAnswers", "Pieces", "put"]

STALL_S: Final = 60.0
"""How long a reader may take nothing."""
SLICE: Final = 256 * 1024
LARGE: Final = 1 << 20
"""Bytes of an answer that is counted: all of it stays in memory until its reader has taken it."""
MOST_LARGE: Final = 8
"""Large answers of one person at once."""
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


class LargeAnswers:
    """Counts large answers on their way out, by whose they are.

    Who asks for many and takes none of them would else fill the memory of the server.
    """

    def __init__(self) -> None:
        self._open = Counter[tuple[str, str]]()

    def refuse_more(self, caller: Caller) -> None:
        """Return where one more may be for *caller*.

        Raises:
            TooMany: as many are on their way.
        """
        if self._open[caller.tenant, caller.subject] >= MOST_LARGE:
            raise TooMany("Take the answers that are on their way first.", retry_after_s=1)

    @contextmanager
    def one(self, caller: Caller, size: int) -> Generator[None]:
        """While an answer of *size* bytes is on its way.

        Raises:
            TooMany: it is large, and as many are.
        """
        who = (caller.tenant, caller.subject)
        if size <= LARGE:
            yield
            return
        self.refuse_more(caller)
        self._open[who] += 1
        try:
            yield
        finally:
            self._open[who] -= 1
            if not self._open[who]:
                del self._open[who]


class Pieces(Response):
    """A body in pieces, which are not put together first.

    Args:
        pieces: of the body.
        headers: of the answer.
        caller: whose it is.
        large: counts it.
    """

    def __init__(
        self,
        pieces: Sequence[bytes],
        headers: Mapping[str, str],
        caller: Caller,
        large: LargeAnswers,
    ) -> None:
        self._size = sum(map(len, pieces))
        told = {**headers, "content-length": str(self._size)}
        super().__init__(headers=told, media_type=BINARY)
        self._pieces = pieces
        self._caller = caller
        self._large = large

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send them one by one."""
        with ExitStack() as stay:
            try:
                stay.enter_context(self._large.one(self._caller, self._size))
            except TooMany as error:
                await refusal(error)(scope, receive, send)
                return
            await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
            for piece in self._pieces:
                await put(send, piece)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
