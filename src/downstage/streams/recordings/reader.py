"""Reads recordings: by stream, by time, forwards or backwards, one entry or all of them.

What an entry costs: one look into the index in memory, one read of its chunk's message index, one
read of the entry itself where its chunk is not packed. All of it waits for the disk: in a thread.
"""

from __future__ import annotations

import heapq
import os
from bisect import bisect_left
from collections import OrderedDict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final, Literal, NamedTuple, Self

from mcap.exceptions import McapError
from mcap.reader import make_reader
from mcap.records import ChunkIndex

from downstage.kernel.errors import Damaged
from downstage.streams.model import ZERO, Entry, EntryId
from downstage.streams.recordings.chunks import HEAD, plain_data, rows_of
from downstage.streams.recordings.ids import FAR, NS, unpack
from downstage.streams.recordings.ledger import Facts, Ledger, Place

__all__ = ["How", "RecordingReader", "load_ledger"]

How = Literal["nearest", "previous"]

CHUNK_HEAD: Final = 9 + 8 + 8 + 8 + 4
"""Bytes of a chunk record before the word for its compression."""
INDEX_HEAD: Final = 9
KEPT: Final = 32 << 20
"""Bytes of unpacked chunks that one reader keeps."""
WHOLE: Final = 4 << 20
"""Chunks that are not packed are read as a whole up to this size, by who reads on."""
KEPT_ROWS: Final = 256


class _Row(NamedTuple):
    """One entry in a chunk."""

    offset: int
    log_time: int
    channel: int


