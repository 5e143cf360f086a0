"""Recordings from outside: zips of the data server's layout, and MCAP files of anybody.

All of it works on a file that lies here already, in a thread, and holds one chunk in memory.
"""

from __future__ import annotations

import json
import re
import struct
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from typing import IO, Any, Final, cast

from mcap.data_stream import ReadDataStream
from mcap.exceptions import McapError
from mcap.opcode import Opcode
from mcap.records import Channel, Chunk, Header, Message, Schema
from mcap.stream_reader import StreamReader

from downstage.kernel.errors import Damaged, InvalidInput, TooLarge
from downstage.kernel.zips import Archive
from downstage.streams import names
from downstage.streams.model import EntryId, StreamSpec
from downstage.streams.recordings.chunks import plain_data, records_in
from downstage.streams.recordings.ids import NS, Form, unpack
from downstage.streams.recordings.layout import ABOUT, member_id, read_raw_path
from downstage.streams.recordings.ledger import MAGIC
from downstage.streams.recordings.writer import LIBRARY, Entry, RecordingFile, compression_for

__all__ = ["MOST_UNPACKED", "Source", "open_source", "sniff"]

MOST_FILES: Final = 50_000
MOST_ENTRIES: Final = 100_000
"""Of one inner zip; the layout has 1000."""
MOST_INNER: Final = 128 << 20
MOST_UNPACKED: Final = 1 << 40
MOST_ABOUT: Final = 4 << 20
IN_MEMORY: Final = 4 << 20
CHUNK: Final = 1 << 20
SPECS: Final = ("content_type", "description", "schema")
READ: Final = (Opcode.SCHEMA, Opcode.CHANNEL, Opcode.MESSAGE)
"""Records of a chunk that are looked at."""
UNNAMED = re.compile(r"[^A-Za-z0-9_.:@=-]+")


@dataclass(slots=True)
class Source:
    """What came, ready to be written as a recording."""

    name: str
    """What it calls itself; empty: nothing."""
    write: Callable[[RecordingFile], None]
    """Writes all of it. Blocks.

    Raises:
        InvalidInput, TooLarge: it is not what it claims.
        OutOfSpace: the disk is full.
    """


def open_source(file: IO[bytes], scratch: Path) -> Source:
    """Look at what came.

    Args:
        file: seekable.
        scratch: folder for what is unpacked.

    Raises:
        InvalidInput, TooLarge: nothing that is taken.
    """
    file.seek(0)
    if file.read(len(MAGIC)) == MAGIC:
        file.seek(0)
        return Source("", lambda into: _write_all(into, _entries_of_mcap(file, into)))
    archive = Archive(file, most=MOST_FILES, most_bytes=MOST_INNER, most_total=MOST_UNPACKED)
    layout = _Layout(archive, scratch)
    return Source(layout.recording, layout.write)


class _Layout:
    """A zip of zips."""

    def __init__(self, archive: Archive, scratch: Path) -> None:
        self._archive = archive
        self._scratch = scratch
        self._specs: dict[str, StreamSpec] = {}
        self._files: list[tuple[str, EntryId, EntryId, zipfile.ZipInfo]] = []
        recordings: set[str] = set()
        for info in archive.members:
            if info.filename == ABOUT:
                self._specs = self._read_about(info)
                continue
            path = read_raw_path(info.filename)
            recordings.add(path.recording)
            self._files.append((path.stream, path.first, path.last, info))
        if len(recordings) > 1:
            raise InvalidInput("The archive holds more than one recording. Import each alone.")
        self.recording = next(iter(recordings), "")
        self._files.sort(key=lambda item: item[:3])

    def write(self, into: RecordingFile) -> None:
        """Stream after stream, in the order of ids."""
        _write_all(into, self._entries(into))

    def _entries(self, into: RecordingFile) -> Iterator[Entry]:
        before: tuple[str, EntryId] | None = None
        for stream, first, last, info in self._files:
            for entry, data in self._unpacked(info):
                if not first <= entry <= last:
                    raise InvalidInput("An archive holds ids that its name does not say.")
                if before is not None and before[0] == stream and entry <= before[1]:
                    raise InvalidInput("Two archives of a stream hold the same times.")
                if before is None or before[0] != stream:
                    into.describe(stream, self._specs.get(stream) or sniff(data))
                before = (stream, entry)
                yield stream, entry, data

    def _unpacked(self, info: zipfile.ZipInfo) -> Iterator[tuple[EntryId, bytes]]:
        with tempfile.SpooledTemporaryFile(IN_MEMORY, dir=str(self._scratch)) as spool:
            for piece in self._archive.pieces(info):
                spool.write(piece)
            inner = Archive(
                cast("IO[bytes]", spool),
                most=MOST_ENTRIES,
                most_bytes=MOST_INNER,
                most_total=MOST_INNER,
            )
            found = {member_id(member.filename): member for member in inner.members}
            if len(found) < len(inner.members):
                raise InvalidInput("Two members of the archive have the same id.")
            for entry in sorted(found):
                yield entry, inner.read(found[entry])

    def _read_about(self, info: zipfile.ZipInfo) -> dict[str, StreamSpec]:
        if info.file_size > MOST_ABOUT:
            raise InvalidInput(f"{ABOUT} is too large.")
        try:
            about: Any = json.loads(self._archive.read(info))
            streams: dict[str, dict[str, Any]] = about["streams"]
            return {
                names.check(stream): _spec({key: said[key] for key in SPECS if key in said})
                for stream, said in streams.items()
            }
        except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
            raise InvalidInput(f"{ABOUT} is not what an export writes.") from error


