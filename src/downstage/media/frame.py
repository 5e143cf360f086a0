"""What sources hand to transports: one encoded picture, one packet of sound, one cursor."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

__all__ = ["AudioPacket", "Codec", "Cursor", "EncodedFrame", "Size"]

Codec = Literal["h264", "vp8"]


@dataclass(frozen=True, slots=True)
class Size:
    """Width and height in pixels."""

    width: int
    height: int

    def __str__(self) -> str:
        return f"{self.width}x{self.height}"


@dataclass(frozen=True, slots=True)
class EncodedFrame:
    """One whole picture as the encoder gave it; `data` is the encoder's own memory."""

    data: memoryview
    codec: Codec
    key: bool
    """Decodes on its own."""
    frame_id: int
    reference_id: int | None
    """Id of the frame it predicts from; None for a key frame or an encoder that does not tell."""
    tracked: bool
    """The encoder tells references, so that `reference_id` may be relied upon."""
    capture_ns: int
    encode_start_ns: int
    encode_end_ns: int
    picture: Size

    @property
    def size(self) -> int:
        """Bytes of the encoded picture."""
        return self.data.nbytes


@dataclass(frozen=True, slots=True)
class AudioPacket:
    """One Opus packet of 20 ms, stereo, 48 kHz."""

    data: bytes
    pts: int
    """Samples at 48 kHz since the capture began."""
    captured_ns: int


@dataclass(frozen=True, slots=True)
class Cursor:
    """The pointer's picture: hidden, the default one, or a PNG with its hot spot."""

    png: bytes | None
    hidden: bool = False
    x: int = 0
    y: int = 0
