"""The last minute of segments, in memory, and who waits for the next.

Bounded by seconds and by bytes; what falls out of the playlist can be fetched for a while longer,
since a player may have read the playlist just before.
"""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

import anyio

__all__ = ["Part", "Segment", "Window"]

KEEP_S = 90.0
"""Seconds that can be fetched; `playlist.SHOWN_S` of them are listed."""
KEEP_BYTES = 96 << 20
INITS = 8
"""Init segments of the past that can still be fetched."""


@dataclass(frozen=True, slots=True)
class Part:
    """A fragment: a fraction of a segment, served as soon as it is there."""

    data: bytes
    duration_s: float
    independent: bool
    """A player can begin here."""


@dataclass(slots=True)
class Segment:
    """Parts from one key frame to another."""

    number: int
    """Media sequence number."""
    wall_ms: int
    """Milliseconds since 1970 at which it begins."""
    init: int
    """Which init segment belongs to it."""
    discontinuity: bool = False
    """The clock, or how it is coded, changed before it."""
    parts: list[Part] = field(default_factory=list[Part])
    closed: bool = False

    @property
    def duration_s(self) -> float:
        """Seconds of all its parts."""
        return sum(part.duration_s for part in self.parts)

    @property
    def size(self) -> int:
        """Bytes of all its parts."""
        return sum(len(part.data) for part in self.parts)


class Window:
    """Segments of one source; written by one task, read by all players.

    Args:
        first: number of the first segment. Numbers grow with time, so that a source which was
            stopped and started again never gives a number twice.
        keep_bytes: bound of what is held.
    """

    def __init__(
        self,
        first: int | None = None,
        *,
        keep_bytes: int = KEEP_BYTES,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._next = int(clock()) if first is None else first
        self._keep_bytes = keep_bytes
        self._segments: deque[Segment] = deque()
        self._inits: dict[int, bytes] = {}
        self._bytes = 0
        self._changed = anyio.Event()
        self.discontinuities = 0
        """Of the segments that are gone."""
        self.ended = False

    @property
    def segments(self) -> list[Segment]:
        """All that are held, the oldest first; the last may be open."""
        return list(self._segments)

    @property
    def size(self) -> int:
        """Bytes that are held."""
        return self._bytes

    def init(self, number: int) -> bytes | None:
        """An init segment."""
        return self._inits.get(number)

    def find(self, number: int) -> Segment | None:
        """A segment that is held."""
        if not self._segments:
            return None
        at = number - self._segments[0].number
        return self._segments[at] if 0 <= at < len(self._segments) else None

    # Writing

    def put_init(self, data: bytes) -> int:
        """Keep an init segment; returns its number."""
        number = max(self._inits, default=-1) + 1
        self._inits[number] = data
        while len(self._inits) > INITS:
            del self._inits[min(self._inits)]
        return number

    def begin(self, wall_ms: int, init: int, *, discontinuity: bool) -> None:
        """Open the next segment; the one before is closed."""
        self.close()
        self._segments.append(Segment(self._next, wall_ms, init, discontinuity))
        self._next += 1

    def add(self, part: Part) -> None:
        """Add a part to the open segment."""
        self._segments[-1].parts.append(part)
        self._bytes += len(part.data)
        self._trim()
        self._tell()

    def close(self) -> None:
        """Close the open segment, if there is one; one without parts vanishes."""
        if not self._segments or self._segments[-1].closed:
            return
        if not self._segments[-1].parts:
            self._segments.pop()
            self._next -= 1
            return
        self._segments[-1].closed = True
        self._tell()

    def end(self) -> None:
        """Nothing comes any more."""
        self.close()
        self.ended = True
        self._tell()

    def _trim(self) -> None:
        held = sum(segment.duration_s for segment in self._segments)
        while len(self._segments) > 1 and (held > KEEP_S or self._bytes > self._keep_bytes):
            gone = self._segments.popleft()
            held -= gone.duration_s
            self._bytes -= gone.size
            self.discontinuities += gone.discontinuity

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()

    # Waiting

    def has(self, number: int, part: int | None) -> bool:
        """Whether a playlist would list that segment, or that part of it."""
        if not self._segments:
            return False
        last = self._segments[-1]
        if number < last.number:
            return True
        if number > last.number:
            # The part that follows the last of a segment is the first of the next.
            return False
        if part is None:
            return last.closed
        return part < len(last.parts) or last.closed

    @property
    def playable(self) -> bool:
        """A player finds something to begin with: a whole segment."""
        return any(segment.closed for segment in self._segments)

    async def wait(self, ready: Callable[[], bool], deadline_s: float) -> bool:
        """Wait until *ready* says so or the source ends; False where it did not come in time."""
        with anyio.move_on_after(deadline_s):
            while not ready() and not self.ended:
                await self._changed.wait()
        return ready()
