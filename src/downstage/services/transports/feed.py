"""A request body that comes in pieces, on its way to an application in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterable, MutableMapping
from typing import Any

__all__ = ["Feed"]

PATIENCE_S = 1.0


class Feed:
    """Reads one piece ahead, in a task and the context of the caller.

    The application may give up waiting for a piece at any time: were it to read the caller's
    iterator itself, that would end the iterator, and the body would look complete.
    """

    def __init__(self, body: AsyncIterable[bytes], loop: asyncio.AbstractEventLoop) -> None:
        self._body = body
        self._loop = loop
        self._slot: bytes | None = None
        self._error: BaseException | None = None
        self._is_over = False
        self._more: asyncio.Future[None] = loop.create_future()
        self._taken: asyncio.Future[None] = loop.create_future()
        self._task: asyncio.Task[None] = loop.create_task(self._read())
        self.is_exhausted = False
        """The application has had the last message."""

    async def next(self) -> MutableMapping[str, Any] | None:
        """The next ``http.request`` message; None if the body broke off."""
        while self._slot is None and not self._is_over:
            await asyncio.wait({self._more})
        piece, self._slot = self._slot, None
        if piece is not None:
            self._more = self._loop.create_future()
            if not self._taken.done():
                self._taken.set_result(None)
            return {"type": "http.request", "body": piece, "more_body": True}
        if self._error is not None:
            return None
        self.is_exhausted = True
        return {"type": "http.request", "body": b"", "more_body": False}

    def check(self) -> None:
        """Raise what the caller's iterator raised."""
        if self._error is not None:
            raise self._error

    async def close(self) -> None:
        """Stop reading; the caller's iterator is closed when this returns."""
        if not self._task.done():
            self._task.cancel()
            await asyncio.wait({self._task}, timeout=PATIENCE_S)

    async def _read(self) -> None:
        try:
            async for piece in self._body:
                if not piece:
                    continue
                self._taken = self._loop.create_future()
                self._slot = bytes(piece)
                self._say_more()
                await self._taken
        except Exception as error:  # noqa: BLE001 - it is the caller's own: handed back by `check`
            self._error = error
        finally:
            self._is_over = True
            self._say_more()
            close = getattr(self._body, "aclose", None)
            if close is not None:
                await close()

    def _say_more(self) -> None:
        if not self._more.done():
            self._more.set_result(None)
