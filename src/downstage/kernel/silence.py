"""Who speaks at a beat and says nothing any more is gone, whatever TCP still believes.

A busy machine must not be called dead again and again, so silence is borne for longer after each
alarm (`Patience`); and who was too busy itself to listen gives what came meanwhile a moment.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import anyio

__all__ = ["Patience", "Silence"]

CALM_S = 30.0
"""Without an alarm for so long, patience is as at first."""
MOST_S = 5.0
LATE_PART = 4
"""Who looks later than by this part of the limit has slept itself."""

Now = Callable[[], float]


class Patience:
    """How long silence is borne: so long at first, twice that after each alarm of late.

    Args:
        first_s: seconds at first.
        now: seconds that never go back; the event loop's if none is given.
    """

    def __init__(self, first_s: float, now: Now = anyio.current_time) -> None:
        self._first, self._now = first_s, now
        self._alarms = 0
        self._alarmed_at = -math.inf

    @property
    def limit_s(self) -> float:
        """Seconds that it is borne now."""
        if self._now() - self._alarmed_at > CALM_S:
            self._alarms = 0
        return max(self._first, min(MOST_S, self._first * 2.0**self._alarms))

    def alarm(self) -> None:
        """Somebody was found silent."""
        self._alarms += 1
        self._alarmed_at = self._now()


class Silence:
    """Waits for somebody to fall silent; counts from the first word on.

    Args:
        limit_s: more than so many seconds without a word are silence; as they are now.
    """

    def __init__(self, limit_s: Callable[[], float]) -> None:
        self._limit = limit_s
        self._heard_at = -math.inf
        self._first = anyio.Event()
        self.is_held = False
        """Nobody listens just now: what is not heard is no silence."""

    @property
    def is_on(self) -> bool:
        """There was a first word."""
        return self._first.is_set()

    def heard(self) -> None:
        """A word."""
        self._heard_at = anyio.current_time()
        self._first.set()

    async def wait(self) -> None:
        """Return once nothing was heard for too long; never before the first word.

        Waiting again begins at the next word.
        """
        await self._first.wait()
        is_suspect = False
        while True:
            limit = self._limit()
            due = self._heard_at + limit
            if is_suspect:
                due = max(due, anyio.current_time() + limit / LATE_PART)
            await anyio.sleep_until(due)
            now = anyio.current_time()
            if self.is_held:
                self._heard_at = now
            if now < self._heard_at + limit:
                is_suspect = False
            elif is_suspect or now - due <= limit / LATE_PART:
                self._first = anyio.Event()
                return
            else:
                is_suspect = True