def _spec(said: dict[str, Any]) -> StreamSpec:
    kind, about, schema = (said.get(key) for key in SPECS)
    return StreamSpec(
        content_type=kind if isinstance(kind, str) else None,
        description=about if isinstance(about, str) else "",
        schema=cast("dict[str, Any]", schema) if isinstance(schema, dict) else None,
    )


def sniff(data: bytes) -> StreamSpec:
    """What a stream seems to hold, by its first entry."""
    if data[:3] == b"\xff\xd8\xff":
        return StreamSpec(content_type="image/jpeg")
    if data[:8] == b"\x89PNG\r\n\x1a\n":
        return StreamSpec(content_type="image/png")
    if data[:1] in (b"{", b"["):
        try:
            json.loads(data)
        except (ValueError, RecursionError):
            return StreamSpec()
        return StreamSpec(content_type="application/json")
    return StreamSpec()


def _write_all(into: RecordingFile, entries: Iterator[Entry]) -> None:
    """Write *entries* in chunks; those of one stream lie together."""
    some: list[Entry] = []
    size = 0
    packing = compression_for(None)
    for entry in entries:
        other = compression_for(into.spec(entry[0]).content_type)
        if some and (size >= CHUNK or other != packing):
            into.write_chunk(some, packing)
            some, size = [], 0
        packing = other
        some.append(entry)
        size += len(entry[2])
    if some:
        into.write_chunk(some, packing)


def _entries_of_mcap(file: IO[bytes], into: RecordingFile) -> Iterator[Entry]:
    """Entries of any MCAP file: topics become names, log times become ids where it is not ours."""
    reader = _Foreign(into)
    try:
        for record in StreamReader(file, emit_chunks=True, record_size_limit=MOST_INNER).records:
            for inner in _records_of(record) if isinstance(record, Chunk) else (record,):
                found = reader.take(inner)
                if found is not None:
                    yield found
    except (McapError, Damaged, struct.error, ValueError, KeyError, EOFError) as error:
        raise InvalidInput("The file is not whole, or no MCAP file.") from error


def _records_of(chunk: Chunk) -> Iterator[object]:
    """What lies in *chunk*, one after the other; unpacked here: it says itself how much it is."""
    size = chunk.uncompressed_size
    if size > MOST_INNER:
        raise TooLarge(f"A chunk of the file has more than {MOST_INNER} bytes.", limit=MOST_INNER)
    plain = plain_data(chunk.compression, chunk.data, size, chunk.uncompressed_crc)
    for opcode, start, stop in records_in(plain):
        if opcode in READ:
            stream = ReadDataStream(BytesIO(plain[start:stop]))
            if opcode == Opcode.MESSAGE:
                yield Message.read(stream, stop - start)
            else:
                yield (Channel if opcode == Opcode.CHANNEL else Schema).read(stream)


class _Foreign:
    """Turns the records of an MCAP file into entries."""

    def __init__(self, into: RecordingFile) -> None:
        self._into = into
        self._ours = False
        self._channels: dict[int, Channel] = {}
        self._schemas: dict[int, Schema] = {}
        self._streams: dict[int, str] = {}
        self._last: dict[str, EntryId] = {}

    def take(self, record: object) -> Entry | None:
        """An entry, where *record* is one."""
        if isinstance(record, Header):
            self._ours = record.library == LIBRARY
        elif isinstance(record, Schema):
            self._schemas[record.id] = record
        elif isinstance(record, Channel):
            self._channels[record.id] = record
        elif isinstance(record, Message):
            return self._entry(record)
        return None

    def _entry(self, message: Message) -> Entry:
        channel = self._channels[message.channel_id]
        stream = self._streams.get(channel.id) or self._meet(channel)
        last = self._last.get(stream)
        if self._ours:
            form = cast("Form", channel.metadata.get("ids", ""))
            entry = unpack(form, message.log_time, message.publish_time, message.sequence)
        else:
            entry = EntryId(message.log_time // NS)
        if last is not None and entry <= last:
            entry = last.next()  # a log may have several at one time, and some out of order
        self._last[stream] = entry
        return stream, entry, message.data

    def _meet(self, channel: Channel) -> str:
        stream = self._name(channel.topic)
        self._streams[channel.id] = stream
        schema = self._schemas.get(channel.schema_id)
        kind = channel.metadata.get("content_type") or channel.message_encoding
        if kind == "json":
            kind = "application/json"
        self._into.describe(
            stream,
            StreamSpec(
                content_type=kind if "/" in kind else None,
                description=channel.metadata.get("description", ""),
                schema=_json_schema(schema),
            ),
        )
        return stream

    @staticmethod
    def _name(topic: str) -> str:
        """*topic*, if it may name a stream; else what is left of it, ``/a/b`` as ``a.b``."""
        if names.is_name(topic):
            return topic
        plain = UNNAMED.sub("_", topic.strip("/").replace("/", "."))
        plain = re.sub(r"\.{2,}", ".", plain).lstrip(".:@=-")[: names.MAX_NAME]
        if not names.is_name(plain):
            raise InvalidInput("A topic of the file cannot name a stream.")
        return plain


def _json_schema(schema: Schema | None) -> dict[str, Any] | None:
    if schema is None or schema.encoding != "jsonschema":
        return None
    try:
        found: Any = json.loads(schema.data)
    except (ValueError, RecursionError):
        return None
    return cast("dict[str, Any]", found) if isinstance(found, dict) else None
