"""Pictures into H.264: JPEG, PNG, WebP or raw pixels, a key frame at each segment.

x264 from PyAV's wheel (GPL-2+; see the media page of the docs), its cheapest preset: about 5 ms
for a 720p picture. Decoding and coding block; callers run them on a thread. A picture's size is
bounded before its pixels are unpacked.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
from av.video.codeccontext import VideoCodecContext
from av.video.frame import PictureType, VideoFrame

from downstage.kernel.errors import UnsupportedMedia
from downstage.media.hls.codecs import FFmpegError, coded, seen, video_codec
from downstage.media.hls.h264 import format_of, length_prefixed, split_units
from downstage.media.hls.samples import Picture, VideoFormat

__all__ = ["ImageCoder", "Raw", "StillCoder", "fitted", "image_kind", "raw_layout"]

US = 1_000_000
MAX_PIXELS = 7680 * 4320
MOST_SHOWN = (1920, 1080)
"""A larger picture is made smaller: x264 on a CPU, and players, take no more."""
SEGMENT_US = 2 * US
FIRST_US = 1 * US
SLACK_US = 20_000
"""A picture that comes a moment early still begins the segment."""
THREADS = 2
RATE_FACTOR = 24
MOST_KBPS = 6000

Raw = tuple[int, int, str]
"""Width, height and PyAV's pixel format of plain pixels."""

MAGIC = (
    (b"\xff\xd8\xff", "mjpeg"),
    (b"\x89PNG\r\n\x1a\n", "png"),
    (b"RIFF", "webp"),
)
LAYOUTS = {"rgb": "rgb24", "bgr": "bgr24", "rgba": "rgba", "bgra": "bgra", "gray": "gray"}
CHANNELS = {"rgb24": 3, "bgr24": 3, "rgba": 4, "bgra": 4, "gray": 1}


def image_kind(data: bytes) -> str | None:
    """The decoder for *data* by its first bytes; None where it is no picture known here."""
    for magic, name in MAGIC:
        if data.startswith(magic) and (name != "webp" or data[8:12] == b"WEBP"):
            return name
    return None


def raw_layout(parameters: dict[str, str]) -> Raw | None:
    """What ``image/raw; width=640; height=480; format=rgb`` says; None where it does not tell."""
    layout = LAYOUTS.get(parameters.get("format", "rgb").lower())
    width, height = parameters.get("width", ""), parameters.get("height", "")
    if layout is None or not (width.isdecimal() and height.isdecimal()):
        return None
    size = int(width), int(height)
    if not 0 < size[0] * size[1] <= MAX_PIXELS:
        return None
    return (*size, layout)


