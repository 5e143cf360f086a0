"""Recordings of streams, and replays of them, as our own API tells them.

Times are milliseconds since 1970; ids are ``ms-seq``. Entries come as bytes with the header
``x-offsets``: ``[[stream, id, start], …]``, each entry ends where the next one starts.

========  ==============================================  =======================================
verb      path                                            body → answer
========  ==============================================  =======================================
GET       /v1/recordings                                  → RecordingList
POST      /v1/recordings                                  RecordingRequest → RecordingView 201
GET       /v1/recordings/{name}                           → RecordingView
PATCH     /v1/recordings/{name}                           RecordingPatch → RecordingView
DELETE    /v1/recordings/{name}                           → 204
POST      /v1/recordings/{name}/stop                      → RecordingView, its file closed
GET       /v1/recordings/{name}/entries                   → bytes; at a time, or between two ids
GET       /v1/recordings/{name}/ticks                     → TicksView, for a bar to scrub on
GET       /v1/recordings/{name}/file                      → the MCAP file (Range)
GET       /v1/recordings/{name}/files                     → FileNames
GET       /v1/recordings/{name}/files/{file}              → one of them (Range)
GET       /v1/recordings/{name}/export                    → a zip of the data server's layout
POST      /v1/recordings-imports                          a zip or an MCAP file → RecordingView 201
POST      /v1/recordings/{name}/links                     LinkBody → LinkView
POST      /v1/recordings/{name}/replays                   ReplayRequest → ReplayView 201
GET       /v1/recordings/{name}/replays                   → ReplayList
GET       /v1/recordings/{name}/replays/{id}              → ReplayView
PATCH     /v1/recordings/{name}/replays/{id}              ReplayPatch → ReplayView
DELETE    /v1/recordings/{name}/replays/{id}              → 204
GET       /v1/recordings/{name}/replays/{id}/events       → server-sent ``progress``: ReplayView
========  ==============================================  =======================================
"""

from __future__ import annotations

from typing import Literal

from pydantic import Field

from downstage.contracts.wire import Answer, Request

__all__ = [
    "FileNames",
    "LinkBody",
    "LinkView",
    "RecordedStream",
    "RecordingList",
    "RecordingPatch",
    "RecordingRequest",
    "RecordingView",
    "ReplayList",
    "ReplayPatch",
    "ReplayRequest",
    "ReplayView",
    "TicksView",
]

MOST_MS = 2**53
NAME = 128
MOST_STREAMS = 1024
FILE = 512

RecordingWord = Literal["recording", "stopping", "stored", "failed", "recovered"]
"""`failed` and `recovered` ones are readable too; `reason` says why they ended."""
ReplayWord = Literal["playing", "paused", "live", "ended", "stopped", "failed"]


class RecordingRequest(Request):
    """Begin to record."""

    name: str | None = Field(default=None, max_length=NAME)
    """Absent: date and time."""
    streams: list[str] = Field(default=["*"], min_length=1, max_length=256)
    """Names and patterns; streams that are made later join by their pattern."""


class RecordingPatch(Request):
    """What is to change of a recording."""

    name: str | None = Field(default=None, max_length=NAME)
    """A new name."""
    hidden: bool | None = None
    """Whether listings leave it out."""


class RecordedStream(Answer):
    """What a recording holds of one stream."""

    name: str
    content_type: str | None
    entries: int
    bytes: int
    """Of all payloads."""
    chunks: int
    first_id: str | None
    last_id: str | None


class RecordingView(Answer):
    """A recording as it stands."""

    name: str
    state: RecordingWord
    reason: str
    """Why it failed: ``out-of-space``, ``shutdown``, …; else empty."""
    owner: str
    """Who started it."""
    patterns: list[str]
    """What was asked for."""
    started_at: int
    ended_at: int | None
    first_id: str | None
    last_id: str | None
    duration_s: float
    """Between the first and the last entry."""
    size: int
    """Bytes of its file."""
    hidden: bool
    imported: bool
    gaps: int
    """Times that entries were gone before they could be recorded; where is in the file."""
    stored_in: Literal["local", "content"]
    """``content``: the content service has it, too."""
    content_path: str
    """There; empty: it does not."""
    streams: list[RecordedStream]
    """Those that the caller may read."""


class RecordingList(Answer):
    """The oldest first."""

    items: list[RecordingView]


class TicksView(Answer):
    """How many entries lie in equal pieces of time, for each stream."""

    start_ms: int
    stop_ms: int
    counts: dict[str, list[int]]


class FileNames(Answer):
    """Files of a recording: uploaded ones, and those that can be made of it."""

    items: list[str]


class LinkBody(Request):
    """Ask for a link to one file of a recording."""

    file: str = Field(min_length=1, max_length=FILE)
    lifetime_s: float | None = Field(default=None, gt=0, le=86400)
    """Absent: an hour."""


class LinkView(Answer):
    """Opens one file for whoever has it, until it expires (seconds since 1970)."""

    url: str
    expires_at: int


class ReplayRequest(Request):
    """Replay a recording into streams."""

    streams: list[str] | None = Field(default=None, min_length=1, max_length=MOST_STREAMS)
    """Absent: all that the caller may read."""
    prefix: str = Field(default="", max_length=NAME)
    """Put before the name of each stream."""
    speed: float = Field(default=1.0, ge=0, le=1000)
    """Times the recorded speed; 0: as fast as it goes."""
    start_ms: int = Field(default=0, ge=0, le=MOST_MS)
    """Where to begin, from the first entry of the recording."""
    stop_ms: int | None = Field(default=None, ge=0, le=MOST_MS)
    loop: bool = False
    original_ids: bool = False
    """Push with the recorded ids, and so with their times."""
    live: bool = False
    """At its end, go on with what comes into the recorded streams."""
    paused: bool = False
    """Begin paused."""


class ReplayPatch(Request):
    """Steer a replay."""

    speed: float | None = Field(default=None, ge=0, le=1000)
    paused: bool | None = None
    position_ms: int | None = Field(default=None, ge=0, le=MOST_MS)
    """Go on from there, counted from the first entry."""


class ReplayView(Answer):
    """A replay as it stands."""

    id: str
    recording: str
    state: ReplayWord
    reason: str
    """Why it failed."""
    position_ms: int
    duration_ms: int
    speed: float
    rounds: int
    """Times that it began again."""
    counts: dict[str, int]
    """Entries that were pushed, by recorded stream."""
    current: dict[str, str]
    """The recorded id of the last of them."""
    active: list[str]
    """Streams of which something is still to come."""


class ReplayList(Answer):
    """The oldest first."""

    items: list[ReplayView]
