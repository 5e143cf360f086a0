"""Chunks: the pieces of an MCAP file that are written, and kept or lost, as a whole.

The records themselves are those of the `mcap` library; only messages, of which there are many, are
framed here.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Final, Literal

import lz4.frame
import zstandard
from mcap.data_stream import RecordBuilder
from mcap.opcode import Opcode
from mcap.records import MessageIndex

from downstage.kernel.errors import Damaged

__all__ = [
    "HEAD",
    "Compression",
    "Message",
    "Packed",
    "Row",
    "index_records",
    "messages_in",
    "pack_chunk",
    "plain_data",
    "rows_of",
]

Compression = Literal["", "lz4", "zstd"]
Message = tuple[int, int, int, int, bytes]
"""Channel, log time, publish time, sequence, payload."""
Row = tuple[int, int]
"""Log time, and where in the chunk's plain data the message lies."""

HEAD: Final = struct.Struct("<BQHIQQ")
"""What stands before a payload: opcode, length, channel, sequence, log time, publish time."""
CHUNK: Final = struct.Struct("<BQQQQI")
RECORD: Final = struct.Struct("<BQ")
OF_MESSAGE: Final = HEAD.size - RECORD.size
ZSTD_LEVEL: Final = 1
"""Recording keeps up with the streams; a higher level saves a few percent."""


@dataclass(slots=True)
class Packed:
    """A chunk that is ready to be written, and what the index has to know of it."""

    record: bytes
    compression: Compression
    size: int
    """Bytes of the plain data."""
    stored: int
    """Bytes of the data as they lie in the file."""
    start: int = 0
    end: int = 0
    rows: dict[int, list[Row]] = field(default_factory=dict[int, list[Row]])
    """By channel."""


def pack_chunk(messages: Sequence[Message], compression: Compression) -> Packed:
    """Make a chunk of *messages*, which are in the order in which they are to lie."""
    parts: list[bytes] = []
    offset = 0
    for channel, log_time, publish_time, sequence, payload in messages:
        length = OF_MESSAGE + len(payload)
        parts.append(HEAD.pack(Opcode.MESSAGE, length, channel, sequence, log_time, publish_time))
        parts.append(payload)
        offset += RECORD.size + length
    plain = b"".join(parts)
    stored = _compress(plain, compression)
    word = compression.encode()
    start = min((message[1] for message in messages), default=0)
    end = max((message[1] for message in messages), default=0)
    length = CHUNK.size - RECORD.size + 4 + len(word) + 8 + len(stored)
    head = CHUNK.pack(Opcode.CHUNK, length, start, end, len(plain), zlib.crc32(plain))
    about = struct.pack(f"<I{len(word)}sQ", len(word), word, len(stored))
    record = b"".join((head, about, stored))
    return Packed(record, compression, len(plain), len(stored), start, end, _rows(messages))


def _rows(messages: Sequence[Message]) -> dict[int, list[Row]]:
    rows: dict[int, list[Row]] = {}
    offset = 0
    for channel, log_time, _, _, payload in messages:
        rows.setdefault(channel, []).append((log_time, offset))
        offset += HEAD.size + len(payload)
    return rows


def _compress(plain: bytes, compression: Compression) -> bytes:
    if compression == "zstd":
        return zstandard.ZstdCompressor(level=ZSTD_LEVEL).compress(plain)
    if compression == "lz4":
        return lz4.frame.compress(plain)
    return plain


def plain_data(compression: str, stored: bytes, size: int, crc: int | None) -> bytes:
    """The *size* bytes that were *stored*, checked against *crc* where there is one.

    Raises:
        Damaged: it is not what its record says.
    """
    try:
        if compression == "zstd":
            said = zstandard.get_frame_parameters(stored).content_size
            if said not in (size, zstandard.CONTENTSIZE_UNKNOWN):
                raise Damaged("A chunk of the recording has another size than it says.")
            # That bound counts where the frame says no size, and else the frame does.
            plain = zstandard.ZstdDecompressor().decompress(stored, max_output_size=size)
        elif compression == "lz4":
            plain = lz4.frame.LZ4FrameDecompressor().decompress(stored, size)
        elif not compression:
            plain = stored
        else:
            raise Damaged(f"A chunk is compressed as {compression!r}, which is not known.")
    except (zstandard.ZstdError, RuntimeError, MemoryError) as error:
        raise Damaged("A chunk of the recording cannot be unpacked.") from error
    if len(plain) != size or (crc and zlib.crc32(plain) != crc):
        raise Damaged("A chunk of the recording is not what was written.")
    return plain


def messages_in(plain: bytes) -> Iterator[tuple[int, Message]]:
    """Each message of a chunk, and where it lies; other records are passed over.

    Raises:
        Damaged: the records do not fill the chunk.
    """
    for opcode, start, stop in records_in(plain):
        if opcode == Opcode.MESSAGE and stop - start >= OF_MESSAGE:
            at = start - RECORD.size
            _, _, channel, sequence, log_time, publish_time = HEAD.unpack_from(plain, at)
            payload = plain[at + HEAD.size : stop]
            yield at, (channel, log_time, publish_time, sequence, payload)


def records_in(plain: bytes) -> Iterator[tuple[int, int, int]]:
    """Each record of a chunk: its opcode, where it begins behind its head, and where it ends.

    Raises:
        Damaged: the records do not fill the chunk.
    """
    at, end = 0, len(plain)
    while at < end:
        if end - at < RECORD.size:
            raise Damaged("A chunk of the recording ends within a record.")
        opcode, length = RECORD.unpack_from(plain, at)
        start, at = at + RECORD.size, at + RECORD.size + length
        if at > end:
            raise Damaged("A chunk of the recording ends within a record.")
        if not opcode:
            raise Damaged("A chunk of the recording holds what is no record.")
        yield opcode, start, at


def rows_of(record: bytes) -> list[Row]:
    """The rows of a message index record, without its head (opcode and length)."""
    (length,) = struct.unpack_from("<I", record, 2)
    return list(struct.iter_unpack("<QQ", record[6 : 6 + length]))


def index_records(rows: dict[int, list[Row]]) -> tuple[bytes, dict[int, int]]:
    """The message indexes that follow a chunk, and where in them each channel's begins."""
    builder = RecordBuilder()
    offsets: dict[int, int] = {}
    for channel, of_channel in rows.items():
        offsets[channel] = builder.count
        MessageIndex(channel_id=channel, records=of_channel).write(builder)
    return builder.end(), offsets
