"""Capture just behind the application's drawing, so that a picture never waits for its tick.

A capture loop that ticks 60 times a second finds a new picture on average half a tick late. Where
we are told when the application drew, the tick can be moved: a slightly higher rate lets it
drift earlier, a slightly lower one later, until it falls just behind the drawing. This module is
the controller alone: times go in, a rate comes out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Iterable
from statistics import median

__all__ = ["PhaseLock"]

_NEAREST_MS, _FARTHEST_MS = 1.0, 3.0
"""Where the tick belongs behind the drawing: later than the last stroke, earlier than a wait."""
_SAMPLES = 12
_NUDGE, _STRONG = 0.012, 0.03
_FAR_MS = 6.0


class PhaseLock:
    """Steers one capture's rate from pairs of drawing and capture times.

    Args:
        fps: the nominal rate, frames a second.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._waits: deque[float] = deque(maxlen=_SAMPLES)
        self._since_change = 0
        self._last_draw = 0
        self.rate = fps
        """Rate that the capture should run at."""

    @property
    def wait_ms(self) -> float | None:
        """Median time from drawing to capture, or None before there are enough samples."""
        return median(self._waits) if len(self._waits) == _SAMPLES else None

    def captured(self, capture_ns: int, draws: Iterable[int]) -> float | None:
        """Take one capture's time and the known drawing times, ascending.

        Returns:
            The new rate to set, or None to leave it.
        """
        times = list(draws)
        at = bisect_left(times, capture_ns)
        if at == 0 or times[at - 1] == self._last_draw:
            return None
        self._last_draw = times[at - 1]
        self._waits.append((capture_ns - self._last_draw) / 1e6)
        self._since_change += 1
        if len(self._waits) < _SAMPLES or self._since_change < _SAMPLES:
            return None
        rate = self._fps * (1 + self._correction())
        if rate == self.rate:
            return None
        self.rate = rate
        self._since_change = 0
        return rate

    def reset(self) -> None:
        """Forget the samples, for example after a pause; the rate becomes the nominal one."""
        self._waits.clear()
        self._since_change = 0
        self.rate = self._fps

    def _correction(self) -> float:
        ordered = sorted(self._waits)
        wait = median(ordered)
        spread = ordered[-_SAMPLES // 4 - 1] - ordered[_SAMPLES // 4]
        if spread > 400 / self._fps:
            # The application's rate is not ours: there is no phase to lock to.
            return 0.0
        if wait > _FARTHEST_MS:
            return _STRONG if wait > _FAR_MS else _NUDGE
        return -_NUDGE if wait < _NEAREST_MS else 0.0
