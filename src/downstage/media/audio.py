"""Sound of one instance: its own PulseAudio's monitor → Opus packets of 20 ms.

Opening a capture talks to a sound server that may be missing, deaf or slow. It is opened on a
thread with a deadline; whatever goes wrong becomes a reason that the viewer is told, and pictures
go on without sound.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable

import anyio
import pcmflux
from anyio import to_thread

from downstage.kernel.logging import get_logger
from downstage.media.frame import AudioPacket

__all__ = ["AudioCapture"]

log = get_logger(__name__)

DEVICE = "downstage.monitor"
OPEN_DEADLINE_S = 4.0
BITRATE = 96_000
RATE = 48_000
MAX_CROSSING = 50


class AudioCapture:
    """Captures the monitor of the instance's sink; silence sends nothing.

    Args:
        server: ``unix:/path`` of the instance's PulseAudio.
        on_packet: called on the event loop with each packet.
    """

    def __init__(self, server: str, on_packet: Callable[[AudioPacket], None]) -> None:
        self._server, self._on_packet = server, on_packet
        self._capture: pcmflux.AudioCapture | None = None
        self._loop = asyncio.get_running_loop()
        self._crossing = 0

    async def open(self) -> str | None:
        """Begin; returns why there is no sound, or None where there is."""
        # The library reads the server's address from the environment and nowhere else.
        os.environ["PULSE_SERVER"] = self._server
        capture = pcmflux.AudioCapture()
        try:
            with anyio.fail_after(OPEN_DEADLINE_S):
                await to_thread.run_sync(
                    capture.start_capture, self._settings(), self._arrived, abandon_on_cancel=True
                )
        except TimeoutError:
            return "the sound server does not answer"
        except (RuntimeError, ValueError) as error:
            return f"the sound server cannot be used: {error}"
        self._capture = capture
        if capture.state == "running":
            log.info("audio.opened", device=DEVICE)
            return None
        return f"the sound server is not ready: {capture.last_error or capture.state}"

    async def close(self) -> None:
        """Stop; abandoned where the library does not come back in time."""
        capture, self._capture = self._capture, None
        if capture is not None:
            with anyio.move_on_after(1.0, shield=True):
                await to_thread.run_sync(capture.stop_capture, abandon_on_cancel=True)

    def _arrived(self, frame: pcmflux.AudioFrame) -> None:
        if not len(frame) or self._crossing >= MAX_CROSSING:
            return
        self._crossing += 1
        packet = AudioPacket(bytes(frame), frame.pts, time.monotonic_ns())
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._land, packet)

    def _land(self, packet: AudioPacket) -> None:
        self._crossing -= 1
        self._on_packet(packet)

    @staticmethod
    def _settings() -> pcmflux.AudioCaptureSettings:
        settings = pcmflux.AudioCaptureSettings()
        settings.device_name = DEVICE
        settings.sample_rate = RATE
        settings.channels = 2
        settings.opus_bitrate = BITRATE
        settings.opus_complexity = 5
        settings.frame_duration_ms = 20
        settings.use_vbr = True
        settings.use_silence_gate = True
        settings.omit_audio_header = True
        settings.latency_ms = 20  # a packet; half of it would double every wake-up
        return settings
