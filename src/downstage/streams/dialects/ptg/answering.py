"""What ``GET /data`` answers: entries of several streams within one body, and where each begins.

Both the body and the header that describes it are bounded, whatever *count* says; a client that
goes on from the last id of each stream misses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Final

import anyio
import anyio.to_thread

from downstage.kernel.errors import InvalidField, NotFound, TooLarge
from downstage.streams.model import Caller, Entry, EntryId, Right
from downstage.streams.reading import MOST_COUNT, NEWEST, Cursor
from downstage.streams.service import Streams

__all__ = [
    "CONVERTERS",
    "Converted",
    "convert_entry",
    "converted",
    "gather",
    "header_of",
    "last_ids",
]

MAX_CONVERTED: Final = 64 << 20
"""Bytes of an answer whose entries were converted; what is stored is bounded by the store."""
MAX_HEADER: Final = 48 * 1024
"""Bytes of the header: the clients that are used most take 64 KiB."""
A_ROW = 48
"""Bytes of one entry in the header beside its stream's name."""
CONVERTERS: Final = anyio.CapacityLimiter(2)
"""Conversions at once: each is a core's work and up to some 200 MB."""

Converted = tuple[str, EntryId, bytes]


async def gather(
    streams: Streams, caller: Caller, cursors: Mapping[str, Cursor], count: int
) -> list[Entry]:
    """At most *count* entries of each stream, in the order in which the streams are named.

    Raises:
        NotFound: the caller may not read one of them.
        InvalidField: so many streams fit into no header.
    """
    row = sum(len(name) + A_ROW for name in cursors)
    if row > MAX_HEADER:
        raise InvalidField("stream", "So many streams fit into no answer: name fewer.")
    count = min(count, MOST_COUNT, MAX_HEADER // row)
    for name in cursors:
        caller.need(name, Right.READ)
    newest = {name: cursor for name, cursor in cursors.items() if cursor is NEWEST}
    after = {name: cursor for name, cursor in cursors.items() if isinstance(cursor, EntryId)}
    found: list[Entry] = []
    if newest:
        found += await streams.read(caller, newest, count=count, order="newest")
    if after:
        found += await streams.read(caller, after, count=count)
    order = {name: number for number, name in enumerate(cursors)}
    return sorted(found, key=lambda entry: order[entry.stream])


async def converted(
    streams: Streams,
    caller: Caller,
    entries: Sequence[Entry],
    *,
    output: str | None,
    source: str | None,
) -> list[Converted]:
    """*entries* in the form *output*, each with its stream and id; None: as they are.

    Raises:
        UnsupportedMedia: a form is unknown, or an entry is not of it.
        TooLarge: it would become more than one answer holds.
    """
    if output is None:
        return [(entry.stream, entry.id, entry.data) for entry in entries]
    types = {name: await _type(streams, caller, name) for name in {e.stream for e in entries}}
    found: list[Converted] = []
    size = 0
    for entry in entries:
        data = await convert_entry(entry, output, source, types[entry.stream])
        size += len(data)
        if size > MAX_CONVERTED:
            raise TooLarge("The answer would be too large: ask for fewer entries.")
        found.append((entry.stream, entry.id, data))
    return found


async def convert_entry(
    entry: Entry, output: str, source: str | None, content_type: str | None = None
) -> bytes:
    """The payload of *entry* in the form *output*; a thread does it.

    Raises:
        UnsupportedMedia, TooLarge: as `downstage.media.images.convert`.
    """

    def run() -> bytes:
        from downstage.media.images import convert  # what it needs takes a while to load

        return convert(entry.data, output, source, stream=entry.stream, content_type=content_type)

    return await anyio.to_thread.run_sync(run, limiter=CONVERTERS)


async def _type(streams: Streams, caller: Caller, name: str) -> str | None:
    try:
        return (await streams.info(caller, name)).spec.content_type
    except NotFound:
        return None


def header_of(entries: Sequence[Converted]) -> str:
    """``[[stream, id, where it begins], …]``."""
    rows: list[tuple[str, str, int]] = []
    at = 0
    for stream, id_, data in entries:
        rows.append((stream, str(id_), at))
        at += len(data)
    return json.dumps(rows, separators=(",", ":"))


def last_ids(cursors: Mapping[str, Cursor], entries: Sequence[Converted]) -> str:
    """What to ask for next: the last id of each stream, joined by ``+``."""
    last = {
        name: str(cursor) if isinstance(cursor, EntryId) else "0"
        for name, cursor in cursors.items()
    }
    last |= {stream: str(id_) for stream, id_, _ in entries}
    return "+".join(last.values())
