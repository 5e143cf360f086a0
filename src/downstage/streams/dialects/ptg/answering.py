"""What ``GET /data`` answers: entries of several streams within one body, and where each begins.

Both the body and the header that describes it are bounded, whatever *count* says; a client that
goes on from the last id of each stream misses nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import anyio
import anyio.to_thread

from downstage.kernel.errors import InvalidField, NotFound, TooLarge
from downstage.streams.model import ZERO, Caller, Entry, EntryId
from downstage.streams.reading import LAST, MOST_COUNT, NEWEST, Cursor
from downstage.streams.service import Streams

__all__ = [
    "CONVERTERS",
    "LATEST",
    "MAX_ANSWER",
    "Converted",
    "convert_entry",
    "converted",
    "gather",
    "header_of",
    "last_ids",
]

MAX_ANSWER: Final = 32 << 20
"""Bytes after which no further entries are read for one answer."""
MAX_HEADER: Final = 48 * 1024
"""Bytes of the header: the clients that are used most take 64 KiB."""
A_ROW = 48
"""Bytes of one entry in the header beside its stream's name."""
MAX_CONVERTED = 2 * MAX_ANSWER
MOST_SEQ = 2**64 - 1
LATEST = EntryId(MOST_SEQ, MOST_SEQ)
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
    found: list[Entry] = []
    left = MAX_ANSWER
    for name, cursor in cursors.items():
        entries = await _Reader(streams, caller, name, cursor).take(count, left)
        left -= sum(len(entry.data) for entry in entries)
        found += entries
    return found


@dataclass(frozen=True, slots=True)
class _Reader:
    """Reads one stream in steps, by the size of what it read: *count* may mean gigabytes."""

    streams: Streams
    caller: Caller
    name: str
    cursor: Cursor

    async def take(self, count: int, left: int) -> list[Entry]:
        if self.cursor is LAST:
            await self.streams.read(self.caller, {self.name: LATEST})  # whether it may be read
            return []
        found: list[Entry] = []
        size, step = 0, 1
        while len(found) < count:
            step = min(step, count - len(found))
            entries = await self._step(found, step)
            found += entries
            size += sum(len(entry.data) for entry in entries)
            if len(entries) < step or size >= left:
                break
            step = max(1, (left - size) * len(found) // max(1, size))
        return found[::-1] if self.cursor is NEWEST else found

    async def _step(self, found: Sequence[Entry], step: int) -> list[Entry]:
        last = found[-1].id if found else None
        if isinstance(self.cursor, EntryId):
            after = last or self.cursor
            return await self.streams.read(self.caller, {self.name: after}, count=step)
        if last == ZERO:
            return []
        stop = None if last is None else _before(last)
        return await self.streams.range(
            self.caller, self.name, None, stop, count=step, reverse=True
        )


def _before(id_: EntryId) -> EntryId:
    """The id right before *id_*, which is not the first there can be."""
    return EntryId(id_.ms, id_.seq - 1) if id_.seq else EntryId(id_.ms - 1, MOST_SEQ)


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
