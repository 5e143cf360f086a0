"""What is cut into segments: coded pictures and sound on one clock, and how they are coded."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["VIDEO_RATE", "AudioFormat", "Picture", "Sound", "VideoFormat"]

VIDEO_RATE = 90_000
"""Ticks a second of the video track."""


@dataclass(frozen=True, slots=True)
class VideoFormat:
    """An H.264 stream as its parameter sets tell it."""

    width: int
    height: int
    sps: bytes
    pps: bytes

    @property
    def shape(self) -> tuple[int, int, bytes]:
        """What a decoder is made for: the size, and profile and level."""
        return self.width, self.height, self.sps[1:4]


@dataclass(frozen=True, slots=True)
class AudioFormat:
    """An AAC stream."""

    rate: int
    channels: int
    config: bytes
    """AudioSpecificConfig."""


@dataclass(frozen=True, slots=True)
class Picture:
    """One coded picture, its units prefixed by their length."""

    data: bytes
    at_us: int
    """When it is decoded, on the stream's clock."""
    shown_after_us: int
    """How much later it is shown: above 0 where pictures are coded out of order."""
    key: bool
    wall_ms: int
    """Milliseconds since 1970 at which it was taken, as the entry's id says."""


@dataclass(frozen=True, slots=True)
class Sound:
    """One AAC frame of 1024 samples."""

    data: bytes
    at: int
    """Samples since the clock's zero."""