class RecordingReader:
    """Reads one file; for one thread at a time.

    Args:
        path: of the file.
        ledger: its index where somebody has it, also while the file is still being written;
            None: it is read from the file.

    Raises:
        Damaged: the file has no index, or a broken one.
    """

    def __init__(self, path: Path, ledger: Ledger | None = None) -> None:
        self.ledger = ledger if ledger is not None else load_ledger(path)
        self._file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        self._plain: OrderedDict[int, bytes] = OrderedDict()
        self._plain_size = 0
        self._rows: OrderedDict[tuple[int, int], list[_Row]] = OrderedDict()
        self._firsts: dict[tuple[int, int], int] = {}

    def close(self) -> None:
        """Close the file; idempotent."""
        if self._file >= 0:
            os.close(self._file)
            self._file = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def streams(self) -> list[str]:
        """Streams that have entries in it, sorted."""
        return sorted(self.ledger.places)

    def entries(
        self,
        streams: Sequence[str] | None = None,
        start: EntryId = ZERO,
        stop: EntryId | None = None,
        *,
        reverse: bool = False,
    ) -> Iterator[Entry]:
        """Entries of *streams* (None: all) with ids from *start* to *stop*, by id.

        Args:
            streams: names; those that are not there have no entries.
            start: the first id that counts.
            stop: the last id that counts; None: to the end.
            reverse: begin with the newest.
        """
        names = self.streams if streams is None else [n for n in streams if n in self._held]
        if reverse:
            each = [self._backwards(name, start, stop) for name in names]
        else:
            each = [self._forwards(name, start, stop) for name in names]
        return heapq.merge(*each, key=lambda entry: entry.id, reverse=reverse)

    def at(self, stream: str, time: EntryId, how: How = "nearest") -> Entry | None:
        """What *stream* held at *time*: the entry nearest to it, or the last that is not later."""
        if stream not in self._held:
            return None
        before = next(self._backwards(stream, ZERO, time, alone=True), None)
        if how == "previous" or (before is not None and before.id == time):
            return before
        after = next(self._forwards(stream, time.next(), None, alone=True), None)
        if before is None or after is None:
            return before or after
        return after if after.id.ms - time.ms < time.ms - before.id.ms else before

    def count(self, stream: str, start_ms: int, stop_ms: int, buckets: int) -> list[int]:
        """How many entries of *stream* lie in each of *buckets* equal pieces of a time.

        No entry is read, only where they lie.
        """
        found = [0] * buckets
        width = max(stop_ms + 1 - start_ms, 1)
        for place in self._held.get(stream, ()):
            for row in self._rows_in(place):
                at = (self._ms(place.chunk, row) - start_ms) * buckets // width
                if 0 <= at < buckets:
                    found[at] += 1
        return found

    def facts(self) -> dict[str, Facts]:
        """What is there of each stream; `Facts.bytes` counts only what a writer counted."""
        for name, facts in self.ledger.facts.items():
            if facts.first is None and name in self._held:
                first = next(self._forwards(name, ZERO, None, alone=True))
                last = next(self._backwards(name, ZERO, None, alone=True))
                facts.first, facts.last = first.id, last.id
        return self.ledger.facts

    @property
    def _held(self) -> dict[str, list[Place]]:
        return self.ledger.places

    def _forwards(
        self, stream: str, start: EntryId, stop: EntryId | None, *, alone: bool = False
    ) -> Iterator[Entry]:
        places = self._held[stream]
        number, row = self._find(stream, start)
        while number < len(places):
            rows = self._rows_in(places[number])
            while row < len(rows):
                entry = self._entry(stream, places[number].chunk, rows[row], alone=alone)
                if stop is not None and entry.id > stop:
                    return
                if entry.id >= start:
                    yield entry
                row += 1
            number, row = number + 1, 0

    def _backwards(
        self, stream: str, start: EntryId, stop: EntryId | None, *, alone: bool = False
    ) -> Iterator[Entry]:
        places = self._held[stream]
        number, row = self._end(stream, stop)
        while number >= 0:
            rows = self._rows_in(places[number])
            while row >= 0:
                entry = self._entry(stream, places[number].chunk, rows[row], alone=alone)
                if entry.id < start:
                    return
                if stop is None or entry.id <= stop:
                    yield entry
                row -= 1
            number -= 1
            row = len(self._rows_in(places[number])) - 1 if number >= 0 else -1

    def _end(self, stream: str, stop: EntryId | None) -> tuple[int, int]:
        """The last place and row that can hold an id up to *stop*."""
        places = self._held[stream]
        if stop is None:
            number = len(places) - 1
            return number, len(self._rows_in(places[number])) - 1
        number, row = self._find(stream, EntryId(stop.ms + 1))
        if number < len(places) and row < len(self._rows_in(places[number])):
            return number, row  # it is later, and left out; what is before it is not
        number = min(number, len(places) - 1)
        return number, len(self._rows_in(places[number])) - 1

    def _find(self, stream: str, target: EntryId) -> tuple[int, int]:
        """A place and row not after the first id from *target* on, and less than 1 ms before it."""
        places = self._held[stream]
        number = bisect_left(places, target.ms, key=self._first_ms)
        if number == 0:
            return 0, 0
        rows = self._rows_in(places[number - 1])
        chunk = places[number - 1].chunk
        row = bisect_left(rows, target.ms, key=lambda row: self._ms(chunk, row))
        return (number - 1, row) if row < len(rows) else (number, 0)

    def _first_ms(self, place: Place) -> int:
        """Of the first entry of a place; only its row is read, not all of them."""
        key = (place.chunk.chunk_start_offset, place.channels[0])
        found = self._firsts.get(key)
        if found is None:
            rows = [self._index(place.chunk, channel, 1)[0] for channel in place.channels]
            found = self._firsts[key] = self._ms(place.chunk, min(rows))
        return found

    def _ms(self, chunk: ChunkIndex, row: _Row) -> int:
        if row.log_time < FAR:
            return row.log_time // NS
        return self._head(chunk, row)[3]

    def _rows_in(self, place: Place) -> list[_Row]:
        """The entries of a place in their order in the file, which is that of their ids."""
        key = (place.chunk.chunk_start_offset, place.channels[0])
        found = self._rows.get(key)
        if found is None:
            found = [row for channel in place.channels for row in self._index(place.chunk, channel)]
            if len(place.channels) > 1:
                found.sort()
            self._rows[key] = found
            while len(self._rows) > KEPT_ROWS:
                self._rows.popitem(last=False)
        else:
            self._rows.move_to_end(key)
        return found

    def _index(self, chunk: ChunkIndex, channel: int, most: int | None = None) -> list[_Row]:
        at = chunk.message_index_offsets[channel]
        head = self._read(at, INDEX_HEAD + 6)
        length = int.from_bytes(head[INDEX_HEAD + 2 :], "little")
        wanted = length if most is None else min(length, most * 16)
        body = head[INDEX_HEAD : INDEX_HEAD + 2] + wanted.to_bytes(4, "little")
        body += self._read(at + len(head), wanted)
        return [_Row(offset, log_time, channel) for log_time, offset in rows_of(body)]

    def _head(self, chunk: ChunkIndex, row: _Row) -> tuple[int, int, int, int]:
        """Length of the payload, log time, sequence, publish time."""
        if chunk.compression:
            data = self._unpacked(chunk)
            _, length, _, sequence, log_time, publish = HEAD.unpack_from(data, row.offset)
        else:
            data = self._read(_data_at(chunk) + row.offset, HEAD.size)
            _, length, _, sequence, log_time, publish = HEAD.unpack(data)
        return length - (HEAD.size - 9), log_time, sequence, publish

    def _entry(self, stream: str, chunk: ChunkIndex, row: _Row, *, alone: bool) -> Entry:
        direct = not chunk.compression and (alone or chunk.uncompressed_size > WHOLE)
        if direct:
            size, log_time, sequence, publish = self._head(chunk, row)
            data = self._read(_data_at(chunk) + row.offset + HEAD.size, size)
        else:
            plain = self._unpacked(chunk)
            _, length, _, sequence, log_time, publish = HEAD.unpack_from(plain, row.offset)
            data = plain[row.offset + HEAD.size : row.offset + 9 + length]
        found = unpack(self.ledger.form(row.channel), log_time, publish, sequence)
        return Entry(stream, found, data)

    def _unpacked(self, chunk: ChunkIndex) -> bytes:
        key = chunk.chunk_start_offset
        found = self._plain.get(key)
        if found is not None:
            self._plain.move_to_end(key)
            return found
        stored = self._read(_data_at(chunk), chunk.compressed_size)
        crc = int.from_bytes(self._read(key + CHUNK_HEAD - 4, 4), "little")
        found = plain_data(chunk.compression, stored, chunk.uncompressed_size, crc)
        self._plain[key] = found
        self._plain_size += len(found)
        while self._plain_size > KEPT and len(self._plain) > 1:
            _, gone = self._plain.popitem(last=False)
            self._plain_size -= len(gone)
        return found

    def _read(self, at: int, size: int) -> bytes:
        found = os.pread(self._file, size, at)
        if len(found) < size:
            raise Damaged("The recording's file is shorter than its index says.")
        return found


