"""The compositor of our own as a source of frames: the application is its client.

*The application has drawn* means: a window is mapped, and a frame was captured after that. An
empty compositor draws its background once and never counts.
"""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

import anyio
import pixelflux
from anyio import to_thread

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.media.encoder import EncoderChoice
from downstage.media.frame import Codec, EncodedFrame, Size
from downstage.media.input.wayland import WaylandInjector
from downstage.media.source.capture import Capture, CaptureOptions
from downstage.media.source.captures import Captures
from downstage.media.source.cursor import as_cursor
from downstage.media.source.geometry import clamp
from downstage.media.source.protocol import SourceEvents

__all__ = ["WaylandSource"]

log = get_logger(__name__)

PRIMARY, SECOND = 0, 1
"""Outputs: the screen itself, and a view of all of it for a second codec."""


class WaylandSource(Captures):
    """Runs the compositor inside this process and captures its screen.

    Args:
        socket: path at which the application finds the compositor.
        size: what the screen is to be at first.
        fps: highest frame rate.
        bitrate_kbps: rate to begin with.
        encoder: which encoder to try.
        events: what to call.
    """

    def __init__(
        self,
        socket: Path,
        size: Size,
        *,
        fps: float,
        bitrate_kbps: int,
        encoder: EncoderChoice,
        events: SourceEvents,
    ) -> None:
        super().__init__(bitrate_kbps)
        self._socket, self._fps = socket, fps
        self._size = clamp(size.width, size.height)
        self._events = events
        self._encoder: EncoderChoice = encoder
        self._framed = anyio.Event()
        self._loop = asyncio.get_running_loop()
        self._control = pixelflux.ScreenCapture()
        self._injector: WaylandInjector | None = None
        self._name = ""

    @property
    def size(self) -> Size:
        """The picture's present size."""
        return self._size

    @property
    def injector(self) -> WaylandInjector:
        """The compositor's own seat."""
        if self._injector is None:
            msg = "the source is not open"
            raise RuntimeError(msg)
        return self._injector

    async def open(self) -> None:
        """Bring the compositor up and put its socket where the application looks for it."""
        if not os.environ.get("XDG_RUNTIME_DIR"):
            raise SetupError("XDG_RUNTIME_DIR must name the folder of the Wayland socket.")
        name = await to_thread.run_sync(
            pixelflux.ensure_wayland_display, self._size.width, self._size.height
        )
        if not name:
            raise SetupError("The Wayland compositor did not start.")
        self._name = str(name)
        place_socket(Path(os.environ["XDG_RUNTIME_DIR"]) / self._name, self._socket)
        self._control.set_cursor_callback(self._cursor_changed)
        self._injector = WaylandInjector(self._control)
        # An output without a capture sends no frame callbacks: the application would not draw.
        await self.watch("h264")

    async def wait_for_picture(self) -> None:
        """Return once a window is mapped and a frame was captured after that."""
        while True:
            self._framed = anyio.Event()
            await self._framed.wait()
            if await to_thread.run_sync(self._control.list_windows):
                return

    async def watch(self, codec: Codec) -> None:
        """Encode with *codec* from now on."""
        async with self._lock:
            capture = self._captures.get(codec)
            if capture is None:
                capture = Capture(self._options(codec), self._on_frame)
                self._captures[codec] = capture
            if not capture.running:
                await self._start(codec, capture)

    async def resize(self, size: Size) -> Size:
        """Give the output another mode; the captures begin anew with it."""
        async with self._lock:
            self._size = clamp(size.width, size.height)
            for codec, capture in self._captures.items():
                if capture.running:
                    await self._start(codec, capture)
            return self._size

    async def close(self) -> None:
        """Stop every capture; the compositor itself ends with the process."""
        for codec in list(self._captures):
            await self.unwatch(codec)
        self._socket.unlink(missing_ok=True)

    async def _start(self, codec: Codec, capture: Capture) -> None:
        capture.options = self._options(codec)
        if capture.options.output != PRIMARY:
            whole = (0, 0, self._size.width, self._size.height)
            await to_thread.run_sync(self._control.destroy_output, SECOND)
            await to_thread.run_sync(self._control.create_view, SECOND, PRIMARY, *whole)
        await capture.start()

    def _options(self, codec: Codec) -> CaptureOptions:
        return CaptureOptions(
            codec=codec,
            size=self._size,
            fps=self._fps,
            bitrate_kbps=self._bitrate,
            encoder=self._encoder,
            wayland=True,
            output=PRIMARY if codec == "h264" else SECOND,
        )

    def _on_frame(self, frame: EncodedFrame) -> None:
        self._framed.set()
        self._events.on_frame(frame)

    def _cursor_changed(self, kind: str, png: bytes, x: int, y: int) -> None:
        cursor = as_cursor(kind, bytes(png), x, y)
        self._loop.call_soon_threadsafe(self._events.on_cursor, cursor)


def place_socket(made: Path, wanted: Path) -> None:
    """Make the socket *made* reachable as *wanted* too."""
    if made == wanted:
        return
    wanted.unlink(missing_ok=True)
    wanted.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        wanted.hardlink_to(made)
    except OSError:
        wanted.symlink_to(made)
