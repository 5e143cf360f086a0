"""Sound for segments: Opus or AAC in, AAC without holes out.

Players stall where sound ends before the picture, and our own source sends nothing in silence, so
holes are filled. AAC plays everywhere H.264 does, Opus in MP4 does not. Coding takes about a
hundredth of a core; callers run it on a thread.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
from av.audio.codeccontext import AudioCodecContext
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler

from downstage.media.hls.codecs import FFmpegError, audio_codec, coded, heard
from downstage.media.hls.samples import AudioFormat, Sound

__all__ = ["SoundCodec", "SoundCoder"]

SoundCodec = Literal["opus", "aac"]

RATE, CHANNELS, FRAME = 48_000, 2, 1024
BITRATE = 128_000
US = 1_000_000
JITTER = RATE // 20
"""Samples by which a packet may be late or early before the timeline follows it."""
LONGEST_FILL = RATE * 10
SPARE = RATE * 3 // 10
"""Samples that may be on their way while pictures are here already."""


class SoundCoder:
    """Turns one source's packets into AAC frames on the fragments' clock.

    Args:
        codec: what the packets are coded with; AAC comes with ADTS headers.
        zero_us: the instant of the source's clock that is 0.
    """

    format = AudioFormat(RATE, CHANNELS, bytes((0x11, 0x90)))
    """AAC-LC, 48 kHz, stereo."""

    def __init__(self, codec: SoundCodec, zero_us: int) -> None:
        self._decoder = audio_codec("libopus" if codec == "opus" else codec, "r")
        if codec == "opus":
            self._decoder.sample_rate, self._decoder.layout = RATE, "stereo"
        self._resampler = AudioResampler("fltp", "stereo", RATE)
        self._encoder = _encoder()
        self._zero_us = zero_us
        self._waiting = np.zeros((CHANNELS, 0), np.float32)
        self._written = 0
        """Samples that went to the encoder or wait to."""
        self._sent = 0
        self._given = -FRAME
        self.refused = 0
        """Packets that could not be decoded."""

    def push(self, data: bytes, at_us: int) -> list[Sound]:
        """One packet that was heard at *at_us* of the source's clock."""
        at = (at_us - self._zero_us) * RATE // US
        for block in self._decode(data):
            self._place(block, at)
            at += block.shape[1]
        return list(self._encode())

    def reach(self, at_us: int) -> list[Sound]:
        """Pictures have come as far as *at_us*: fill with silence what no sound came for."""
        behind = (at_us - self._zero_us) * RATE // US - SPARE - self._written
        if behind >= FRAME:
            self._silence(behind)
        return list(self._encode())

    def _decode(self, data: bytes) -> Iterator[np.ndarray]:
        try:
            frames = heard(self._decoder, data)
        except FFmpegError:
            self.refused += 1
            return
        for frame in frames:
            frame.pts = None
            for even in self._resampler.resample(frame):
                yield even.to_ndarray()

    def _place(self, block: np.ndarray, at: int) -> None:
        late = at - self._written
        if late > JITTER:
            self._silence(late)
        elif late < -JITTER:
            block = block[:, -late:]
        self._waiting = np.concatenate((self._waiting, block), axis=1)
        self._written += block.shape[1]

    def _silence(self, samples: int) -> None:
        samples = min(samples, LONGEST_FILL)
        quiet = np.zeros((CHANNELS, samples), np.float32)
        self._waiting = np.concatenate((self._waiting, quiet), axis=1)
        self._written += samples

    def _encode(self) -> Iterator[Sound]:
        while self._waiting.shape[1] >= FRAME:
            block, self._waiting = self._waiting[:, :FRAME], self._waiting[:, FRAME:]
            frame = AudioFrame.from_ndarray(np.ascontiguousarray(block), "fltp", "stereo")
            frame.sample_rate = RATE
            frame.pts = self._sent
            self._sent += FRAME
            for packet, _ in coded(self._encoder, frame):
                # The first frame out is the encoder's own beginning: one frame before the sound.
                if self._given >= 0:
                    yield Sound(packet, self._given)
                self._given += FRAME


def _encoder() -> AudioCodecContext:
    encoder = audio_codec("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format = RATE, "stereo", "fltp"
    encoder.bit_rate = BITRATE
    encoder.open()
    return encoder