def _data_at(chunk: ChunkIndex) -> int:
    """Where in the file the data of *chunk* begin."""
    return chunk.chunk_start_offset + CHUNK_HEAD + 4 + len(chunk.compression) + 8


def load_ledger(path: Path) -> Ledger:
    """The index of a file that is whole.

    Raises:
        Damaged: it has none.
    """
    ledger = Ledger()
    try:
        with path.open("rb") as file:
            summary = make_reader(file).get_summary()
    except (McapError, ValueError, KeyError) as error:
        raise Damaged("The recording's index cannot be read.") from error
    if summary is None or summary.statistics is None:
        raise Damaged("The recording has no index.")
    ledger.schemas.update(summary.schemas)
    ledger.notes.extend(summary.metadata_indexes)
    for channel in summary.channels.values():
        ledger.know_channel(channel)
    # In the order in which they lie: that is the order of each stream's ids.
    for chunk in sorted(summary.chunk_indexes, key=lambda chunk: chunk.chunk_start_offset):
        ledger.know_chunk(chunk)
    ledger.counts.update(summary.statistics.channel_message_counts)
    for channel, count in ledger.counts.items():
        ledger.facts[ledger.channels[channel].topic].count += count
    ledger.start, ledger.end = (
        summary.statistics.message_start_time,
        summary.statistics.message_end_time,
    )
    return ledger
