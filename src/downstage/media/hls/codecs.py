"""PyAV's coders behind four functions, so that the rest is typed: its stubs leave packets open."""

from __future__ import annotations

from typing import Any, Literal, cast

from av import CodecContext, Packet
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.error import FFmpegError
from av.video.codeccontext import VideoCodecContext
from av.video.frame import VideoFrame

__all__ = [
    "FFmpegError",
    "audio_codec",
    "coded",
    "heard",
    "seen",
    "video_codec",
]


def video_codec(name: str, mode: Literal["r", "w"]) -> VideoCodecContext:
    """FFmpeg's coder or decoder of pictures called *name*."""
    return cast("VideoCodecContext", cast("Any", CodecContext).create(name, mode))


def audio_codec(name: str, mode: Literal["r", "w"]) -> AudioCodecContext:
    """FFmpeg's coder or decoder of sound called *name*."""
    return cast("AudioCodecContext", cast("Any", CodecContext).create(name, mode))


def coded(
    coder: VideoCodecContext | AudioCodecContext, frame: VideoFrame | AudioFrame
) -> list[tuple[bytes, bool]]:
    """Packets that *frame* makes, each with whether it is a key frame."""
    packets = cast("list[Any]", cast("Any", coder).encode(frame))
    return [(bytes(packet), bool(packet.is_keyframe)) for packet in packets]


def seen(decoder: VideoCodecContext, data: bytes) -> list[VideoFrame]:
    """Pictures in *data*.

    Raises:
        FFmpegError: there are none that could be read.
    """
    return cast("list[VideoFrame]", cast("Any", decoder).decode(Packet(data)))


def heard(decoder: AudioCodecContext, data: bytes) -> list[AudioFrame]:
    """Sound in *data*.

    Raises:
        FFmpegError: there is none that could be read.
    """
    return cast("list[AudioFrame]", cast("Any", decoder).decode(Packet(data)))
