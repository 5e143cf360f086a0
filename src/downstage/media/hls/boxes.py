"""Fragments of MP4 (ISO/IEC 14496-12, CMAF): one init segment, then a fragment for each part.

Written here because no muxer lets its caller say where a fragment ends at once: FFmpeg's keeps a
packet back until it has seen the next, which costs a part's latency, and cannot be flushed through
PyAV. All boxes are the few that a player needs.
"""

from __future__ import annotations

import struct
from collections.abc import Sequence
from dataclasses import dataclass

from downstage.media.hls.samples import VIDEO_RATE, AudioFormat, VideoFormat

__all__ = ["AUDIO_TRACK", "VIDEO_TRACK", "Run", "RunSample", "fragment", "init_segment"]

VIDEO_TRACK, AUDIO_TRACK = 1, 2
KEY, DELTA = 0x02000000, 0x01010000
"""Flags of a sample: depends on nothing; depends on others and is no place to begin."""

UNITY = struct.pack(">9I", 0x10000, 0, 0, 0, 0x10000, 0, 0, 0, 0x40000000)
MOVIE_RATE = 1000
UNDEFINED_LANGUAGE = 0x55C4
DURATION, SIZE, FLAGS, COMPOSITION, OFFSET = 0x100, 0x200, 0x400, 0x800, 1
BASE_IS_FRAGMENT = 0x020000


@dataclass(frozen=True, slots=True)
class RunSample:
    """One sample of a fragment; times in ticks of its track."""

    data: bytes
    duration: int
    shown_after: int = 0
    key: bool = True


@dataclass(frozen=True, slots=True)
class Run:
    """The samples of one track in a fragment."""

    track: int
    at: int
    """When the first is decoded, in ticks of the track."""
    samples: Sequence[RunSample]


def init_segment(video: VideoFormat, audio: AudioFormat | None) -> bytes:
    """``ftyp`` and ``moov``: what a player needs before the first fragment."""
    tracks = [_video_track(video)]
    extends = [_extends(VIDEO_TRACK)]
    if audio is not None:
        tracks.append(_audio_track(audio))
        extends.append(_extends(AUDIO_TRACK))
    movie = _box(b"moov", _movie_header(), *tracks, _box(b"mvex", *extends))
    return _box(b"ftyp", b"iso6", bytes(4), b"iso6cmfcmp41") + movie


def fragment(sequence: int, runs: Sequence[Run]) -> bytes:
    """``moof`` and ``mdat`` with all samples of *runs*."""
    # The offsets stand in the header and count its own length, which they do not change.
    empty = _fragment_header(sequence, runs, [0] * len(runs))
    offsets, at = list[int](), len(empty) + 8
    for run in runs:
        offsets.append(at)
        at += sum(len(sample.data) for sample in run.samples)
    payload = [sample.data for run in runs for sample in run.samples]
    return _fragment_header(sequence, runs, offsets) + _box(b"mdat", *payload)


def _fragment_header(sequence: int, runs: Sequence[Run], offsets: Sequence[int]) -> bytes:
    parts = [_full(b"mfhd", 0, 0, struct.pack(">I", sequence & 0xFFFFFFFF))]
    for run, offset in zip(runs, offsets, strict=True):
        head = _full(b"tfhd", 0, BASE_IS_FRAGMENT, struct.pack(">I", run.track))
        time = _full(b"tfdt", 1, 0, struct.pack(">Q", run.at))
        rows = b"".join(
            struct.pack(
                ">IIIi",
                sample.duration,
                len(sample.data),
                KEY if sample.key else DELTA,
                sample.shown_after,
            )
            for sample in run.samples
        )
        start = struct.pack(">Ii", len(run.samples), offset)
        flags = OFFSET | DURATION | SIZE | FLAGS | COMPOSITION
        parts.append(_box(b"traf", head, time, _full(b"trun", 1, flags, start, rows)))
    return _box(b"moof", *parts)


