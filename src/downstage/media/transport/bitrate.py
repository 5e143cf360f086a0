"""How fast to send: slow up, fast down, from what the path showed in the last second.

Pure: measurements go in, a target comes out. A standing queue on the path, or loss two seconds
running, lowers the target at once to below what was delivered; a clean second raises it by a
few per cent, up to the ceiling. A path that carried little because little was sent is left alone.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BitrateControl", "PathReport", "SmoothedLoss"]

QUEUE_MS = 30.0
"""A queue that stands this long through a whole second is one that we filled."""
LOSS = 0.10
RAISE, CUT_LOSS, HEADROOM = 1.08, 0.7, 0.85
HOLD_S = 2.0
IDLE_SHARE = 0.5
"""Below this share of the target the path was not tried, and its throughput means nothing."""


@dataclass(frozen=True, slots=True)
class PathReport:
    """One second of a path, as the receiver's feedback tells it."""

    loss: float
    queue_ms: float | None
    sent_kbps: float
    delivered_kbps: float


class BitrateControl:
    """The target of one viewer.

    Args:
        ceiling_kbps: what was asked for; never exceeded.
        floor_kbps: never undercut.
    """

    def __init__(self, ceiling_kbps: int, floor_kbps: int = 300) -> None:
        self._ceiling, self._floor = ceiling_kbps, min(floor_kbps, ceiling_kbps)
        self._target = float(ceiling_kbps)
        self._lossy = 0
        self._hold_until = 0.0

    @property
    def target_kbps(self) -> int:
        """The rate to send at."""
        return round(self._target)

    def update(self, report: PathReport, now: float) -> int:
        """Take a second's report at *now* (monotonic); returns the new target."""
        queued = report.queue_ms is not None and report.queue_ms > QUEUE_MS
        self._lossy = self._lossy + 1 if report.loss > LOSS else 0
        if queued and report.sent_kbps >= self._target * IDLE_SHARE:
            self._fall(min(self._target * 0.95, report.delivered_kbps * HEADROOM), now)
        elif self._lossy > 1:
            self._lossy = 0
            self._fall(self._target * CUT_LOSS, now)
        elif not queued and not self._lossy and now >= self._hold_until:
            self._target = min(float(self._ceiling), self._target * RAISE)
        return self.target_kbps

    def _fall(self, kbps: float, now: float) -> None:
        if now < self._hold_until:
            return
        self._target = max(float(self._floor), kbps)
        self._hold_until = now + HOLD_S


class SmoothedLoss:
    """Loss without the noise of single seconds, with a threshold for forward error correction."""

    def __init__(self, threshold: float = 0.01) -> None:
        self._threshold = threshold
        self.loss = 0.0

    def update(self, loss: float) -> bool:
        """Take a second's loss; returns whether repair packets are worth their bytes."""
        self.loss += (loss - self.loss) * 0.3
        return self.loss > self._threshold
