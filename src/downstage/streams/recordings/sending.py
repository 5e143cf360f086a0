"""Files over HTTP: whole or one range of them, piece by piece, to whoever keeps reading."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Iterator, Mapping
from pathlib import Path
from typing import Final
from urllib.parse import quote

import anyio
import anyio.to_thread
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import Receive, Scope, Send

from downstage.kernel.errors import NotFound
from downstage.kernel.logging import get_logger
from downstage.services.ranges import one_range

__all__ = ["FileAnswer", "PiecesAnswer", "content_type_of", "file_answer"]

PIECE: Final = 256 << 10
IDLE_S: Final = 60.0
"""How long a reader may take nothing at all."""
SHOWN: Final[Mapping[str, str]] = {
    "jpg": "image/jpeg",
    "jpeg": "image/jpeg",
    "png": "image/png",
    "mp4": "video/mp4",
    "mjpeg": "video/x-motion-jpeg",
    "wav": "audio/wav",
    "json": "application/json",
    "ndjson": "application/x-ndjson",
    "zip": "application/zip",
    "csv": "text/plain; charset=utf-8",
    "txt": "text/plain; charset=utf-8",
    "mcap": "application/octet-stream",
}
"""What a browser may take for what it is: nothing of it holds programs."""
INLINE: Final = ("image/", "video/", "audio/")
log = get_logger(__name__)


def content_type_of(name: str) -> str:
    """By the end of a file's *name*; what is not known is just bytes."""
    return SHOWN.get(name.rpartition(".")[2].lower(), "application/octet-stream")


async def file_answer(request: Request, path: Path, name: str) -> Response:
    """An answer that is the file at *path*, or the range of it that is asked for.

    Args:
        request: with Range, If-Range, If-None-Match.
        path: of a file that does not change.
        name: what it is called for whoever saves it.

    Raises:
        NotFound: it is not there.
        RangeNotSatisfiable: not that range.
    """
    try:
        found = await anyio.to_thread.run_sync(path.stat)
    except FileNotFoundError as error:
        raise NotFound("There is no such file.") from error
    size, etag = found.st_size, f'"{found.st_mtime_ns:x}-{found.st_size:x}"'
    headers = {**_headers(name), "etag": etag}
    if request.headers.get("if-none-match", "").strip() == etag:
        return Response(status_code=304, headers=headers)
    wanted = request.headers.get("range")
    if wanted is not None and request.headers.get("if-range", etag) == etag:
        part = one_range(wanted, size)
        if part is not None:
            headers["content-range"] = f"bytes {part[0]}-{part[1] - 1}/{size}"
            return FileAnswer(path, *part, headers, 206)
    return FileAnswer(path, 0, size, headers, 200)


def _headers(name: str) -> dict[str, str]:
    kind = content_type_of(name)
    how = "inline" if kind.startswith(INLINE) else "attachment"
    file_name = quote(name.rpartition("/")[2], safe="")
    return {
        "content-type": kind,
        "content-disposition": f"{how}; filename*=UTF-8''{file_name}",
        "accept-ranges": "bytes",
        "cache-control": "private, no-cache",
        "x-content-type-options": "nosniff",
        "content-security-policy": "sandbox; default-src 'none'; media-src 'self'",
    }


class FileAnswer(Response):
    """Bytes *start* to *stop* of a file."""

    def __init__(
        self, path: Path, start: int, stop: int, headers: Mapping[str, str], status: int
    ) -> None:
        super().__init__(status_code=status, headers=headers)
        self._path, self._start, self._stop = path, start, stop
        self.headers["content-length"] = str(stop - start)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it; to HEAD, its head alone."""
        del receive
        descriptor = await anyio.to_thread.run_sync(os.open, self._path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            await send(
                {
                    "type": "http.response.start",
                    "status": self.status_code,
                    "headers": self.raw_headers,
                }
            )
            at = self._stop if scope["method"] == "HEAD" else self._start
            while at < self._stop:
                size = min(PIECE, self._stop - at)
                piece = await anyio.to_thread.run_sync(os.pread, descriptor, size, at)
                if not piece:
                    break  # shorter than it was; the server closes the connection
                at += len(piece)
                await _send(send, piece, more=True)
            await _send(send, b"", more=False)
        except TimeoutError:
            log.info("recordings.transfer_broken_off", limit_s=IDLE_S)
        finally:
            os.close(descriptor)


class PiecesAnswer(Response):
    """What a blocking iterator makes, piece by piece, while it is sent.

    What fails after the first piece can be told only by breaking off.
    """

    def __init__(self, pieces: Iterator[bytes], name: str) -> None:
        super().__init__(headers=_headers(name))
        del self.headers["content-length"]
        self._pieces = pieces

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send it."""
        del scope, receive
        await send(
            {
                "type": "http.response.start",
                "status": self.status_code,
                "headers": self.raw_headers,
            }
        )
        try:
            async for piece in _in_threads(self._pieces):
                for at in range(0, len(piece), PIECE):
                    await _send(send, piece[at : at + PIECE], more=True)
            await _send(send, b"", more=False)
        except TimeoutError:
            log.info("recordings.transfer_broken_off", limit_s=IDLE_S)


async def _in_threads(pieces: Iterator[bytes]) -> AsyncIterator[bytes]:
    while True:
        piece = await anyio.to_thread.run_sync(next, pieces, None)
        if piece is None:
            return
        yield piece


async def _send(send: Send, piece: bytes, *, more: bool) -> None:
    async with asyncio.timeout(IDLE_S):
        await send({"type": "http.response.body", "body": piece, "more_body": more})
