"""An X11 display (Xvfb) as a source of frames.

*The application has drawn* means: a top-level window is to be seen, and something was drawn since
we connected; a window that was already there (the streamer was restarted, the application was
not) counts at once. The empty root window never counts.
"""

from __future__ import annotations

import asyncio
import os

import anyio
from anyio import to_thread
from Xlib.display import Display
from Xlib.error import DisplayError, XError

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.media.encoder import EncoderChoice
from downstage.media.frame import Codec, EncodedFrame, Size
from downstage.media.input.x11 import X11Injector
from downstage.media.source import randr
from downstage.media.source.capture import Capture, CaptureOptions
from downstage.media.source.captures import Captures
from downstage.media.source.cursor import as_cursor
from downstage.media.source.damage import DrawWatch
from downstage.media.source.geometry import LARGEST, clamp
from downstage.media.source.phase_lock import PhaseLock
from downstage.media.source.protocol import SourceEvents

__all__ = ["X11Source"]

log = get_logger(__name__)

_WINDOW_CHECKS_S = 0.1


class X11Source(Captures):
    """Captures one X display; the capture's tick is locked to the application's drawing.

    Args:
        name: the display, ``:N``; its cookie comes by XAUTHORITY.
        size: what the screen is to be at first.
        fps: highest frame rate.
        bitrate_kbps: rate to begin with.
        encoder: which encoder to try.
        events: what to call.
    """

    def __init__(
        self,
        name: str,
        size: Size,
        *,
        fps: float,
        bitrate_kbps: int,
        encoder: EncoderChoice,
        events: SourceEvents,
    ) -> None:
        super().__init__(bitrate_kbps)
        self._name, self._size, self._fps = name, size, fps
        self._events = events
        self._encoder: EncoderChoice = encoder
        self._locks: dict[Codec, PhaseLock] = {}
        self._drawn = anyio.Event()
        self._picture = False
        self._watching = True
        self._loop = asyncio.get_running_loop()
        self._display: Display | None = None
        self._watch: DrawWatch | None = None
        self._injector: X11Injector | None = None

    @property
    def size(self) -> Size:
        """The picture's present size."""
        return self._size

    @property
    def injector(self) -> X11Injector:
        """XTEST on a connection of its own."""
        if self._injector is None:
            msg = "the source is not open"
            raise RuntimeError(msg)
        return self._injector

    async def open(self) -> None:
        """Connect, bring the screen to its size, begin to watch for drawing."""
        try:
            await to_thread.run_sync(self._connect)
        except (DisplayError, XError, OSError) as error:
            raise SetupError(f"The X display {self._name} cannot be used: {error}") from error

    async def wait_for_picture(self) -> None:
        """Return once a window is to be seen and something was drawn."""
        while not await to_thread.run_sync(self._has_window):
            self._drawn = anyio.Event()
            await self._drawn.wait()
            # Drawing goes on while a window appears; one look at the windows is enough for it.
            await anyio.sleep(_WINDOW_CHECKS_S)
        self._picture = True

    async def watch(self, codec: Codec) -> None:
        """Encode with *codec* from now on."""
        async with self._lock:
            capture = self._captures.get(codec)
            if capture is None:
                capture = Capture(self._options(codec), self._on_frame)
                self._captures[codec] = capture
                self._locks[codec] = PhaseLock(self._fps)
                capture.screen.set_cursor_callback(self._cursor_changed)
            if not capture.running:
                capture.options = self._options(codec)
                self._locks[codec].reset()
                await capture.start()

    async def resize(self, size: Size) -> Size:
        """Resize the screen through RandR and capture all of it."""
        async with self._lock:
            self._size = await to_thread.run_sync(self._resize_now, size)
            for codec, capture in self._captures.items():
                capture.options = self._options(codec)
                if capture.running:
                    capture.set_region(self._size)
                    capture.request_key()
            return self._size

    async def close(self) -> None:
        """Stop every capture and leave the display."""
        for codec in list(self._captures):
            await self.unwatch(codec)
        if self._watch is not None:
            await to_thread.run_sync(self._watch.close)
        if self._injector is not None:
            self._injector.close()
        if self._display is not None:
            self._display.close()

    def _connect(self) -> None:
        # The capture library reads the display's name from the environment and nowhere else.
        os.environ["DISPLAY"] = self._name
        display = self._display = Display(self._name)
        self._size = self._resize_now(self._size)
        self._injector = X11Injector(self._name)
        self._watch = DrawWatch(self._name, self._on_draw, self._on_end)
        self._watch.start()
        display.sync()

    def _resize_now(self, size: Size) -> Size:
        if self._display is None:
            return self._size
        limit = randr.largest_size(self._display)
        largest = Size(min(limit.width, LARGEST.width), min(limit.height, LARGEST.height))
        wanted = clamp(size.width, size.height, largest)
        if not randr.resize_screen(self._display, wanted):
            log.warning("display.resize_refused", wanted=str(wanted))
        return clamp(*_pair(randr.current_size(self._display)), largest)

    def _options(self, codec: Codec) -> CaptureOptions:
        return CaptureOptions(
            codec=codec,
            size=self._size,
            fps=self._fps,
            bitrate_kbps=self._bitrate,
            encoder=self._encoder,
            wayland=False,
        )

    def _has_window(self) -> bool:
        return self._display is not None and bool(randr.top_windows(self._display))

    def _on_draw(self, _at: int) -> None:
        # On the watching thread; the loop is only bothered while somebody waits for it.
        if not self._picture:
            self._loop.call_soon_threadsafe(self._drew)

    def _drew(self) -> None:
        self._drawn.set()

    def _on_end(self) -> None:
        self._loop.call_soon_threadsafe(
            self._events.on_fault, "display-died", "The X display went away."
        )

    def _on_frame(self, frame: EncodedFrame) -> None:
        if self._watch is not None:
            self._keep_phase(frame, self._watch)
        self._events.on_frame(frame)

    def _keep_phase(self, frame: EncodedFrame, watch: DrawWatch) -> None:
        lock = self._locks[frame.codec]
        rate = lock.captured(frame.capture_ns, tuple(watch.times))
        if rate is not None:
            self._captures[frame.codec].set_rate(rate)
        if self._picture:
            wanted = any(
                self._locks[codec].needs_draws(frame.capture_ns)
                for codec, capture in self._captures.items()
                if capture.running
            )
            if wanted != self._watching:
                self._watching = wanted
                watch.watch(wanted=wanted)

    def _cursor_changed(self, kind: str, png: bytes, x: int, y: int) -> None:
        cursor = as_cursor(kind, bytes(png), x, y)
        self._loop.call_soon_threadsafe(self._events.on_cursor, cursor)


def _pair(size: Size) -> tuple[int, int]:
    return size.width, size.height
