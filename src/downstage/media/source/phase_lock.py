"""Capture just behind the application's drawing, so that a picture never waits for its tick.

A capture loop that ticks 60 times a second finds a new picture on average half a tick late. Where
we are told when the application drew, the tick can be moved: for some ticks the rate is a little
lower, until the tick falls just behind the drawing; then it is the nominal one again. Every change
of the rate makes the encoder begin anew (a key frame of its own), so the tick is moved in one go,
seldom, and left alone while it is nearly right; it is never moved by a higher rate, which would
need a higher level of the codec. This module is the controller alone: times in, a rate out.
"""

from __future__ import annotations

from bisect import bisect_left
from collections import deque
from collections.abc import Sequence
from statistics import median

__all__ = ["PhaseLock"]

GOAL_MS = 2.2
"""Where the tick belongs behind the drawing: later than the last stroke, earlier than a wait."""
NEAREST_MS, FARTHEST_MS = 0.8, 5.0
"""Nearly right: not worth a key frame."""
SAMPLES = 24
CALM_NS = 3_000_000_000
"""Between two looks at a phase that was right, or was none."""
LONGEST_STEP_MS = 2.0
"""How much longer than the nominal one a tick is made at most."""
SPREAD = 0.25
"""Share of a tick over which the middle half of the waits may scatter and still be a phase."""
PATIENCE_NS, LONGEST_PATIENCE_NS = 2_000_000_000, 60_000_000_000
"""Between two moves; it doubles from one to the next, and begins anew after a long calm."""


class PhaseLock:
    """Steers one capture's rate from pairs of drawing and capture times.

    Args:
        fps: the nominal rate, frames a second.
    """

    def __init__(self, fps: float) -> None:
        self._fps = fps
        self._tick_ms = 1000 / fps
        self._waits: deque[float] = deque(maxlen=SAMPLES)
        self._last_draw = 0
        self._moves_until: int | None = None
        self._rests_until = self._moved_at = 0
        self._patience = PATIENCE_NS

    @property
    def wait_ms(self) -> float | None:
        """Median time from drawing to capture, or None before there are enough samples."""
        return median(self._waits) if len(self._waits) == SAMPLES else None

    def needs_draws(self, now_ns: int) -> bool:
        """Whether `captured` looks at drawing times at *now_ns*; else nobody need note them."""
        return self._moves_until is None and now_ns >= self._rests_until

    def captured(self, capture_ns: int, draws: Sequence[int]) -> float | None:
        """Take one capture's time and the known drawing times, ascending.

        Returns:
            The new rate to set, or None to leave it.
        """
        if self._moves_until is not None:
            if capture_ns < self._moves_until:
                return None
            self._moves_until = None
            self._waits.clear()
            return self._fps
        if capture_ns < self._rests_until:
            return None
        at = bisect_left(draws, capture_ns)
        if at == 0 or draws[at - 1] == self._last_draw:
            return None
        self._last_draw = draws[at - 1]
        self._waits.append((capture_ns - self._last_draw) / 1e6)
        return self._judge(capture_ns) if len(self._waits) == SAMPLES else None

    def reset(self) -> None:
        """Forget everything: the capture begins anew at its nominal rate."""
        self._waits.clear()
        self._moves_until = None
        self._rests_until = self._moved_at = 0
        self._patience = PATIENCE_NS

    def _judge(self, now_ns: int) -> float | None:
        ordered = sorted(self._waits)
        wait = median(ordered)
        scatter = ordered[SAMPLES * 3 // 4] - ordered[SAMPLES // 4]
        if now_ns > self._moved_at + LONGEST_PATIENCE_NS:
            self._patience = PATIENCE_NS
        # Where the waits scatter the application's rate is not ours: there is no phase to move to.
        if NEAREST_MS <= wait <= FARTHEST_MS or scatter > self._tick_ms * SPREAD:
            self._waits.clear()
            self._rests_until = now_ns + CALM_NS
            return None
        return self._move(now_ns, (GOAL_MS - wait) % self._tick_ms)

    def _move(self, now_ns: int, later_ms: float) -> float:
        ticks = max(1, -(-later_ms // LONGEST_STEP_MS))
        longer_ms = self._tick_ms + later_ms / ticks
        # The tick that is waited for just now is still one of the old length.
        self._moves_until = now_ns + round((ticks * longer_ms - 0.5 * self._tick_ms) * 1e6)
        self._moved_at = now_ns
        self._rests_until = now_ns + self._patience
        self._patience = min(self._patience * 2, LONGEST_PATIENCE_NS)
        return 1000 / longer_ms
