"""What a peer connection is fed with: frames and packets that are encoded already."""

from __future__ import annotations

import asyncio
import fractions

from selkies.webrtc import MediaStreamTrack
from selkies.webrtc.codecs.base import EncodedPacket

from downstage.media.frame import AudioPacket, Codec
from downstage.media.transport.gate import FrameGate

__all__ = ["MIME", "AudioTrack", "VideoTrack"]

MIME: dict[Codec, str] = {"h264": "video/H264", "vp8": "video/VP8"}
_VIDEO_CLOCK = fractions.Fraction(1, 90_000)
_AUDIO_CLOCK = fractions.Fraction(1, 48_000)
_AUDIO_DEPTH = 8


class VideoTrack(MediaStreamTrack):
    """Pictures, as the gate lets them through."""

    kind = "video"

    def __init__(self, gate: FrameGate) -> None:
        super().__init__()
        self._gate = gate

    async def recv(self) -> EncodedPacket:
        """The next picture."""
        frame = await self._gate.get()
        reference = None if frame.key else frame.reference_id
        return EncodedPacket(
            frame.data,
            frame.capture_ns * 90 // 1_000_000,
            _VIDEO_CLOCK,
            frame.key,
            (frame.capture_ns, frame.encode_start_ns, frame.encode_end_ns),
            (frame.frame_id, reference) if frame.tracked else None,
            MIME[frame.codec],
        )


class AudioTrack(MediaStreamTrack):
    """Sound; where it is not fetched in time, the oldest gives way."""

    kind = "audio"

    def __init__(self) -> None:
        super().__init__()
        self._queue: asyncio.Queue[AudioPacket] = asyncio.Queue(_AUDIO_DEPTH)

    def put(self, packet: AudioPacket) -> None:
        """Queue a packet."""
        if self._queue.full():
            self._queue.get_nowait()
        self._queue.put_nowait(packet)

    async def recv(self) -> EncodedPacket:
        """The next packet."""
        packet = await self._queue.get()
        return EncodedPacket(packet.data, packet.pts, _AUDIO_CLOCK)
