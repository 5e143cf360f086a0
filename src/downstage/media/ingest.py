"""Coded pictures and sound out of a network address (RTMP, RTSP): read by FFmpeg on a thread.

H.264, AAC and Opus are passed on as they are; other pictures are decoded and coded anew, and so is
other sound. The thread is our own, not one of the loop's workers: it may wait in FFmpeg for as long
as the other side takes, and ends when its connection does.
"""

from __future__ import annotations

import logging
import re
import threading
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, Literal, cast

import av
from av import logging as av_logging
from av.audio.resampler import AudioResampler
from av.error import FFmpegError

from downstage.contracts.video import AAC, H264, OPUS, Unit
from downstage.kernel.errors import (
    BadMessage,
    Forbidden,
    PlatformError,
    UnsupportedMedia,
    Upstream,
)
from downstage.kernel.logging import get_logger
from downstage.media.hls.codecs import audio_codec, coded
from downstage.media.hls.h264 import SPS, split_units, units_of_config
from downstage.media.hls.images import ImageCoder, StillCoder

__all__ = ["Ingest", "IngestEvents", "Listener", "Wanted"]

log = get_logger(__name__)

US = Fraction(1_000_000)
OPEN_S, READ_S, LISTEN_S = 10.0, 20.0, 3600.0
FIRST_LOOK = {"analyzeduration": "700000"}
"""What FFmpeg reads before it says what is there: else seconds of a live source."""
ASKED_FOR = re.compile(r"Unexpected stream (\S{1,512}), expecting")
AVCC_HEAD = 5
START_CODE = b"\0\0\0\1"
IDR = 5
STEP_US, JUMP_US = 1000, 1_000_000
RATE = 48_000

Wanted = Literal["video", "images"]
"""Units of coded pictures and sound, or each picture as a JPEG."""


@dataclass(frozen=True, slots=True)
class IngestEvents:
    """What is told, on the reading thread."""

    started: Callable[[str, str | None], None]
    """It is open: content types of pictures, and of sound where there is some."""
    video: Callable[[bytes], None]
    """One entry of the pictures' stream."""
    audio: Callable[[bytes], None]
    """One entry of the sound's stream."""
    ended: Callable[[PlatformError | None], None]
    """Nothing follows, and why where that was no orderly end."""


