"""Bodies of requests: how large they may be, and in which coding they may come."""

from __future__ import annotations

import asyncio
import re
import zlib
from collections.abc import Mapping, Sequence
from typing import Any, cast

import anyio.to_thread
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from downstage.kernel.errors import (
    DeadlineExceeded,
    InvalidInput,
    PlatformError,
    TooLarge,
    UnsupportedMedia,
)
from downstage.kernel.limits import MAX_BODY
from downstage.services.flights import ANSWERED
from downstage.services.refusal import answer

__all__ = ["BodyLimit"]

PIECE = 256 * 1024
"""Bytes that one step of decompression makes at most: what waits in memory, and holds the loop."""
IDLE_S = 60.0
"""How long the next piece of a body may take."""
MAX_DIGITS = 20
"""Of a length; more than that is more than any limit."""
CODINGS = {"gzip": 31, "x-gzip": 31, "deflate": 15}
"""zlib's window of the content codings that every application takes."""


class BodyLimit:
    """Refuses request bodies over a limit, announced or not, and decompresses those that need it.

    The limit counts bytes after decompression, piece by piece as they come: a body that would
    unfold into gigabytes is refused at the first byte past it.

    Args:
        app: what is behind.
        limit: bytes; None is no limit.
        encoders: further content codings by name.
        larger: paths whose bodies may have more bytes than *limit*, and how many.
    """

    def __init__(
        self,
        app: ASGIApp,
        limit: int | None = MAX_BODY,
        encoders: Mapping[str, Any] | None = None,
        larger: Sequence[tuple[re.Pattern[str], int]] = (),
    ) -> None:
        self._app = app
        self._limit = limit
        self._larger = larger
        self._encoders: Mapping[str, Any] = encoders if encoders is not None else {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Hand the request on; errors of what is behind, too, are answered here."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        limit = self._limit_of(scope)
        announced, coding = b"", b""
        for name, value in scope["headers"]:
            if name == b"content-length":
                announced = value
            elif name == b"content-encoding":
                coding = coding + b"," + value if coding else value
        try:
            if limit is not None and _is_more(announced, limit):
                raise _refusal(limit)
            if coding:
                name = coding.decode("latin-1").strip().lower()
                receive = self._decoded(scope, receive, name, limit)
        except PlatformError as error:
            await answer(error, scope.get("request_id"))(scope, receive, send)
            return
        await self._count(scope, _Counted(receive, limit), send)

    def _limit_of(self, scope: Scope) -> int | None:
        if self._larger and self._limit is not None:
            path: str = scope["path"]
            for pattern, limit in self._larger:
                if pattern.match(path):
                    return limit
        return self._limit

    async def _count(self, scope: Scope, body: _Counted, send: Send) -> None:
        started = False

        async def guarded(message: Message) -> None:
            # FastAPI answers 400 to whatever fails while it reads a body: ours says what it was.
            nonlocal started
            if body.refusal is None or started:
                if not started:
                    started = scope[ANSWERED] = True
                await send(message)

        refusal: PlatformError | None = None
        try:
            await self._app(scope, body, guarded)
        except PlatformError as error:
            # Of a body, or of middleware that stands outside of FastAPI's own handling.
            if started:
                raise
            refusal = error
        refusal = body.refusal or refusal
        if refusal is not None and not started:
            await answer(refusal, scope.get("request_id"))(scope, body, send)

    def _decoded(self, scope: Scope, receive: Receive, coding: str, limit: int | None) -> Receive:
        if coding == "identity":
            return receive
        if coding in self._encoders:
            decoded = _by_encoder(receive, self._encoders[coding], limit)
        elif coding in CODINGS:
            decoded = _Inflated(receive, CODINGS[coding])
        else:
            known = sorted({*CODINGS, *self._encoders})
            raise UnsupportedMedia(f"Content-Encoding: known here are {', '.join(known)}.")
        scope["headers"] = [
            header
            for header in cast("list[tuple[bytes, bytes]]", scope["headers"])
            if header[0] not in (b"content-encoding", b"content-length")
        ]
        return decoded


def _refusal(limit: int) -> TooLarge:
    return TooLarge(f"The body is larger than {limit} bytes.", limit=limit)


def _is_more(announced: bytes, limit: int) -> bool:
    """Whether a Content-Length says more than *limit*; Python reads no number of any length."""
    digits = announced.lstrip(b"0")
    return announced.isdigit() and (len(digits) > MAX_DIGITS or int(digits or b"0") > limit)


class _Counted:
    """Counts a body as it comes; remembers what was wrong with it."""

    __slots__ = ("_ended", "_limit", "_receive", "_seen", "refusal")

    def __init__(self, receive: Receive, limit: int | None) -> None:
        self._receive = receive
        self._limit = limit
        self._seen = 0
        self._ended = False
        self.refusal: PlatformError | None = None

    async def __call__(self) -> Message:
        try:
            message = await (self._receive() if self._ended else self._next())
            if self._limit is not None:
                self._seen += len(message.get("body", b""))
                if self._seen > self._limit:
                    raise _refusal(self._limit)
        except PlatformError as error:
            self.refusal = error
            raise
        return message

    async def _next(self) -> Message:
        try:
            async with asyncio.timeout(IDLE_S):
                message = await self._receive()
        except TimeoutError as error:
            raise DeadlineExceeded(f"No byte of the body came for {IDLE_S:g} s.") from error
        self._ended = not message.get("more_body", False)
        return message


class _Inflated:
    """Decompresses in steps: no piece is larger than `PIECE`, whatever it unfolds from."""

    def __init__(self, receive: Receive, window: int) -> None:
        self._receive = receive
        self._inflate = zlib.decompressobj(window)
        self._waiting = b""
        self._more = True
        self._any = False
        self._ended = False

    async def __call__(self) -> Message:
        while not self._ended:
            piece = self._step()
            self._ended = not (self._more or self._waiting)
            if self._ended and self._any and not self._inflate.eof:
                raise InvalidInput("The compressed body is cut short.")
            if piece or self._ended:
                return {"type": "http.request", "body": piece, "more_body": not self._ended}
            message = await self._receive()
            if message["type"] != "http.request":
                return message
            self._waiting = message.get("body", b"")
            self._any = self._any or bool(self._waiting)
            self._more = bool(message.get("more_body", False))
        return await self._receive()

    def _step(self) -> bytes:
        if not self._waiting:
            return b""
        if self._inflate.eof:
            raise InvalidInput("Something follows the compressed body.")
        try:
            piece = self._inflate.decompress(self._waiting, PIECE)
        except zlib.error as error:
            raise InvalidInput("The body is not what its Content-Encoding says.") from error
        # Both forms end in a checksum: while output is left, input is left too.
        self._waiting = self._inflate.unconsumed_tail
        if self._inflate.unused_data:
            raise InvalidInput("Something follows the compressed body.")
        return piece


def _by_encoder(receive: Receive, encoder: Any, limit: int | None) -> Receive:
    """Read the whole body, which the limit bounds too, and let *encoder* decompress it."""
    ended = False

    async def decoded() -> Message:
        nonlocal ended
        if ended:
            return await receive()
        body, more = bytearray(), True
        while more:
            message = await receive()
            if message["type"] != "http.request":
                return message
            body += message.get("body", b"")
            if limit is not None and len(body) > limit:
                raise _refusal(limit)
            more = bool(message.get("more_body", False))
        ended = True
        try:
            plain = await anyio.to_thread.run_sync(encoder.decompress, bytes(body))
        except Exception as error:  # somebody else's code, on what a stranger sent
            raise InvalidInput("The body is not what its Content-Encoding says.") from error
        return {"type": "http.request", "body": plain, "more_body": False}

    return decoded
