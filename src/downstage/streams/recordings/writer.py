"""Writes a recording's MCAP file, chunk by chunk; each is on the disk before the next is begun.

What is here works on files and waits for the disk: it runs in a thread, one call at a time.
"""

from __future__ import annotations

import errno
import fcntl
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

from mcap.data_stream import RecordBuilder
from mcap.records import Header, Metadata, MetadataIndex

from downstage.kernel.errors import OutOfSpace
from downstage.streams.model import EntryId, StreamSpec
from downstage.streams.recordings.chunks import Compression, Message, index_records, pack_chunk
from downstage.streams.recordings.ids import Form, form_of, pack
from downstage.streams.recordings.ledger import MAGIC, Ledger, encode
from downstage.streams.recordings.repair import close_file

__all__ = ["FLOOR", "LIBRARY", "RecordingFile", "compression_for"]

LIBRARY: Final = "downstage"
PRIVATE: Final = 0o600
FLOOR: Final = 128 << 20
"""Bytes that stay free on the disk: a recording ends before it takes the last of them."""
FULL: Final = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
PACKED_ALREADY: Final = ("image/", "video/", "audio/")
UNPACKED: Final = ("image/svg", "image/bmp", "image/x-portable", "audio/pcm", "audio/l16")
TEXT: Final = ("text/", "application/json", "application/xml")

Entry = tuple[str, EntryId, bytes]


def compression_for(content_type: str | None) -> Compression:
    """How entries of *content_type* are packed: pictures and sound are packed already."""
    kind = (content_type or "").lower()
    if kind.startswith(TEXT) or kind.endswith("+json"):
        return "zstd"
    if kind.startswith(PACKED_ALREADY) and not kind.startswith(UNPACKED):
        return ""
    return "lz4"


class RecordingFile:
    """One file that is being written; locked, so that others see that its writer lives.

    Args:
        path: it must not exist.
        about: what the file says of itself, in a metadata record.
        floor: bytes that must stay free on the disk.

    Raises:
        OutOfSpace: the disk is too full to begin.
        FileExistsError: there is such a file.
    """

    def __init__(self, path: Path, about: Mapping[str, str], *, floor: int = FLOOR) -> None:
        self.path = path
        self.ledger = Ledger()
        self.size = 0
        self.allows: Callable[[str], None] | None = None
        """Called with a stream's name before its first entry is written; raises to refuse it."""
        self.floor = floor
        self._channels: dict[tuple[str, Form], int] = {}
        self._specs: dict[str, StreamSpec] = {}
        self._schemas: dict[str, int] = {}
        self._refuse_full()
        flags = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
        self._file: int | None = os.open(path, flags, PRIVATE)
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._begin(about)
        except BaseException:
            os.close(self._file)
            path.unlink()
            raise

    def _begin(self, about: Mapping[str, str]) -> None:
        builder = RecordBuilder()
        Header(profile="", library=LIBRARY).write(builder)
        self._write(MAGIC + builder.end())
        self.note("downstage.recording", about)
        folder = os.open(self.path.parent, os.O_RDONLY | os.O_CLOEXEC)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    def describe(self, stream: str, spec: StreamSpec) -> None:
        """Say what *stream* is before its first entry."""
        self._specs[stream] = spec

    def spec(self, stream: str) -> StreamSpec:
        """What *stream* was described as."""
        return self._specs.get(stream) or StreamSpec()

    def note(self, name: str, fields: Mapping[str, str]) -> None:
        """Write a metadata record.

        Raises:
            OutOfSpace: the disk is full.
        """
        builder = RecordBuilder()
        Metadata(name=name, metadata=dict(fields)).write(builder)
        record = builder.end()
        at = self.size
        self._write(record)
        self.ledger.notes.append(MetadataIndex(offset=at, length=len(record), name=name))

    def write_chunk(self, entries: Sequence[Entry], compression: Compression) -> None:
        """Write *entries* as one chunk; back when they are on the disk.

        Raises:
            OutOfSpace: the disk is full; the file is as it was before.
            QuotaReached: more channels than a file holds.
        """
        self._refuse_full()
        messages = [self._message(*entry) for entry in entries]
        packed = pack_chunk(messages, compression)
        indexes, offsets = index_records(packed.rows)
        at = self.size
        self._write(packed.record + indexes)
        self.ledger.add_chunk(at, packed, messages, offsets, len(indexes))

    def finish(self) -> Ledger:
        """Write the summary and close; what does not fit any more is given up from the end.

        Idempotent.
        """
        if self._file is None:
            return self.ledger
        try:
            self.ledger, self.size = close_file(self._file, self.ledger, self.size)
        finally:
            self.abandon()
        return self.ledger

    def abandon(self) -> None:
        """Close the file as it is, without its summary; `repair` can mend it. Idempotent."""
        if self._file is not None:
            os.close(self._file)
            self._file = None

    def _message(self, stream: str, entry: EntryId, data: bytes) -> Message:
        form = form_of(entry)
        channel = self._channels.get((stream, form)) or self._open_channel(stream, form)
        return (channel, *pack(entry, form), data)

    def _open_channel(self, stream: str, form: Form) -> int:
        if self.allows is not None:
            self.allows(stream)
        spec = self.spec(stream)
        records = b""
        if spec.schema is not None and stream not in self._schemas:
            schema = self.ledger.add_schema(stream, spec.schema)
            self._schemas[stream] = schema.id
            records = encode(schema)
        schema_id = self._schemas.get(stream, 0)
        channel = self.ledger.add_channel(
            stream, form, spec.content_type, schema_id, spec.description
        )
        # Before the chunk, not in it: repair knows it without unpacking anything.
        self._write(records + encode(channel))
        self._channels[stream, form] = channel.id
        return channel.id

    def _refuse_full(self) -> None:
        found = os.statvfs(self.path.parent)
        if found.f_bavail * found.f_frsize < self.floor:
            raise OutOfSpace("The disk has too little room left for the recording to go on.")

    def _write(self, data: bytes) -> None:
        """Append *data*, all of it or nothing, and wait for the disk."""
        if self._file is None:
            raise OutOfSpace("The file of this recording is closed.")
        view, at = memoryview(data), self.size
        try:
            while view:
                written = os.pwrite(self._file, view, at)
                view, at = view[written:], at + written
            os.fdatasync(self._file)
        except OSError as error:
            os.ftruncate(self._file, self.size)
            if error.errno not in FULL:
                raise
            raise OutOfSpace("The disk is full: the recording cannot go on.") from error
        self.size = at
