"""Entries as answers: JSON, the bytes themselves, many parts. Long ones are made in threads."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator, Sequence
from datetime import datetime
from typing import Any, Final
from urllib.parse import quote

import anyio.to_thread
import msgspec
from starlette.responses import Response, StreamingResponse

from downstage.streams.dialects.v1.validation import is_json, is_text
from downstage.streams.dialects.v1.views import time_of
from downstage.streams.model import Entry

__all__ = ["EntryRow", "as_bytes", "as_json", "as_parts", "encoded", "row_of"]

IN_THREAD: Final = 64 * 1024
"""Bytes from which on encoding would hold the loop for too long."""
SHOWN: Final = ("image/", "video/", "audio/")
SHOWN_WHOLE: Final = ("text/plain", "application/json", "application/octet-stream")
SCRIPTED: Final = ("image/svg+xml",)
GUARD: Final = {
    "content-security-policy": "default-src 'none'; sandbox",
    "x-content-type-options": "nosniff",
    "cross-origin-resource-policy": "same-site",
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-store",
}
"""Entries are strangers' data on the origin of our pages: nothing of them may run."""


class EntryRow(msgspec.Struct):
    """What `contracts.streams.EntryView` says, made for encoding."""

    stream: str
    id: str
    time: datetime
    size: int
    value: Any = None
    data: bytes | None = None


def row_of(entry: Entry, content_type: str | None) -> EntryRow:
    """*entry* as it is told: JSON and text as what they are, where they are that."""
    row = EntryRow(entry.stream, str(entry.id), time_of(entry.id), len(entry.data))
    try:
        if is_json(content_type):
            msgspec.json.decode(entry.data)
            row.value = msgspec.Raw(entry.data)
        elif is_text(content_type):
            row.value = entry.data.decode()
        else:
            row.data = entry.data
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        row.data = entry.data
    return row


async def encoded(entries: Sequence[Entry], content_type: str | None, next_id: str | None) -> bytes:
    """A page of entries as JSON."""

    def work() -> bytes:
        items = [row_of(entry, content_type) for entry in entries]
        return msgspec.json.encode({"items": items, "next": next_id})

    if sum(len(entry.data) for entry in entries) < IN_THREAD:
        return work()
    return await anyio.to_thread.run_sync(work)


async def as_json(
    entries: Sequence[Entry], content_type: str | None, next_id: str | None
) -> Response:
    """A page of entries."""
    body = await encoded(entries, content_type, next_id)
    return Response(body, media_type="application/json", headers={"cache-control": "no-store"})


def as_bytes(entry: Entry, content_type: str | None) -> Response:
    """One entry, as what its stream says that it is, in a form in which nothing of it runs."""
    kind = content_type or "application/octet-stream"
    headers = {**GUARD, "x-entry-id": str(entry.id), "x-stream": entry.stream}
    if not _may_show(kind):
        name = quote(f"{entry.stream}-{entry.id}", safe="")
        headers["content-disposition"] = f"attachment; filename*=utf-8''{name}"
    response = Response(entry.data, headers=headers)
    response.headers["content-type"] = kind  # as it is: no charset of ours
    return response


def as_parts(chunks: AsyncIterator[Sequence[Entry]], content_type: str | None) -> Response:
    """Many entries, each with its own head (``multipart/mixed``)."""
    kind = content_type or "application/octet-stream"
    # One that no entry holds: whoever made them did not know it.
    boundary = f"entry-{secrets.token_hex(16)}"

    async def parts() -> AsyncIterator[bytes]:
        async for entries in chunks:
            for entry in entries:
                head = (
                    f"--{boundary}\r\ncontent-type: {kind}\r\nx-entry-id: {entry.id}\r\n"
                    f"content-length: {len(entry.data)}\r\n\r\n"
                )
                yield head.encode("ascii")
                yield entry.data
                yield b"\r\n"
        yield f"--{boundary}--\r\n".encode()

    return StreamingResponse(
        parts(), media_type=f"multipart/mixed; boundary={boundary}", headers=dict(GUARD)
    )


def _may_show(kind: str) -> bool:
    plain = kind.partition(";")[0].strip().lower()
    return plain in SHOWN_WHOLE or (plain.startswith(SHOWN) and plain not in SCRIPTED)