class Ingest:
    """Reads one address, once.

    Args:
        url: as FFmpeg takes it; may hold a secret, so it is never logged and no error names it.
        options: of FFmpeg's reader.
        events: whom to tell.
        wanted: in which form pictures are wanted.
        max_fps: JPEG pictures a second, at most.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, str],
        events: IngestEvents,
        *,
        wanted: Wanted = "video",
        max_fps: float | None = None,
    ) -> None:
        self._url, self._options, self._events = url, dict(options), events
        self._wanted, self._max_fps = wanted, max_fps
        self._stopped = threading.Event()

    def start(self, name: str) -> None:
        """Begin, on a thread called *name*; `IngestEvents.ended` is called in any case."""
        threading.Thread(target=self._run, name=name, daemon=True).start()

    def stop(self) -> None:
        """End with the next packet; closing the connection makes that soon."""
        self._stopped.set()

    def _run(self) -> None:
        error: PlatformError | None = None
        try:
            self._read()
        except PlatformError as refused:
            error = refused
        except (FFmpegError, OSError) as failed:
            error = Upstream(f"The source cannot be read: {_reason(failed)}.")
        except Exception:  # the edge of a thread: whoever waits for the end is told
            log.exception("ingest.crashed")
            error = PlatformError("An error of ours; the log has it.")
        self._events.ended(error)

    def _open(self) -> Any:
        options = {**FIRST_LOOK, **self._options}
        return av.open(self._url, options=options, timeout=(OPEN_S, READ_S))

    def _read(self) -> None:
        with self._open() as container:
            pictures = next(iter(container.streams.video), None)
            sounds = next(iter(container.streams.audio), None)
            if pictures is None:
                raise UnsupportedMedia("The source has no pictures.")
            video = self._video_track(pictures)
            audio = None if sounds is None or self._wanted == "images" else _audio_track(sounds)
            self._events.started(video.content_type, audio.content_type if audio else None)
            packets = container.demux([pictures, sounds] if audio else [pictures])
            self._pass_on(packets, pictures, video, audio)

    def _pass_on(
        self, packets: Iterable[Any], pictures: Any, video: _Track, audio: _Track | None
    ) -> None:
        try:
            for packet in packets:
                if self._stopped.is_set():
                    return
                if packet.size and packet.stream is pictures:
                    for entry in video.entries(packet):
                        self._events.video(entry)
                elif packet.size and audio is not None:
                    for entry in audio.entries(packet):
                        self._events.audio(entry)
        except (FFmpegError, OSError) as error:
            # A publisher that hangs up looks like that: it is the end, and no fault.
            log.debug("ingest.broke_off", why=_reason(error))

    def _video_track(self, stream: Any) -> _Track:
        if self._wanted == "images":
            return _Stills(stream, self._max_fps)
        if stream.codec_context.name == "h264":
            return _PassedVideo(stream)
        return _CodedVideo(stream)


class Listener(Ingest):
    """The same of the first RTMP publisher who comes to an address of ours, one at a time.

    FFmpeg tells the name that the publisher asked for in its log alone, so it is read there.

    Args:
        url: where to listen, ``rtmp://127.0.0.1:1935/live/-``.
        options, events: as of `Ingest`.
        admit: called with the publisher's name and its query, ``cam?key=…``; False refuses it.
    """

    def __init__(
        self,
        url: str,
        options: Mapping[str, str],
        events: IngestEvents,
        admit: Callable[[str], bool],
    ) -> None:
        super().__init__(url, {**options, "listen": "1"}, events)
        self._admit = admit

    def _open(self) -> Any:
        _keep_ffmpeg_quiet()
        options = {**FIRST_LOOK, **self._options}
        with av_logging.Capture(local=True) as lines:
            container: Any = av.open(self._url, options=options, timeout=(LISTEN_S, READ_S))
            said = "".join(line for _, _, line in lines)
        # It may say again what it said last, of the publisher before.
        found = ASKED_FOR.findall(said)
        if not found or not self._admit(found[-1]):
            container.close()
            raise Forbidden("The publisher's key does not count.")
        return container


def _keep_ffmpeg_quiet() -> None:
    """Let FFmpeg say warnings, for `Listener`, and nobody print them: they repeat keys."""
    logging.getLogger("libav").propagate = False
    logging.getLogger("libav").addHandler(logging.NullHandler())
    av_logging.set_skip_repeated(False)
    av_logging.set_level(av_logging.WARNING)


class _Track:
    """One stream of the source as entries."""

    content_type = ""

    def __init__(self, stream: Any) -> None:
        self._base: Fraction = stream.time_base
        self._sequence = 0
        self._at_us = 0

    def entries(self, packet: Any) -> list[bytes]:
        """What *packet* brings."""
        raise NotImplementedError

    def _time(self, packet: Any) -> tuple[int, int]:
        """When it is decoded, later than what came before, and by how much later it is shown."""
        scale = self._base * US
        pts = None if packet.pts is None else int(packet.pts * scale)
        if packet.dts is not None:
            at_us = int(packet.dts * scale)
        elif pts is not None and not self._sequence:
            at_us = pts
        else:  # a source that reorders and does not say when: right behind the one before
            at_us = self._at_us + STEP_US
        if self._sequence and -JUMP_US < at_us - self._at_us <= 0:
            at_us = self._at_us + STEP_US
        return at_us, max(0, pts - at_us) if pts is not None else 0

    def _unit(self, data: bytes, at_us: int, after_us: int = 0, *, key: bool = True) -> bytes:
        first = self._sequence == 0
        self._at_us = at_us
        entry = Unit(data, at_us, self._sequence, key, first, after_us).pack()
        self._sequence += 1
        return entry


class _PassedVideo(_Track):
    """H.264 as it comes, in Annex B, parameter sets with each key frame."""

    content_type = H264

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        config = bytes(stream.codec_context.extradata or b"")
        self._length = (
            (config[4] & 3) + 1 if config[:1] == b"\1" and len(config) >= AVCC_HEAD else 0
        )
        self._sets = units_of_config(config) if config else []

    def entries(self, packet: Any) -> list[bytes]:
        data = bytes(packet)
        try:
            units = _split(data, self._length) if self._length else split_units(data)
        except BadMessage:
            return []
        kinds = {unit[0] & 31 for unit in units}
        key = IDR in kinds or (packet.is_keyframe and bool(kinds))
        if key and SPS not in kinds:
            units = [*self._sets, *units]
        at_us, after_us = self._time(packet)
        body = b"".join(START_CODE + unit for unit in units)
        return [self._unit(body, at_us, after_us, key=key)] if body else []


class _CodedVideo(_Track):
    """Other pictures, decoded and coded anew."""

    content_type = H264

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._coder = ImageCoder()

    def entries(self, packet: Any) -> list[bytes]:
        found = list[bytes]()
        for frame in _decoded(packet):
            at_us, _ = self._time(frame)
            for picture in self._coder.show(frame, at_us, 0):
                data = _with_start_codes(picture.data)
                found.append(self._unit(data, picture.at_us, key=picture.key))
        return found


class _Stills(_Track):
    """Each picture as a JPEG."""

    content_type = "image/jpeg"

    def __init__(self, stream: Any, max_fps: float | None) -> None:
        super().__init__(stream)
        self._coder = StillCoder()
        self._step_us = int(1_000_000 / max_fps) if max_fps else 0
        self._next_us: int | None = None

    def entries(self, packet: Any) -> list[bytes]:
        found = list[bytes]()
        for frame in _decoded(packet):
            at_us, _ = self._time(frame)
            self._at_us = at_us
            if self._next_us is not None and self._next_us - self._step_us <= at_us < self._next_us:
                continue
            self._next_us = at_us + self._step_us
            found.append(self._coder.code(frame))
        return found


class _PassedSound(_Track):
    """AAC with ADTS headers, or Opus, as it comes."""

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._aac = stream.codec_context.name == "aac"
        self.content_type = AAC if self._aac else OPUS
        self._config = bytes(stream.codec_context.extradata or b"")

    def entries(self, packet: Any) -> list[bytes]:
        data = bytes(packet)
        if self._aac and data[:1] != b"\xff":
            if len(self._config) < 2:  # noqa: PLR2004 - an AudioSpecificConfig's first bytes
                return []
            data = _adts(self._config, len(data)) + data
        return [self._unit(data, self._time(packet)[0])]


class _CodedSound(_Track):
    """Other sound, coded as Opus."""

    content_type = OPUS

    def __init__(self, stream: Any) -> None:
        super().__init__(stream)
        self._resampler = AudioResampler("s16", "stereo", RATE, RATE // 50)
        self._coder = audio_codec("libopus", "w")
        self._coder.sample_rate, self._coder.layout, self._coder.format = RATE, "stereo", "s16"

    def entries(self, packet: Any) -> list[bytes]:
        at_us, _ = self._time(packet)
        found = list[bytes]()
        for frame in _decoded(packet):
            for even in self._resampler.resample(frame):
                for data, _ in coded(self._coder, even):
                    found.append(self._unit(data, at_us))
                    at_us += 20_000
        return found


def _audio_track(stream: Any) -> _Track:
    return (_PassedSound if stream.codec_context.name in ("aac", "opus") else _CodedSound)(stream)


def _decoded(packet: Any) -> list[Any]:
    try:
        return cast("list[Any]", packet.decode())
    except FFmpegError:
        return []  # a damaged picture: the next key frame mends it


def _split(data: bytes, length: int) -> list[bytes]:
    units, at = list[bytes](), 0
    while at + length <= len(data):
        size = int.from_bytes(data[at : at + length], "big")
        at += length
        if size > len(data) - at:
            raise BadMessage("A unit is longer than its packet.")
        if size:
            units.append(data[at : at + size])
        at += size
    return units


def _with_start_codes(data: bytes) -> bytes:
    return b"".join(START_CODE + unit for unit in _split(data, 4))


def _adts(config: bytes, size: int) -> bytes:
    """The header that says in each frame what an AudioSpecificConfig says once."""
    kind = max((config[0] >> 3) - 1, 0) & 3
    rate = (config[0] & 7) << 1 | config[1] >> 7
    channels = config[1] >> 3 & 15
    length = size + 7
    return bytes(
        (
            0xFF,
            0xF1,
            kind << 6 | rate << 2 | channels >> 2,
            (channels & 3) << 6 | length >> 11,
            length >> 3 & 0xFF,
            (length & 7) << 5 | 0x1F,
            0xFC,
        )
    )


def _reason(error: OSError | FFmpegError) -> str:
    """What FFmpeg says, without the address that it repeats."""
    text = getattr(error, "strerror", None) or type(error).__name__
    return str(text)[:120]
