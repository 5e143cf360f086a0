"""Recordings as zips of the data server's layout, made while they are sent."""

from __future__ import annotations

import io
import json
import zipfile
from collections.abc import Iterator, Sequence
from typing import Any

from downstage.kernel.errors import TooLarge
from downstage.streams.model import ZERO, Entry, EntryId
from downstage.streams.recordings.layout import (
    ABOUT,
    CUT_BYTES,
    CUT_ENTRIES,
    EARLIEST,
    date_of,
    raw_path,
)
from downstage.streams.recordings.reader import RecordingReader

__all__ = ["export_zip", "zip_of", "zip_of_range"]

MOST_RANGE_BYTES = 64 << 20


def export_zip(
    reader: RecordingReader, name: str, streams: Sequence[str] | None = None
) -> Iterator[bytes]:
    """The pieces of one zip that holds the layout of a recording. Blocks.

    No more than one inner zip is in memory.

    Args:
        reader: of the recording.
        name: of the recording.
        streams: which; None: all.
    """
    chosen = list(reader.streams if streams is None else streams)
    sink = _Sink()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_STORED) as outer:
        outer.writestr(zipfile.ZipInfo(ABOUT, EARLIEST), json.dumps(_about(reader, chosen)))
        yield sink.take()
        for stream in chosen:
            for entries in cuts(reader.entries([stream])):
                first, last = entries[0].id, entries[-1].id
                info = zipfile.ZipInfo(raw_path(name, stream, first, last), date_of(first))
                outer.writestr(info, zip_of(entries))
                yield sink.take()
    yield sink.take()


def cuts(entries: Iterator[Entry]) -> Iterator[list[Entry]]:
    """*entries* in pieces as the layout cuts them."""
    some: list[Entry] = []
    size = 0
    for entry in entries:
        if some and (len(some) >= CUT_ENTRIES or size + len(entry.data) > CUT_BYTES):
            yield some
            some, size = [], 0
        some.append(entry)
        size += len(entry.data)
    if some:
        yield some


def zip_of(entries: Sequence[Entry]) -> bytes:
    """One zip of the layout."""
    made = io.BytesIO()
    with zipfile.ZipFile(made, "w", zipfile.ZIP_STORED) as inner:
        for entry in entries:
            inner.writestr(zipfile.ZipInfo(str(entry.id), date_of(entry.id)), entry.data)
    return made.getvalue()


def zip_of_range(reader: RecordingReader, stream: str, first: EntryId, last: EntryId) -> bytes:
    """One zip of the layout, of the entries from *first* to *last*. Blocks.

    Raises:
        TooLarge: they are more than go into one.
    """
    found: list[Entry] = []
    size = 0
    for entry in reader.entries([stream], max(first, ZERO), last):
        size += len(entry.data)
        found.append(entry)
        if len(found) > CUT_ENTRIES or size > MOST_RANGE_BYTES:
            raise TooLarge(f"One zip holds at most {CUT_ENTRIES} entries.", limit=CUT_ENTRIES)
    return zip_of(found)


def _about(reader: RecordingReader, streams: Sequence[str]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for channel in reader.ledger.channels.values():
        if channel.topic not in streams:
            continue
        schema = reader.ledger.schemas.get(channel.schema_id)
        described = {
            "content_type": channel.metadata.get("content_type"),
            "description": channel.metadata.get("description"),
            "schema": None if schema is None else json.loads(schema.data),
        }
        found[channel.topic] = {key: value for key, value in described.items() if value}
    return {"version": 1, "streams": found}


class _Sink(io.RawIOBase):
    """Takes what a zip writes, without going back in it."""

    def __init__(self) -> None:
        super().__init__()
        self._pieces: list[bytes] = []
        self._size = 0

    def writable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._size

    def write(self, data: Any, /) -> int:
        piece = bytes(data)
        self._pieces.append(piece)
        self._size += len(piece)
        return len(piece)

    def take(self) -> bytes:
        """What was written since the last time."""
        found = b"".join(self._pieces)
        self._pieces.clear()
        return found
