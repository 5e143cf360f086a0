"""Mends files whose writer died, and ends files: whatever is whole stays, the index is made anew.

A file is read from its beginning; the first record that is torn ends it. Chunks were on the disk
before the next was begun, so that is at most the one that was open.
"""

from __future__ import annotations

import errno
import fcntl
import io
import os
import struct
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Metadata, MetadataIndex, Schema

from downstage.kernel.errors import Damaged
from downstage.kernel.logging import get_logger
from downstage.streams.recordings.chunks import (
    Message,
    Packed,
    Row,
    index_records,
    messages_in,
    plain_data,
)
from downstage.streams.recordings.ledger import MAGIC, Ledger

__all__ = ["Mended", "close_file", "is_being_written", "mend"]

RECORD: Final = struct.Struct("<BQ")
MOST_RECORD: Final = 1 << 31
"""A longer record is none of ours: the length is torn."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Mended:
    """What repair found, and did."""

    ledger: Ledger
    size: int
    cut: int
    """Bytes at the end that were no whole record."""
    about: dict[str, str]
    """What the file says of itself."""


def is_being_written(path: Path) -> bool:
    """Whether a living process writes the file at *path*."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    else:
        return False
    finally:
        os.close(descriptor)


def mend(path: Path) -> Mended:
    """Make the file at *path* whole: keep what is valid, write index and summary.

    Raises:
        Damaged: it does not even begin as a recording.
        BlockingIOError: somebody is writing it.
        OSError: it cannot be read or written.
    """
    descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        before = os.fstat(descriptor).st_size
        found = _Scan(descriptor, before)
        found.run()
        ledger, size = close_file(descriptor, found.ledger, found.end)
        return Mended(ledger, size, max(before - found.end, 0), found.about)
    finally:
        os.close(descriptor)


def close_file(descriptor: int, ledger: Ledger, end: int) -> tuple[Ledger, int]:
    """Write the end of a file whose data end at *end*.

    Where it does not fit on the disk, the last chunks make room for it.

    Returns:
        What the file holds now, and its size.
    """
    while True:
        os.ftruncate(descriptor, end)
        tail = ledger.tail(end)
        try:
            view, at = memoryview(tail), end
            while view:
                written = os.pwrite(descriptor, view, at)
                view, at = view[written:], at + written
            os.fsync(descriptor)
        except OSError as error:
            if error.errno not in FULL or not ledger.chunks:
                raise
            log.warning("recordings.chunk_given_up", why="the disk is full")
            again = _Scan(descriptor, ledger.chunks[-1].chunk_start_offset)
            again.run()
            ledger, end = again.ledger, again.end
        else:
            return ledger, at


class _Scan:
    """Reads records until the first that is not whole."""

    def __init__(self, descriptor: int, size: int) -> None:
        self.ledger = Ledger()
        self.about: dict[str, str] = {}
        self.end = 0
        self._file = descriptor
        self._size = size

    def run(self) -> None:
        """Fill the ledger; `end` is where the valid data end."""
        if os.pread(self._file, len(MAGIC), 0) != MAGIC:
            raise Damaged("The file does not begin as a recording.")
        self.end = len(MAGIC)
        while True:
            try:
                if not self._take():
                    return
            except (Damaged, McapError, struct.error, ValueError, KeyError) as error:
                log.info("recordings.torn_record_found", at=self.end, why=type(error).__name__)
                return

    def _take(self) -> bool:
        """Take the record at `end`; False: there is none, or the data end here."""
        head = os.pread(self._file, RECORD.size, self.end)
        if len(head) < RECORD.size:
            return False
        opcode, length = RECORD.unpack(head)
        following = self.end + RECORD.size + length
        if length > MOST_RECORD or following > self._size or opcode == Opcode.DATA_END:
            return False
        body = os.pread(self._file, length, self.end + RECORD.size)
        if opcode == Opcode.CHUNK:
            self._take_chunk(head + body, following)
            return True
        if not self._take_small(opcode, body):
            return False
        self.end = following
        return True

    def _take_small(self, opcode: int, body: bytes) -> bool:
        stream = ReadDataStream(_Exact(body))
        if opcode == Opcode.CHANNEL:
            self.ledger.know_channel(Channel.read(stream))
        elif opcode == Opcode.SCHEMA:
            schema = Schema.read(stream)
            self.ledger.schemas[schema.id] = schema
        elif opcode == Opcode.METADATA:
            note = Metadata.read(stream)
            length = RECORD.size + len(body)
            self.ledger.notes.append(MetadataIndex(self.end, length, note.name))
            if note.name == "downstage.recording":
                self.about = note.metadata
        else:
            return opcode == Opcode.HEADER
        return True

    def _take_chunk(self, record: bytes, following: int) -> None:
        chunk = Chunk.read(ReadDataStream(_Exact(record[RECORD.size :])))
        plain = plain_data(
            chunk.compression, chunk.data, chunk.uncompressed_size, chunk.uncompressed_crc
        )
        rows: dict[int, list[Row]] = {}
        messages: list[Message] = []
        for at, message in messages_in(plain):
            rows.setdefault(message[0], []).append((message[1], at))
            messages.append(message)
        if not rows.keys() <= self.ledger.channels.keys():
            raise Damaged("A chunk has messages of channels that are not there.")
        indexes, offsets = index_records(rows)
        # As the writer writes them; where they are torn they are written again.
        if os.pread(self._file, len(indexes), following) != indexes:
            os.ftruncate(self._file, following)
            os.pwrite(self._file, indexes, following)
        packed = Packed(
            record=record,
            compression=chunk.compression,  # pyright: ignore[reportArgumentType] - checked
            size=len(plain),
            stored=len(chunk.data),
            start=chunk.message_start_time,
            end=chunk.message_end_time,
            rows=rows,
        )
        self.ledger.add_chunk(self.end, packed, messages, offsets, len(indexes))
        self.end = following + len(indexes)


class _Exact(io.BytesIO):
    """Bytes as a file; reading past their end is an error, not a short answer."""

    def read(self, size: int | None = -1, /) -> bytes:
        """The next *size* bytes."""
        found = super().read(size)
        if size is not None and len(found) < size:
            raise Damaged("A record ends early.")
        return found
