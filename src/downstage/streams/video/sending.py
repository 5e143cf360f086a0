"""Bytes to one client: whole or a range of them, in pieces, and no slower than may be."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from http import HTTPStatus

import anyio
from starlette.types import Scope, Send

from downstage.kernel.errors import DeadlineExceeded, RangeNotSatisfiable

__all__ = ["Sending", "one_range"]

PIECE = 64 << 10
TAKEN_S = 60.0
"""A client that takes no piece for so long is left."""
RANGE = re.compile(r"bytes=(\d{0,16})-(\d{0,16})", re.ASCII)
MAX_RANGE = 64


def one_range(value: str | None, size: int) -> tuple[int, int] | None:
    """First byte and the one after the last; None: all. Several ranges are answered with all.

    Raises:
        RangeNotSatisfiable: it lies outside.
    """
    found = RANGE.fullmatch(value) if value is not None and len(value) <= MAX_RANGE else None
    if found is None or found[1] == found[2] == "":
        return None
    if found[1] == "":
        start, end = max(0, size - int(found[2])), size
    else:
        start = int(found[1])
        end = min(size, int(found[2]) + 1) if found[2] else size
        if found[2] and int(found[2]) < start:
            return None
    if start >= size:
        raise RangeNotSatisfiable("That range lies outside.", size=size)
    return start, end


class Sending:
    """One answer.

    Args:
        scope: of the request.
        send: of the server.
        headers: that every answer has.
    """

    def __init__(self, scope: Scope, send: Send, headers: dict[str, str]) -> None:
        self._scope, self._send = scope, send
        self.headers = headers
        self.begun = False
        self.sent = 0

    async def whole(self, status: HTTPStatus, body: bytes, headers: Mapping[str, str]) -> None:
        """Answer with *body*."""
        await self._begin(status, len(body), headers)
        await self._pieces([body])

    async def ranged(self, parts: Sequence[bytes], headers: Mapping[str, str]) -> None:
        """Answer with *parts* back to back, or with the range that is asked for."""
        size = sum(map(len, parts))
        given = next((v for k, v in self._scope["headers"] if k == b"range"), None)
        bounds = one_range(None if given is None else given.decode("latin-1"), size)
        start, end = bounds or (0, size)
        told = {**headers, "accept-ranges": "bytes"}
        if bounds is not None:
            told["content-range"] = f"bytes {start}-{end - 1}/{size}"
        status = HTTPStatus.OK if bounds is None else HTTPStatus.PARTIAL_CONTENT
        await self._begin(status, end - start, told)
        await self._pieces(list(_cut(parts, start, end)))

    async def _begin(self, status: HTTPStatus, size: int, headers: Mapping[str, str]) -> None:
        self.begun = True
        told = {**self.headers, **headers}
        if status != HTTPStatus.NO_CONTENT:
            told["content-length"] = str(size)
        raw = [(key.encode(), value.encode("latin-1")) for key, value in told.items()]
        await self._send({"type": "http.response.start", "status": int(status), "headers": raw})

    async def _pieces(self, parts: Sequence[bytes | memoryview]) -> None:
        if self._scope["method"] != "HEAD":
            for part in parts:
                for at in range(0, len(part), PIECE):
                    await self._piece(bytes(part[at : at + PIECE]))
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    async def _piece(self, body: bytes) -> None:
        # The server waits here while the client does not read, so one piece is held for it.
        try:
            with anyio.fail_after(TAKEN_S):
                await self._send({"type": "http.response.body", "body": body, "more_body": True})
        except TimeoutError as error:
            raise DeadlineExceeded("The client takes nothing.") from error
        self.sent += len(body)


def _cut(parts: Sequence[bytes], start: int, end: int) -> Iterator[memoryview]:
    at = 0
    for part in parts:
        low, high = max(start - at, 0), min(end - at, len(part))
        if low < high:
            yield memoryview(part)[low:high]
        at += len(part)
