"""One HTTP request and its answer, for dialects whose methods and bodies no framework knows."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from typing import cast
from urllib.parse import unquote_to_bytes

import anyio
from starlette.types import Message, Receive, Scope, Send

from downstage.content.dialects.transfer import CutShort, send_rest
from downstage.content.open_file import Reading
from downstage.kernel.errors import (
    BadUrl,
    DeadlineExceeded,
    InvalidInput,
    TooLarge,
)

__all__ = ["IDLE_S", "USER_CONTENT", "CutShort", "Exchange", "parts_of"]

IDLE_S = 60.0
"""Seconds that a caller may take for the next piece of a body, sent or read."""
PIECE = 256 * 1024
"""Bytes handed to the server at once: what the slowest reader must take in that time."""
MAX_DIGITS = 19
ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")

USER_CONTENT: Mapping[str, str] = {
    "content-disposition": "attachment",
    "content-security-policy": "sandbox; default-src 'none'",
    "x-content-type-options": "nosniff",
}
"""What keeps a browser from running what users have stored."""


class Exchange:
    """Reads one request, sends its one answer.

    Args:
        scope, receive, send: of ASGI.
        idle_s: seconds that the caller may take for the next piece, sent or read.

    Attributes:
        method: in capitals.
        path: as it was sent: percent-encoded, with the prefix of the dialect.
        query: as it was sent.
        host: of the Host header, in lower case, with its port where it has one.
        address: the caller's network address.
        started: the answer has begun: an error can no longer be told.
    """

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, *, idle_s: float = IDLE_S
    ) -> None:
        self._idle_s = idle_s
        self._receive = receive
        self._send = send
        self._pairs = cast("list[tuple[bytes, bytes]]", scope["headers"])
        self._headers: dict[str, str] = {}
        for name, value in self._pairs:
            key, text = name.decode("latin-1"), value.decode("latin-1")
            self._headers[key] = f"{self._headers[key]},{text}" if key in self._headers else text
        self.method = cast("str", scope["method"])
        self.path = cast("bytes", scope.get("raw_path") or scope["path"].encode())
        self.query = cast("bytes", scope["query_string"]).decode("latin-1")
        self.scheme = cast("str", scope.get("scheme", "http"))
        self.host = self.header("host").lower()
        client = cast("tuple[str, int] | None", scope.get("client"))
        self.address = client[0] if client else "unknown"
        self.request_id = cast("str", scope.get("request_id") or "")
        self.started = False
        self.always: dict[str, str] = {}
        """Headers of every answer."""
        self._unread = True
        self._stalled = False

    def header(self, name: str, default: str = "") -> str:
        """The header *name* (lower case); several of it are joined by commas."""
        return self._headers.get(name, default)

    @property
    def headers(self) -> Mapping[str, str]:
        """All headers, by name in lower case."""
        return self._headers

    @property
    def length(self) -> int | None:
        """The announced length of the body; None where it comes in chunks.

        Raises:
            InvalidInput: it is no number.
        """
        text = self._headers.get("content-length")
        if text is None:
            return None if "transfer-encoding" in self._headers else 0
        if not (text.isascii() and text.isdigit() and len(text) <= MAX_DIGITS):
            raise InvalidInput("Content-Length is no number.")
        return int(text)

    async def body(self) -> AsyncGenerator[bytes]:
        """The pieces of the body as they come.

        Raises:
        XX
        """
        more = True
        while more:
            message = await self._next()
            if message["type"] != "http.request":
                raise CutShort("The body ended early.")
            piece: bytes = message.get("body", b"")
            more = bool(message.get("more_body", False))
            self._unread = more
            if piece:
                yield piece

    async def _next(self) -> Message:
        try:
            with anyio.fail_after(self._idle_s):
                return await self._receive()
        except TimeoutError as error:
            self._stalled = True
            raise DeadlineExceeded(f"No byte of the body came for {self._idle_s:.0f} s.") from error

    async def read(self, limit: int) -> bytes:
        """The whole body.

        Raises:
            TooLarge: it has more than *limit* bytes.
        """
        found = bytearray()
        if (self.length or 0) > limit:
            raise TooLarge(f"The body is larger than {limit} bytes.", limit=limit)
        async for piece in self.body():
            found += piece
            if len(found) > limit:
                raise TooLarge(f"The body is larger than {limit} bytes.", limit=limit)
        return bytes(found)

    async def answer(
        self, status: int, headers: Mapping[str, str] | None = None, body: bytes = b""
    ) -> None:
        """Send a whole answer; of one to HEAD, the length alone."""
        fields = {"content-length": str(len(body)), **(headers or {})}
        if status in (204, 304):
            fields.pop("content-length", None)
        await self._begin(status, fields)
        await self._put(b"" if self.method == "HEAD" else body, more=False)

    async def stream(
        self, status: int, headers: Mapping[str, str], pieces: AsyncIterator[bytes]
    ) -> None:
        """Send an answer piece by piece; *headers* name its length where it is known."""
        await self._begin(status, headers)
        async for piece in pieces:
            for start in range(0, len(piece), PIECE):
                await self._put(piece[start : start + PIECE], more=True)
        await self._put(b"", more=False)

    async def send_reading(
        self, status: int, headers: Mapping[str, str], reading: Reading, start: int, stop: int
    ) -> None:
        """Send bytes *start* to *stop* of an open file as an answer; *headers* tell the length."""
        await self._begin(status, headers)
        await send_rest(self._send, self._receive, reading, start, stop, idle_s=self._idle_s)

    async def answer_part(
        self,
        headers: Mapping[str, str],
        reading: Reading,
        size: int,
        part: tuple[int, int] | None,
    ) -> None:
        """Answer GET or HEAD with an open file of *size* bytes, or with *part* of it."""
        (start, stop), status = ((0, size), 200) if part is None else (part, 206)
        told = {**headers, "content-length": str(stop - start)}
        if part is not None:
            told["content-range"] = f"bytes {start}-{stop - 1}/{size}"
        if self.method == "HEAD":
            await self.answer(status, told)
        else:
            await self.send_reading(status, told, reading, start, stop)

    async def _begin(self, status: int, headers: Mapping[str, str]) -> None:
        self.started = True
        if self._unread and self._stalled:  # nobody waits for who stands still
            headers = {**headers, "connection": "close"}
        told = {**headers, **self.always}
        pairs = [(k.encode("latin-1"), v.encode("latin-1")) for k, v in told.items()]
        await self._send({"type": "http.response.start", "status": status, "headers": pairs})

    async def _put(self, piece: bytes, *, more: bool) -> None:
        try:
            with anyio.fail_after(self._idle_s):
                await self._send({"type": "http.response.body", "body": piece, "more_body": more})
        except TimeoutError as error:
            raise DeadlineExceeded(f"The caller took nothing for {self._idle_s:.0f} s.") from error


def parts_of(raw: bytes, *, slashes: bool = False) -> list[str]:
    """The parts of a percent-encoded path without its prefix, decoded once.

    Args:
        raw: as sent, beginning with a slash, or empty.
        slashes: an encoded slash parts as a plain one does; otherwise it is refused.

    Raises:
        BadUrl: a broken escape, not UTF-8, an encoded slash.
    """
    if ESCAPE.search(raw):
        raise BadUrl("A percent sign in the path is not followed by two digits.")
    found: list[str] = []
    for part in raw.split(b"/")[1:]:
        try:
            text = unquote_to_bytes(part).decode("utf-8")
        except UnicodeDecodeError as error:
            raise BadUrl("The path is not UTF-8.") from error
        if "/" in text and not slashes:
            raise BadUrl("A name cannot hold a slash.")
        found += text.split("/") if slashes else [text]
    return found
