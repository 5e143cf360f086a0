"""A data channel that the viewer made, for whoever speaks on it."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from selkies.webrtc import RTCDataChannel

__all__ = ["MAX_MESSAGE", "Channel"]

MAX_MESSAGE = 64 * 1024
"""Bytes of one message on a channel, either way."""


class Channel:
    """One data channel, opened in band by the viewer; ordered and reliable unless it says not.

    Args:
        raw: the engine's.
    """

    def __init__(self, raw: RTCDataChannel) -> None:
        self._raw = raw

    @property
    def name(self) -> str:
        """What the viewer calls it; anything."""
        return self._raw.label

    @property
    def is_open(self) -> bool:
        """Messages may be sent."""
        return self._raw.readyState == "open"

    @property
    def buffered(self) -> int:
        """Bytes that wait to be sent."""
        return self._raw.bufferedAmount

    def listen(
        self,
        on_message: Callable[[str | bytes], None],
        on_closed: Callable[[], None],
        on_drained: Callable[[], None] | None = None,
        low: int = 0,
    ) -> None:
        """Be told of messages, of the end, and when no more than *low* bytes wait."""
        self._raw.on("message", on_message)
        self._raw.on("close", on_closed)
        if on_drained is not None:
            self._raw.bufferedAmountLowThreshold = low
            self._raw.on("bufferedamountlow", on_drained)

    def send(self, message: str | bytes) -> bool:
        """Queue a message for the viewer; False where the channel is not open."""
        if not self.is_open:
            return False
        self._raw.send(message)
        return True

    def close(self) -> None:
        """Close it."""
        self._raw.close()
