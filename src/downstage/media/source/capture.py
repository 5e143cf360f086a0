"""One running capture: pixelflux, its settings, and the way of a frame onto the event loop.

The library calls back on a thread of its own. Each frame crosses to the loop with one
`call_soon_threadsafe`; if the loop falls behind, frames are dropped here and the encoder is told,
so that what follows still decodes.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import time
from collections.abc import Callable
from dataclasses import dataclass

import pixelflux
from anyio import to_thread

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.media.codec import is_key
from downstage.media.encoder import EncoderChoice, EncoderInfo, encode_node, read_info
from downstage.media.frame import Codec, EncodedFrame, Size

__all__ = ["Capture", "CaptureOptions"]

log = get_logger(__name__)

REFERENCES = 4
"""Pictures kept to predict from; the level's own number costs 25 MB more at 720p."""
FEW_CORES = 2
KEY_DEADLINE_S = 0.25
"""A key frame that was asked for and has not come by then is asked for again."""
TRIES, AGAIN_S = 3, 0.1
"""The library's own connection to a display was seen to break at the start; why is not known."""
MAX_CROSSING = 16
"""Frames on their way to the loop; more means that the loop stands still."""


@dataclass(frozen=True, slots=True)
class CaptureOptions:
    """What one capture is to do."""

    codec: Codec
    size: Size
    fps: float
    bitrate_kbps: int
    encoder: EncoderChoice
    wayland: bool
    output: int = 0
    """Wayland: which output (or view of one) to capture."""


class Capture:
    """Captures and encodes one display in one codec.

    Args:
        options: what to capture and how.
        on_frame: called on the event loop with each encoded frame.
    """

    def __init__(self, options: CaptureOptions, on_frame: Callable[[EncodedFrame], None]) -> None:
        self.options = options
        self._on_frame = on_frame
        self._screen = pixelflux.ScreenCapture()
        self._loop = asyncio.get_running_loop()
        self._run = 0
        self._crossing = 0
        self._lost: int | None = None
        self._key_asked: float | None = None
        self.running = False

    @property
    def screen(self) -> pixelflux.ScreenCapture:
        """The library's object, for input and the cursor."""
        return self._screen

    async def start(self) -> None:
        """Begin, or begin anew with changed `options`; the first frame is a key frame."""
        self._run += 1
        run = self._run
        # The first frame is a key frame.
        self._key_asked = time.monotonic()

        def arrived(raw: pixelflux.StripeFrame) -> None:
            if len(raw) and run == self._run:
                self._cross(raw, run)

        for left in reversed(range(TRIES)):
            try:
                await to_thread.run_sync(self._screen.start_capture, arrived, self._settings())
                break
            except (RuntimeError, ValueError) as error:
                if not left:
                    raise SetupError(f"The display cannot be captured: {error}") from error
                log.warning("capture.not_started", detail=str(error)[:200], tries_left=left)
            await asyncio.sleep(AGAIN_S)
        self.running = True

    async def stop(self) -> None:
        """End; no frame arrives after this returns."""
        self._run += 1
        self.running = False
        await to_thread.run_sync(self._screen.stop_capture)

    def request_key(self) -> None:
        """Ask for a key frame; one that is on its way already serves all who ask meanwhile."""
        now = time.monotonic()
        if self._key_asked is not None and now - self._key_asked < KEY_DEADLINE_S:
            return
        self._key_asked = now
        self._screen.request_idr_frame()

    def invalidate(self, frame_id: int) -> None:
        """A viewer lost *frame_id*: predict past it."""
        self._screen.invalidate_reference(frame_id)

    def acknowledge(self, frame_id: int, *, held: bool) -> None:
        """Every viewer holds (or was only sent) *frame_id*."""
        self._screen.acknowledge_reference(frame_id, held)

    def set_bitrate(self, kbps: int) -> None:
        """Change the target rate at once."""
        self._screen.update_video_bitrate(kbps)

    def set_rate(self, fps: float) -> None:
        """Change how often the display is looked at."""
        self._screen.update_framerate(fps)

    def set_region(self, size: Size) -> None:
        """X11: capture *size* from the top left corner from now on."""
        self._screen.update_capture_region(0, 0, size.width, size.height)

    def info(self) -> EncoderInfo | None:
        """The encoder in use; None before the first frame. May take a while on VA-API."""
        return read_info(self._screen.stream_info(), self.options.encoder)

    def trouble(self) -> str | None:
        """Why the capture failed, or None while it is well."""
        state, reason = self._screen.capture_state()
        return (reason or "the capture ended") if state == "failed" else None

    def _cross(self, raw: pixelflux.StripeFrame, run: int) -> None:
        if self._crossing >= MAX_CROSSING:
            if self._lost is None:
                self._lost = raw.frame_id
            return
        self._crossing += 1
        # The loop may be closing while the last frames arrive.
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._land, raw, run)

    def _land(self, raw: pixelflux.StripeFrame, run: int) -> None:
        self._crossing -= 1
        if run != self._run:
            return
        if self._lost is not None:
            lost, self._lost = self._lost, None
            log.warning("capture.frames_dropped", codec=self.options.codec)
            self._screen.invalidate_reference(lost)
            self._screen.request_idr_frame()
        data = memoryview(raw)
        reference = raw.reference_frame_id
        key = is_key(data, self.options.codec)
        if key:
            self._key_asked = None
        self._on_frame(
            EncodedFrame(
                data=data,
                codec=self.options.codec,
                key=key,
                frame_id=raw.frame_id,
                reference_id=reference if reference >= 0 else None,
                tracked=reference >= -1,
                capture_ns=raw.capture_ns,
                encode_start_ns=raw.encode_start_ns,
                encode_end_ns=raw.encode_end_ns,
                picture=self.options.size,
            )
        )

    def _settings(self) -> pixelflux.CaptureSettings:
        wanted = self.options
        settings = pixelflux.CaptureSettings()
        settings.capture_width = wanted.size.width
        settings.capture_height = wanted.size.height
        settings.target_fps = wanted.fps
        settings.codec = wanted.codec
        settings.video_fullframe = True
        settings.omit_stripe_headers = True
        settings.capture_cursor = False
        settings.use_wayland = wanted.wayland
        settings.display_id = wanted.output
        settings.video_cbr_mode = True
        settings.video_bitrate_kbps = wanted.bitrate_kbps
        settings.keyframe_interval_s = 0.0
        settings.use_paint_over_quality = True
        settings.acknowledge_references = False
        settings.video_reference_frames = REFERENCES
        settings.encode_node_index = encode_node(wanted.encoder)
        # On two cores there is one encoding thread in any case, and handing over to it costs.
        settings.cpu_encode_threading = len(os.sched_getaffinity(0)) > FEW_CORES
        settings.use_cpu = wanted.encoder == "software"
        settings.auto_adjust_screen_capture_size = False
        return settings
