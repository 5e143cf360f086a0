"""The seam between what is encoded and the viewer it goes to."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from downstage.media.frame import AudioPacket, Codec, EncodedFrame
from downstage.media.transport.channel import Channel

__all__ = ["Transport", "TransportEvents", "TransportStats"]


@dataclass(frozen=True, slots=True)
class TransportEvents:
    """What a transport tells; every call comes on the event loop and returns at once."""

    on_message: Callable[[str | bytes], None]
    """An input message, unread."""
    on_key_wanted: Callable[[], None]
    """The viewer cannot decode without a key frame."""
    on_lost: Callable[[int], None]
    """The viewer lost the frame of this id for good."""
    on_rate: Callable[[int], None]
    """The path carries this many kbps."""
    on_open: Callable[[], None]
    """Media may flow."""
    on_closed: Callable[[str], None]
    """The path broke; why."""
    on_channel: Callable[[Channel], None] | None = None
    """The viewer made a data channel; without anybody to tell, it is closed."""


@dataclass(frozen=True, slots=True)
class TransportStats:
    """Counters since the transport opened."""

    frames: int
    sent_bytes: int
    dropped: int
    rtt_ms: float | None = None
    loss: float | None = None
    refused: int = 0
    """Datagrams that were not the viewer's, or came too many at once."""


class Transport(Protocol):
    """Carries pictures and sound to one viewer, and input back.

    Nothing here waits: what cannot go at once is queued within a bound, or dropped up to the next
    frame that decodes.
    """

    @property
    def kind(self) -> str:
        """``webrtc`` or ``websocket``."""
        ...

    @property
    def codec(self) -> Codec:
        """What the viewer decodes."""
        ...

    @property
    def is_open(self) -> bool:
        """Media may flow."""
        ...

    def send_video(self, frame: EncodedFrame) -> None:
        """Send a picture, or drop it."""
        ...

    def send_audio(self, packet: AudioPacket) -> None:
        """Send a packet of sound, or drop it."""
        ...

    def send_control(self, message: str) -> None:
        """Send a control message; dropped where the viewer reads none."""
        ...

    def acknowledge(self, sequence: int) -> None:
        """The viewer has everything up to *sequence*."""
        ...

    def stats(self) -> TransportStats:
        """The counters as they stand."""
        ...

    async def close(self, reason: str) -> None:
        """Say why, and let go of everything; safe to repeat."""
        ...
