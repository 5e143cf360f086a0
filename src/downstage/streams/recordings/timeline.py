"""Which recorded moment is due now: speed, pause and seek as arithmetic. No clock, no I/O."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

from downstage.kernel.errors import InvalidField

__all__ = ["FASTEST", "FULL", "SLOWEST", "Timeline", "check_speed"]

FULL: Final = 0.0
"""A speed that waits for nothing."""
SLOWEST: Final = 0.01
FASTEST: Final = 1000.0


def check_speed(speed: float) -> float:
    """*speed*, if something may be replayed so fast.

    Raises:
        InvalidField: it may not.
    """
    if speed != FULL and not SLOWEST <= speed <= FASTEST:
        raise InvalidField(
            "speed", f"Say {SLOWEST} to {FASTEST:g} times, or 0 for as fast as it goes."
        )
    return speed


@dataclass(slots=True)
class Timeline:
    """Recorded time over passing time: a straight line, until it is told otherwise.

    Recorded times are milliseconds, passing time is seconds of any clock that does not go back.
    """

    position_ms: float
    """Recorded time at `since`."""
    since: float
    speed: float = 1.0
    paused: bool = False

    def at(self, now: float) -> float:
        """The recorded time that is due at *now*; at full speed, as far as it was moved."""
        if self.paused or self.speed == FULL:
            return self.position_ms
        return self.position_ms + (now - self.since) * 1000 * self.speed

    def wait_s(self, moment_ms: float, now: float) -> float:
        """Seconds from *now* until *moment_ms* is due; 0 or less: it is; infinite: paused."""
        if self.paused:
            return math.inf
        if self.speed == FULL:
            return 0.0
        return (moment_ms - self.at(now)) / 1000 / self.speed

    def reach(self, moment_ms: float, now: float) -> None:
        """*moment_ms* was played; at full speed that is what moves the position."""
        if self.speed == FULL:
            self.seek(moment_ms, now)

    def seek(self, moment_ms: float, now: float) -> None:
        """Go on from *moment_ms*."""
        self.position_ms, self.since = moment_ms, now

    def set_speed(self, speed: float, now: float) -> None:
        """Go on at another speed, from where it stands."""
        self.seek(self.at(now), now)
        self.speed = check_speed(speed)

    def pause(self, now: float) -> None:
        """Stand still."""
        self.seek(self.at(now), now)
        self.paused = True

    def resume(self, now: float) -> None:
        """Go on from where it stands."""
        self.seek(self.at(now), now)
        self.paused = False
