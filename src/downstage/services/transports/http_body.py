"""A request body that comes in pieces, on its way through an HTTP engine."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterable, AsyncIterator
from contextlib import suppress

__all__ = ["Outgoing"]


class Outgoing:
    """Passes the caller's pieces on once, and remembers what the caller's iterator raised."""

    def __init__(self, body: AsyncIterable[bytes]) -> None:
        self._body = body
        self._pieces: AsyncGenerator[bytes] | None = None
        self.error: Exception | None = None

    def __aiter__(self) -> AsyncIterator[bytes]:
        if self._pieces is not None:
            # A second attempt would send the rest as if it were the whole.
            raise RuntimeError("the body has been sent before")
        self._pieces = self._read()
        return self._pieces

    async def _read(self) -> AsyncGenerator[bytes]:
        try:
            async for piece in self._body:
                if piece:
                    yield bytes(piece)
        except Exception as error:
            self.error = error
            raise

    async def close(self) -> None:
        """Close the caller's iterator, unless the engine is inside of it and closes it itself."""
        with suppress(RuntimeError):
            if self._pieces is not None:
                await self._pieces.aclose()
            close = getattr(self._body, "aclose", None)
            if close is not None:
                await close()
