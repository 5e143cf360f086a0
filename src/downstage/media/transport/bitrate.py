"""How fast to send: slow up, fast down, from what the path showed in the last second.

Pure: measurements go in, a target comes out. A standing queue on the path, or loss two seconds
running, lowers the target at once to below what was delivered; a clean second raises it by a
few per cent, up to the ceiling. A path that carried little because little was sent is left alone.

Where the queue is known by how much longer than at best the way takes, and the path was full from
the first picture on, the best is not known: a way that long is suspected of being a queue, and the
rate falls for a moment, so that it shows. Where it was the way, that is tried ever more seldom.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["BitrateControl", "PathReport", "SmoothedLoss"]

QUEUE_MS = 30.0
"""A queue that stands this long through a whole second is one that we filled."""
LOSS = 0.10
RAISE, CUT_LOSS, HEADROOM = 1.08, 0.7, 0.85
HOLD_S = 2.0
SUSPECT_MS, SUSPECT_SHARE = 80.0, 0.6
"""A way as long as this may be a queue; the rate at which that one would drain."""
TRY_EVERY_S, TRY_SELDOM_S = 10.0, 600.0
SHOWN = 0.75
"""A way that became this much shorter was a queue."""
IDLE_SHARE = 0.5
"""Below this share of the target the path was not tried, and its throughput means nothing,"""
BUSY_KBPS = 500
"""unless that much is sent and queues all the same: pictures may need less than was granted."""


@dataclass(frozen=True, slots=True)
class PathReport:
    """One second of a path, as the receiver's feedback tells it."""

    loss: float
    queue_ms: float | None
    sent_kbps: float
    delivered_kbps: float
    rtt_ms: float | None = None
    """Shortest way there and back, where *queue_ms* is made of it; else None."""


class BitrateControl:
    """The target of one viewer.

    Args:
        ceiling_kbps: what was asked for; never exceeded.
        floor_kbps: never undercut.
    """

    def __init__(self, ceiling_kbps: int, floor_kbps: int = 300) -> None:
        self._ceiling, self._floor = ceiling_kbps, min(floor_kbps, ceiling_kbps)
        self._target = float(ceiling_kbps)
        self._lossy = self._queued = 0
        self._hold_until = 0.0
        self._try_at, self._try_every = 0.0, TRY_EVERY_S
        self._tried_ms: float | None = None

    @property
    def target_kbps(self) -> int:
        """The rate to send at."""
        return round(self._target)

    def update(self, report: PathReport, now: float) -> int:
        """Take a second's report at *now* (monotonic); returns the new target."""
        queued = report.queue_ms is not None and report.queue_ms > QUEUE_MS
        self._queued = self._queued + 1 if queued else 0
        is_used = report.sent_kbps >= self._target * IDLE_SHARE or (
            self._queued > 1 and report.sent_kbps >= BUSY_KBPS
        )
        self._lossy = self._lossy + 1 if report.loss > LOSS else 0
        self._learn(report.rtt_ms, now)
        if is_used and not queued and self._suspects(report.rtt_ms, now):
            self._tried_ms = report.rtt_ms
            self._fall(report.delivered_kbps * SUSPECT_SHARE, now)
        elif queued and is_used:
            self._fall(min(self._target * 0.95, report.delivered_kbps * HEADROOM), now)
        elif self._lossy > 1:
            self._lossy = 0
            self._fall(self._target * CUT_LOSS, now)
        elif not queued and not self._lossy and now >= self._hold_until:
            self._target = min(float(self._ceiling), self._target * RAISE)
        return self.target_kbps

    def _suspects(self, rtt_ms: float | None, now: float) -> bool:
        """The way is long enough to be a queue, and it is time to see."""
        return rtt_ms is not None and rtt_ms > SUSPECT_MS and now >= self._try_at

    def _learn(self, rtt_ms: float | None, now: float) -> None:
        """What the last try showed, once its time is over."""
        if self._tried_ms is None or rtt_ms is None or now < self._hold_until:
            return
        was_queue = rtt_ms < self._tried_ms * SHOWN
        self._try_every = TRY_EVERY_S if was_queue else min(TRY_SELDOM_S, self._try_every * 3)
        self._try_at, self._tried_ms = now + self._try_every, None

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
