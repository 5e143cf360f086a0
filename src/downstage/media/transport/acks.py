"""What a WebSocket viewer has received: how much is under way, and for how long.

A WebSocket hides its queue in kernels and relays. The viewer acknowledges the newest picture it
has, so the age of the oldest picture that it does not have yet is the queue, wherever it stands.
"""

from __future__ import annotations

from collections import deque

__all__ = ["AckWindow"]

REMEMBERED = 1024
HALF = 1 << 31


class AckWindow:
    """Pictures sent and not yet acknowledged."""

    def __init__(self) -> None:
        self._sent: deque[tuple[int, float, int]] = deque(maxlen=REMEMBERED)
        self._acked_bytes = 0
        self._given_up = 0
        self._least_ms: float | None = None
        self._shortest_ms: float | None = None
        self.rtt_ms: float | None = None
        self.ever = False

    def sent(self, sequence: int, size: int, now: float) -> None:
        """A picture of *size* bytes was handed over at *now* (monotonic seconds)."""
        self._sent.append((sequence, now, size))

    def acknowledged(self, sequence: int, now: float) -> None:
        """The viewer has everything up to *sequence*."""
        while self._sent and _not_after(self._sent[0][0], sequence):
            _, at, size = self._sent.popleft()
            self._given_up = max(0, self._given_up - 1)
            self._acked_bytes += size
            self.ever = True
            self.rtt_ms = (now - at) * 1000
            self._least_ms = min(self._least_ms or self.rtt_ms, self.rtt_ms)
            self._shortest_ms = min(self._shortest_ms or self.rtt_ms, self.rtt_ms)

    def queued_ms(self, now: float) -> float:
        """How much older than the path's own delay the oldest picture under way is."""
        if not self.ever or len(self._sent) <= self._given_up:
            return 0.0
        return max(0.0, (now - self._sent[self._given_up][1]) * 1000 - (self._least_ms or 0.0))

    def take_delivered(self) -> int:
        """Bytes acknowledged since the last call."""
        taken, self._acked_bytes = self._acked_bytes, 0
        return taken

    def take_rtt(self) -> float | None:
        """The shortest way there and back since the last call, ms; None: nothing came back."""
        taken, self._shortest_ms = self._shortest_ms, None
        return taken

    def give_up(self) -> None:
        """What is under way is no queue any more, for example after a drop to the next key frame.

        It arrives all the same, so it counts as delivered when it does.
        """
        self._given_up = len(self._sent)


def _not_after(sequence: int, limit: int) -> bool:
    return (limit - sequence) & 0xFFFFFFFF < HALF
