"""How much input one viewer may send: a bucket for each kind, refilled steadily."""

from __future__ import annotations

from dataclasses import dataclass

from downstage.media.input import events

__all__ = ["Bucket", "InputLimiter"]


@dataclass(slots=True)
class Bucket:
    """So many a second, and so many at once."""

    rate: float
    burst: float
    level: float
    at: float = 0.0

    def take(self, now: float) -> bool:
        """Whether one more may pass at *now* (monotonic seconds)."""
        self.level = min(self.burst, self.level + (now - self.at) * self.rate)
        self.at = now
        if self.level < 1:
            return False
        self.level -= 1
        return True


_LIMITS: dict[str, tuple[float, float]] = {
    "pointer": (1000, 500),
    "press": (200, 200),
    "text": (20, 40),
    "resize": (10, 20),
    "service": (200, 200),
}
"""Events a second, and how many at once. A 1000 Hz mouse fits; a held key repeats 30 times."""

_KINDS: dict[type, str] = {
    events.Move: "pointer",
    events.MoveBy: "pointer",
    events.Wheel: "pointer",
    events.Touch: "pointer",
    events.Button: "press",
    events.Key: "press",
    events.Text: "text",
    events.Resize: "resize",
}


class InputLimiter:
    """One viewer's allowance; what exceeds it is dropped and counted.

    Releases always pass: a key must never stay down because it went up too fast.
    """

    def __init__(self, now: float) -> None:
        self._buckets = {
            kind: Bucket(rate, burst, burst, now) for kind, (rate, burst) in _LIMITS.items()
        }
        self.dropped = 0

    def allows(self, event: events.Event, now: float) -> bool:
        """Whether *event* may pass at *now* (monotonic seconds)."""
        match event:
            case events.Release() | events.Button(down=False) | events.Key(down=False):
                return True
            case events.Touch(phase="end"):
                return True
            case _:
                pass
        if self._buckets[_KINDS.get(type(event), "service")].take(now):
            return True
        self.dropped += 1
        return False