class ImageCoder:
    """Codes one stream's pictures.

    Args:
        raw: the layout of plain pixels, where the stream says so.
    """

    def __init__(self, raw: Raw | None = None) -> None:
        self._raw = raw
        self._decoders: dict[str, VideoCodecContext] = {}
        self._encoder: VideoCodecContext | None = None
        self._last: VideoFrame | None = None
        self._key_at: int | None = None
        self._keys = 0
        self._at_us = -1
        self.format: VideoFormat | None = None
        """How the last picture was coded."""

    @property
    def shown(self) -> bool:
        """Whether there is a picture that could be repeated."""
        return self._last is not None

    def begin_anew(self) -> None:
        """The next picture is a key frame."""
        self._key_at = None

    def push(self, data: bytes, at_us: int, wall_ms: int) -> list[Picture]:
        """Code the picture *data* of that instant; instants must grow.

        Raises:
            UnsupportedMedia: it is no picture that can be read here.
        """
        return self.show(self._decode(data), at_us, wall_ms)

    def show(self, frame: VideoFrame, at_us: int, wall_ms: int) -> list[Picture]:
        """The same of a picture that is unpacked."""
        width, height = fitted(frame.width, frame.height)
        self._last = frame.reformat(width, height, "yuv420p")
        if self._encoder is None or (self._encoder.width, self._encoder.height) != (width, height):
            self._encoder = _encoder(width, height)
            self._key_at = None
        return self._encode(at_us, wall_ms)

    def repeat(self, at_us: int, wall_ms: int) -> list[Picture]:
        """The last picture again: time goes on where nothing moves. Costs next to nothing."""
        return self._encode(at_us, wall_ms) if self._last is not None else []

    def _encode(self, at_us: int, wall_ms: int) -> list[Picture]:
        if self._encoder is None or self._last is None:
            return []
        self._at_us = at_us = max(at_us, self._at_us + 1000)
        frame = self._last
        frame.pts, frame.time_base = at_us, Fraction(1, US)
        key = self._wants_key(at_us)
        frame.pict_type = PictureType.I if key else PictureType.NONE
        packets = coded(self._encoder, frame)
        return [self._picture(data, at_us, wall_ms, key=key) for data, key in packets]

    def _wants_key(self, at_us: int) -> bool:
        span = FIRST_US if self._keys <= 1 else SEGMENT_US
        if self._key_at is not None and at_us - self._key_at < span - SLACK_US:
            return False
        self._key_at = at_us
        self._keys += 1
        return True

    def _picture(self, data: bytes, at_us: int, wall_ms: int, *, key: bool) -> Picture:
        units = split_units(data)
        if key:
            self.format = format_of(units) or self.format
        return Picture(length_prefixed(units), at_us, 0, key, wall_ms)

    def _decode(self, data: bytes) -> VideoFrame:
        if self._raw is not None:
            return _unpacked(data, self._raw)
        kind = image_kind(data)
        if kind is None:
            raise UnsupportedMedia("An entry is no JPEG, PNG or WebP picture.")
        decoder = self._decoders.get(kind)
        if decoder is None:
            decoder = self._decoders[kind] = _decoder(kind)
        try:
            frames = seen(decoder, data)
        except (FFmpegError, MemoryError) as error:
            del self._decoders[kind]
            raise UnsupportedMedia("An entry is a picture that cannot be read.") from error
        if not frames:
            raise UnsupportedMedia("An entry is a picture that cannot be read.")
        return frames[-1]


class StillCoder:
    """Codes pictures as JPEG, each on its own."""

    def __init__(self) -> None:
        self._coder: VideoCodecContext | None = None

    def code(self, frame: VideoFrame) -> bytes:
        """*frame* as a JPEG."""
        width, height = fitted(frame.width, frame.height)
        even = frame.reformat(width, height, "yuvj420p")
        coder = self._coder
        if coder is None or (coder.width, coder.height) != (width, height):
            coder = self._coder = video_codec("mjpeg", "w")
            coder.width, coder.height, coder.pix_fmt = width, height, "yuvj420p"
            coder.time_base = Fraction(1, US)
            coder.options = {"qmin": "3", "qmax": "5"}
            coder.thread_count = 1
        even.pts = None
        return b"".join(data for data, _ in coded(coder, even))


def fitted(width: int, height: int) -> tuple[int, int]:
    """The size a picture is coded in: within `MOST_SHOWN` (either way round), both even."""
    most = MOST_SHOWN if width >= height else MOST_SHOWN[::-1]
    scale = min(1.0, most[0] / width, most[1] / height)
    return max(2, int(width * scale) // 2 * 2), max(2, int(height * scale) // 2 * 2)


def _unpacked(data: bytes, raw: Raw) -> VideoFrame:
    width, height, layout = raw
    channels = CHANNELS[layout]
    if len(data) != width * height * channels:
        raise UnsupportedMedia("An entry has not as many bytes as its content type says.")
    shape = (height, width) if channels == 1 else (height, width, channels)
    return VideoFrame.from_ndarray(np.frombuffer(data, np.uint8).reshape(shape), layout)


def _decoder(kind: str) -> VideoCodecContext:
    decoder = video_codec(kind, "r")
    decoder.options = {"max_pixels": str(MAX_PIXELS)}
    decoder.thread_count = 1
    return decoder


def _encoder(width: int, height: int) -> VideoCodecContext:
    encoder = video_codec("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.time_base = Fraction(1, US)
    encoder.framerate = Fraction(30, 1)
    encoder.thread_count = THREADS
    encoder.gop_size = 100_000
    encoder.options = {
        "preset": "superfast",
        "tune": "zerolatency",
        "profile": "main",
        "crf": str(RATE_FACTOR),
        "maxrate": f"{MOST_KBPS}k",
        "bufsize": f"{MOST_KBPS}k",
        "forced-idr": "1",
        "x264-params": "scenecut=0:keyint=infinite:log-level=none",
    }
    encoder.open()
    return encoder
