"""What a recording's file holds: its channels, chunks and counts; and the end that says so.

The writer keeps one while it writes, repair makes one of what it finds, and readers look things up
in one: it is the file's index.
"""

from __future__ import annotations

import json
import zlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Final, cast

from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import (
    Channel,
    ChunkIndex,
    DataEnd,
    Footer,
    MetadataIndex,
    Schema,
    Statistics,
    SummaryOffset,
)

from downstage.kernel.errors import QuotaReached
from downstage.streams.model import EntryId
from downstage.streams.recordings.chunks import Message, Packed
from downstage.streams.recordings.ids import Form, unpack

__all__ = ["MAGIC", "Facts", "Ledger", "Place", "encode"]

MAGIC: Final = bytes((0x89, 0x4D, 0x43, 0x41, 0x50, 0x30, 0x0D, 0x0A))
MOST_CHANNELS: Final = 0xFFFF
JSON_ENCODING: Final = "json"
JSON_TYPE: Final = "application/json"


@dataclass(slots=True)
class Facts:
    """What a recording holds of one stream."""

    count: int = 0
    bytes: int = 0
    chunks: int = 0
    first: EntryId | None = None
    last: EntryId | None = None
    content_type: str | None = None


@dataclass(frozen=True, slots=True)
class Place:
    """A chunk, and in which of its channels a stream's entries lie."""

    chunk: ChunkIndex
    channels: tuple[int, ...]


@dataclass(slots=True)
class Ledger:
    """Grows chunk by chunk; what is in it never changes, so others may read while it grows."""

    channels: dict[int, Channel] = field(default_factory=dict[int, Channel])
    schemas: dict[int, Schema] = field(default_factory=dict[int, Schema])
    chunks: list[ChunkIndex] = field(default_factory=list[ChunkIndex])
    counts: dict[int, int] = field(default_factory=dict[int, int])
    notes: list[MetadataIndex] = field(default_factory=list[MetadataIndex])
    facts: dict[str, Facts] = field(default_factory=dict[str, Facts])
    places: dict[str, list[Place]] = field(default_factory=dict[str, list[Place]])
    start: int | None = None
    end: int = 0

    def add_schema(self, name: str, schema: Mapping[str, Any]) -> Schema:
        """A schema record for JSON Schema *schema*."""
        data = json.dumps(schema, sort_keys=True).encode()
        made = Schema(id=len(self.schemas) + 1, data=data, encoding="jsonschema", name=name)
        self.schemas[made.id] = made
        return made

    def add_channel(
        self, stream: str, form: Form, content_type: str | None, schema_id: int, about: str = ""
    ) -> Channel:
        """A channel record for a stream.

        Raises:
            QuotaReached: a file holds no more of them.
        """
        if len(self.channels) >= MOST_CHANNELS:
            raise QuotaReached(f"A recording holds at most {MOST_CHANNELS} channels.")
        given = {"content_type": content_type or "", "description": about, "ids": form}
        made = Channel(
            id=len(self.channels) + 1,
            topic=stream,
            message_encoding=JSON_ENCODING if content_type == JSON_TYPE else content_type or "",
            metadata={name: value for name, value in given.items() if value},
            schema_id=schema_id,
        )
        self.know_channel(made)
        return made

    def know_channel(self, channel: Channel) -> None:
        """Take a channel that is in the file."""
        self.channels[channel.id] = channel
        self.counts.setdefault(channel.id, 0)
        facts = self.facts.setdefault(channel.topic, Facts())
        facts.content_type = facts.content_type or channel.metadata.get("content_type")

    def form(self, channel: int) -> Form:
        """How ids lie in the messages of *channel*."""
        return cast("Form", self.channels[channel].metadata.get("ids", ""))

    def know_chunk(self, index: ChunkIndex) -> None:
        """Take a chunk of a file whose index is read."""
        self.chunks.append(index)
        by_stream: dict[str, list[int]] = {}
        for channel in index.message_index_offsets:
            by_stream.setdefault(self.channels[channel].topic, []).append(channel)
        for stream, channels in by_stream.items():
            self.places.setdefault(stream, []).append(Place(index, tuple(channels)))
            self.facts[stream].chunks += 1

    def add_chunk(
        self,
        offset: int,
        packed: Packed,
        messages: Iterable[Message],
        index_offsets: Mapping[int, int],
        index_length: int,
    ) -> None:
        """Take a chunk that lies at *offset*, followed by its message indexes."""
        following = offset + len(packed.record)
        for channel, rows in packed.rows.items():
            self.counts[channel] = self.counts.get(channel, 0) + len(rows)
        self._count(messages)
        if packed.rows:
            self.start = packed.start if self.start is None else min(self.start, packed.start)
            self.end = max(self.end, packed.end)
        self.know_chunk(
            ChunkIndex(
                chunk_length=len(packed.record),
                chunk_start_offset=offset,
                compression=packed.compression,
                compressed_size=packed.stored,
                message_end_time=packed.end,
                message_index_length=index_length,
                message_index_offsets={n: following + at for n, at in index_offsets.items()},
                message_start_time=packed.start,
                uncompressed_size=packed.size,
            )
        )

    def _count(self, messages: Iterable[Message]) -> None:
        for channel, log_time, publish_time, sequence, payload in messages:
            facts = self.facts[self.channels[channel].topic]
            entry = unpack(self.form(channel), log_time, publish_time, sequence)
            facts.count += 1
            facts.bytes += len(payload)
            facts.first = entry if facts.first is None else min(facts.first, entry)
            facts.last = entry if facts.last is None else max(facts.last, entry)

    def tail(self, at: int) -> bytes:
        """What ends the file: the end of its data, at *at*, the summary, the footer."""
        data_end = RecordBuilder()
        DataEnd(data_section_crc=0).write(data_end)
        before = data_end.end()
        start = at + len(before)
        summary = RecordBuilder()
        groups = self._groups(summary, start)
        offsets = start + summary.count
        for group in groups:
            group.write(summary)
        body = summary.end()
        footer = RecordBuilder()
        Footer(start, offsets, 0).write(footer)
        unsigned = footer.end()[:-4]  # the checksum is of all that stands before it
        crc = zlib.crc32(unsigned, zlib.crc32(body))
        return b"".join((before, body, unsigned, crc.to_bytes(4, "little"), MAGIC))

    def _groups(self, summary: RecordBuilder, start: int) -> list[SummaryOffset]:
        made: list[SummaryOffset] = []
        kinds = (
            (Opcode.SCHEMA, self.schemas.values()),
            (Opcode.CHANNEL, self.channels.values()),
            (Opcode.STATISTICS, (self.statistics(),)),
            (Opcode.CHUNK_INDEX, self.chunks),
            (Opcode.METADATA_INDEX, self.notes),
        )
        for opcode, records in kinds:
            begun = summary.count
            for record in records:
                record.write(summary)
            if summary.count > begun:
                made.append(SummaryOffset(opcode, start + begun, summary.count - begun))
        return made

    def statistics(self) -> Statistics:
        """Counts of the whole file."""
        return Statistics(
            attachment_count=0,
            channel_count=len(self.channels),
            channel_message_counts=dict(self.counts),
            chunk_count=len(self.chunks),
            message_count=sum(self.counts.values()),
            message_end_time=self.end,
            message_start_time=self.start or 0,
            metadata_count=len(self.notes),
            schema_count=len(self.schemas),
        )


def encode(record: Channel | Schema) -> bytes:
    """The bytes of one record."""
    builder = RecordBuilder()
    record.write(builder)
    return builder.end()
