"""Encoded pictures and sound as entries of streams.

``session.<id>.video`` and ``session.<id>.audio`` (a session's own), ``<name>.video`` and
``<name>.audio`` (of an RTMP publisher or a camera that is pulled). Every entry is `ENTRY_HEADER`,
then one coded unit:

============================  ====================================================================
content type                  after the header
============================  ====================================================================
``video/h264; framing=1``     one picture in Annex B; a key frame brings its parameter sets
``audio/opus; framing=1``     one Opus packet, 48 kHz
``audio/aac; framing=1``      one AAC frame with its ADTS header
============================  ====================================================================

Both streams of one source share a clock, which is the source's own: only differences mean
something. The entry's id says when it was stored.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass

__all__ = [
    "AAC",
    "END",
    "ENTRY_HEADER",
    "H264",
    "KEY",
    "OPUS",
    "RESTART",
    "VERSION",
    "Unit",
    "audio_stream",
    "session_of",
    "session_stream",
    "video_stream",
]

ENTRY_HEADER = struct.Struct("<BBHIqi")
"""Version, flags, 0, sequence, µs at which it is decoded, µs by which it is shown later: 20 bytes,
little endian. The sequence grows by one; a hole means that units were lost."""

VERSION = 1
KEY, RESTART, END = 1, 2, 4
"""Flags: decodes on its own; the clock and the sequence begin anew; nothing follows, and this entry
holds nothing."""

H264 = "video/h264; framing=1"
OPUS = "audio/opus; framing=1"
AAC = "audio/aac; framing=1"

PREFIX = "session."


@dataclass(frozen=True, slots=True)
class Unit:
    """One coded picture, or one packet of sound."""

    data: bytes
    at_us: int
    sequence: int
    key: bool = True
    restart: bool = False
    shown_after_us: int = 0
    end: bool = False

    def pack(self) -> bytes:
        """As an entry."""
        flags = KEY * self.key | RESTART * self.restart | END * self.end
        sequence = self.sequence & 0xFFFFFFFF
        head = ENTRY_HEADER.pack(VERSION, flags, 0, sequence, self.at_us, self.shown_after_us)
        return head + self.data

    @classmethod
    def unpack(cls, entry: bytes) -> Unit | None:
        """Read an entry; None where it is none of these."""
        if len(entry) < ENTRY_HEADER.size or entry[0] != VERSION:
            return None
        _, flags, _, sequence, at_us, after_us = ENTRY_HEADER.unpack_from(entry)
        data, end = entry[ENTRY_HEADER.size :], bool(flags & END)
        if not data and not end:
            return None
        return cls(data, at_us, sequence, bool(flags & KEY), bool(flags & RESTART), after_us, end)


def video_stream(name: str) -> str:
    """The pictures of the source *name*."""
    return f"{name}.video"


def audio_stream(name: str) -> str:
    """The sound of the source *name*."""
    return f"{name}.audio"


def session_stream(session_id: str) -> str:
    """The source's name that a session has."""
    return PREFIX + session_id


def session_of(name: str) -> str | None:
    """The session that ``session.<id>`` (or a stream of it) belongs to; None for other names."""
    if not name.startswith(PREFIX):
        return None
    return name.removeprefix(PREFIX).partition(".")[0] or None
