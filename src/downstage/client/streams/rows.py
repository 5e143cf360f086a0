"""Entries as our API tells them in JSON."""

from __future__ import annotations

import msgspec

from downstage.client.streams.model import Entry, Taken

__all__ = ["Row", "entry_of", "taken_of"]


class Row(msgspec.Struct):
    """One entry: JSON and text stand in `value`, anything else in `data`."""

    stream: str
    id: str
    size: int = 0
    value: msgspec.Raw = msgspec.Raw(b"null")
    data: bytes | None = None
    deliveries: int = 1


def _payload(row: Row, content_type: str | None) -> bytes:
    if row.data is not None:
        return row.data
    if not row.size:
        return b""
    raw = bytes(row.value)
    if (content_type or "").startswith("text/"):
        return msgspec.json.decode(raw, type=str).encode()
    return raw


def entry_of(row: Row, content_type: str | None) -> Entry:
    """The entry that *row* tells."""
    return Entry(row.stream, row.id, _payload(row, content_type), content_type)


def taken_of(row: Row, content_type: str | None) -> Taken:
    """The same of a consumer's."""
    data = _payload(row, content_type)
    return Taken(row.stream, row.id, data, content_type, row.deliveries)