def _box(kind: bytes, *parts: bytes) -> bytes:
    return b"".join((struct.pack(">I", 8 + sum(map(len, parts))), kind, *parts))


def _full(kind: bytes, version: int, flags: int, *parts: bytes) -> bytes:
    return _box(kind, struct.pack(">I", version << 24 | flags), *parts)


def _movie_header() -> bytes:
    times = struct.pack(">IIII", 0, 0, MOVIE_RATE, 0)
    rest = struct.pack(">IHH8x", 0x10000, 0x0100, 0)
    return _full(b"mvhd", 0, 0, times, rest, UNITY, bytes(24), struct.pack(">I", 3))


def _extends(track: int) -> bytes:
    return _full(b"trex", 0, 0, struct.pack(">5I", track, 1, 0, 0, 0))


def _track(track: int, rate: int, handler: bytes, size: tuple[int, int], *media: bytes) -> bytes:
    loudness = 0x0100 if handler == b"soun" else 0
    header = _full(
        b"tkhd",
        0,
        7,
        struct.pack(">IIIII8xHHHH", 0, 0, track, 0, 0, 0, 0, loudness, 0),
        UNITY,
        struct.pack(">II", size[0] << 16, size[1] << 16),
    )
    about = _full(b"mdhd", 0, 0, struct.pack(">IIIIHH", 0, 0, rate, 0, UNDEFINED_LANGUAGE, 0))
    name = _full(b"hdlr", 0, 0, bytes(4), handler, bytes(12), b"downstage\0")
    return _box(b"trak", header, _box(b"mdia", about, name, _box(b"minf", *media)))


def _samples(description: bytes) -> bytes:
    return _box(
        b"stbl",
        _full(b"stsd", 0, 0, struct.pack(">I", 1), description),
        _full(b"stts", 0, 0, bytes(4)),
        _full(b"stsc", 0, 0, bytes(4)),
        _full(b"stsz", 0, 0, bytes(8)),
        _full(b"stco", 0, 0, bytes(4)),
    )


def _here() -> bytes:
    reference = _full(b"dref", 0, 0, struct.pack(">I", 1), _full(b"url ", 0, 1))
    return _box(b"dinf", reference)


def _video_track(video: VideoFormat) -> bytes:
    configuration = _box(
        b"avcC",
        b"\1" + video.sps[1:4] + b"\xff\xe1",
        struct.pack(">H", len(video.sps)),
        video.sps,
        b"\1",
        struct.pack(">H", len(video.pps)),
        video.pps,
    )
    description = _box(
        b"avc1",
        struct.pack(">6xH16xHH", 1, video.width, video.height),
        struct.pack(">IIIH32xHh", 0x480000, 0x480000, 0, 1, 24, -1),
        configuration,
    )
    size = (video.width, video.height)
    header = _full(b"vmhd", 0, 1, bytes(8))
    return _track(VIDEO_TRACK, VIDEO_RATE, b"vide", size, header, _here(), _samples(description))


def _audio_track(audio: AudioFormat) -> bytes:
    decoder = _descriptor(4, struct.pack(">BB3xII", 0x40, 0x15, 0, 0), _descriptor(5, audio.config))
    elementary = _descriptor(3, struct.pack(">HB", AUDIO_TRACK, 0), decoder, _descriptor(6, b"\2"))
    description = _box(
        b"mp4a",
        struct.pack(">6xH8xHH4xI", 1, audio.channels, 16, audio.rate << 16),
        _full(b"esds", 0, 0, elementary),
    )
    header = _full(b"smhd", 0, 0, bytes(4))
    return _track(AUDIO_TRACK, audio.rate, b"soun", (0, 0), header, _here(), _samples(description))


def _descriptor(tag: int, *parts: bytes) -> bytes:
    return b"".join((bytes((tag, sum(map(len, parts)))), *parts))
