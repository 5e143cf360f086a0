"""The captures of one display, one for each codec that is watched: what both kinds share."""

from __future__ import annotations

import anyio
from anyio import to_thread

from downstage.media.encoder import EncoderInfo
from downstage.media.frame import Codec
from downstage.media.source.capture import Capture

__all__ = ["Captures"]


class Captures:
    """Base of the sources: passes wishes on to the capture that runs for a codec.

    Args:
        bitrate_kbps: rate that captures begin with.
    """

    def __init__(self, bitrate_kbps: int) -> None:
        self._captures: dict[Codec, Capture] = {}
        self._bitrate = bitrate_kbps
        self._lock = anyio.Lock()
        """Held while captures start, stop or change their size."""

    async def unwatch(self, codec: Codec) -> None:
        """Stop the encoder of *codec*."""
        async with self._lock:
            capture = self._captures.get(codec)
            if capture is not None and capture.running:
                await capture.stop()

    def request_key(self, codec: Codec) -> None:
        """Make the next frame a key frame."""
        if (capture := self._running(codec)) is not None:
            capture.request_key()

    def invalidate(self, codec: Codec, frame_id: int) -> None:
        """Predict past *frame_id*."""
        if (capture := self._running(codec)) is not None:
            capture.invalidate(frame_id)

    def acknowledge(self, codec: Codec, frame_id: int, *, held: bool) -> None:
        """Pass on what every viewer holds."""
        if (capture := self._running(codec)) is not None:
            capture.acknowledge(frame_id, held=held)

    def set_bitrate(self, codec: Codec, kbps: int) -> None:
        """Change the rate of *codec*'s encoder."""
        self._bitrate = kbps
        if (capture := self._running(codec)) is not None:
            capture.set_bitrate(kbps)

    async def info(self) -> EncoderInfo | None:
        """The encoder in use; None while nothing is encoded."""
        for capture in self._captures.values():
            if capture.running:
                return await to_thread.run_sync(capture.info)
        return None

    def _running(self, codec: Codec) -> Capture | None:
        capture = self._captures.get(codec)
        return capture if capture is not None and capture.running else None
