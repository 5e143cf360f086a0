"""One named channel: the viewers that have it open, and the application's door."""

from __future__ import annotations

import json
from functools import partial

from downstage.contracts.channels import BINARY, MAX_MESSAGE, NOTICE, PREFIX, TEXT
from downstage.kernel.logging import get_logger
from downstage.media.transport import Channel
from downstage.streamer.channels.backlog import Backlog
from downstage.streamer.channels.door import Door, DoorEvents

__all__ = ["Lane", "pack"]

log = get_logger(__name__)

HIGH, LOW = 1 << 20, 256 * 1024
"""Bytes that wait for a viewer: above the first the application has to wait, until the second."""


def pack(message: str | bytes) -> bytes:
    """A message as it goes to the application."""
    if isinstance(message, str):
        return bytes([TEXT]) + message.encode("utf-8", "replace")
    return bytes([BINARY]) + message


class _End:
    """One viewer's end."""

    def __init__(self, channel: Channel, *, speaks: bool) -> None:
        self.channel, self.speaks = channel, speaks
        self.missed = 0


class Lane:
    """Carries the messages of one name between viewers and application.

    The application has to wait for viewers that speak; one that only watches and does not keep up
    misses messages instead.

    Args:
        folder: descriptor of the channels' folder.
        name: of the channel.
    """

    def __init__(self, folder: int, name: str) -> None:
        self.name = name
        self._ends: list[_End] = []
        self._early = Backlog()
        self._door = Door(folder, PREFIX + name, DoorEvents(self._said, self._notice))
        self.refused = 0
        """Messages of viewers that were too long, or of some that only watch."""

    def open(self) -> None:
        """Listen.

        Raises:
            OSError: the socket cannot be made.
        """
        self._door.open()

    def close(self) -> None:
        """Let the application go."""
        self._door.close()

    def join(self, channel: Channel, *, speaks: bool) -> None:
        """A viewer opened the channel; what waited for one that speaks goes out."""
        end = _End(channel, speaks=speaks)
        self._ends.append(end)
        drained = self._drained if speaks else None
        channel.listen(partial(self._heard, end), partial(self._leave, end), drained, LOW)
        # Who only watches takes nothing away from whom the application waits for.
        while speaks and (packet := self._early.first()) is not None:
            self._pass(end, packet[0], packet[1:])
            self._early.drop_first()
        self._notice()
        self._hold()

    def _leave(self, end: _End) -> None:
        if end in self._ends:
            self._ends.remove(end)
            self._notice()
            self._drained()

    def _heard(self, end: _End, message: str | bytes) -> None:
        packet = pack(message)
        if not end.speaks or len(packet) > MAX_MESSAGE + 1:
            self.refused += 1
            if self.refused == 1:
                log.warning("channel.message_refused", channel=self.name, bytes=len(packet))
            return
        if not self._door.send(packet):
            self._notice()

    def _said(self, kind: int, message: bytes) -> None:
        if not any(end.speaks for end in self._ends):
            self._early.put(bytes([kind]) + message)
        for end in self._ends:
            if end.speaks or end.channel.buffered < HIGH:
                self._pass(end, kind, message)
            else:
                end.missed += 1
        self._hold()

    def _pass(self, end: _End, kind: int, message: bytes) -> None:
        end.channel.send(message.decode("utf-8", "replace") if kind == TEXT else message)

    def _hold(self) -> None:
        if any(end.speaks and end.channel.buffered >= HIGH for end in self._ends):
            self._door.pause()

    def _drained(self) -> None:
        if not any(end.speaks and end.channel.buffered > LOW for end in self._ends):
            self._door.resume()

    def _notice(self) -> None:
        facts = {"viewers": len(self._ends), "lost": self._door.lost}
        self._door.tell(bytes([NOTICE]) + json.dumps(facts).encode())
