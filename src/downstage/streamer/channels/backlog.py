"""Messages that wait for a side that is not there yet, or slow."""

from __future__ import annotations

from collections import deque

from downstage.contracts.channels import MAX_KEPT, MAX_KEPT_BYTES

__all__ = ["Backlog"]


class Backlog:
    """A queue with a bound in messages and bytes: the oldest give way, and are counted."""

    def __init__(self, most: int = MAX_KEPT, most_bytes: int = MAX_KEPT_BYTES) -> None:
        self._most, self._most_bytes = most, most_bytes
        self._waiting: deque[bytes] = deque()
        self._bytes = 0
        self.lost = 0
        """Messages that gave way so far."""

    def __len__(self) -> int:
        return len(self._waiting)

    def put(self, packet: bytes) -> bool:
        """Queue *packet*; False where others had to give way."""
        self._waiting.append(packet)
        self._bytes += len(packet)
        kept = True
        while len(self._waiting) > self._most or self._bytes > self._most_bytes:
            self._bytes -= len(self._waiting.popleft())
            self.lost += 1
            kept = False
        return kept

    def first(self) -> bytes | None:
        """What waits for longest; None: nothing waits."""
        return self._waiting[0] if self._waiting else None

    def drop_first(self) -> None:
        """It has gone out."""
        self._bytes -= len(self._waiting.popleft())
