"""The seam between a display and everything that shows it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from downstage.media.encoder import EncoderInfo
from downstage.media.frame import Codec, Cursor, EncodedFrame, Size
from downstage.media.input.injector import Injector

__all__ = ["FrameSource", "SourceEvents"]


@dataclass(frozen=True, slots=True)
class SourceEvents:
    """What a source tells; every call comes on the event loop and returns at once."""

    on_frame: Callable[[EncodedFrame], None]
    on_cursor: Callable[[Cursor], None]
    on_fault: Callable[[str, str], None]
    """Code and detail: the display died, the capture failed; the source is of no more use."""


class FrameSource(Protocol):
    """A display that can be encoded, resized and acted upon.

    One encoder runs for each codec that somebody watches, and serves all who watch it.
    """

    @property
    def size(self) -> Size:
        """The picture's present size."""
        ...

    @property
    def injector(self) -> Injector:
        """Where input goes."""
        ...

    async def open(self) -> None:
        """Connect to the display (or be it); `SetupError` where that cannot be."""
        ...

    async def wait_for_picture(self) -> None:
        """Return once the application has drawn something; see the source for its rule."""
        ...

    async def watch(self, codec: Codec) -> None:
        """Encode with *codec* from now on; repeating it is safe."""
        ...

    async def unwatch(self, codec: Codec) -> None:
        """Nobody watches *codec* any more."""
        ...

    async def resize(self, size: Size) -> Size:
        """Make the display *size*, or the nearest that can be; returns what it became."""
        ...

    def request_key(self, codec: Codec) -> None:
        """Make the next frame a key frame."""
        ...

    def invalidate(self, codec: Codec, frame_id: int) -> None:
        """A viewer lost a frame: predict past it."""
        ...

    def acknowledge(self, codec: Codec, frame_id: int, *, held: bool) -> None:
        """Every viewer holds (or was only sent) a frame."""
        ...

    def set_bitrate(self, codec: Codec, kbps: int) -> None:
        """Follow what the slowest viewer's path carries."""
        ...

    async def info(self) -> EncoderInfo | None:
        """The encoder in use and why; None while nothing is encoded."""
        ...

    async def close(self) -> None:
        """Let go of everything."""
        ...
