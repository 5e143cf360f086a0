"""Rate and acknowledgements together, on lines that are simulated picture by picture."""

from __future__ import annotations

import statistics
from collections import deque
from dataclasses import dataclass, field

import pytest

from downstage.media.transport.acks import AckWindow
from downstage.media.transport.bitrate import BitrateControl, PathReport

pytestmark = pytest.mark.unit

FPS = 30
KEY_FRAME = 12
"""How many times as large as others."""
BEHIND_MS = 250.0


@dataclass
class Viewer:
    """One who gets pictures over a line that is thin or long, and never loses any."""

    line_kbps: float
    rtt_s: float
    ceiling_kbps: int
    wanted_kbps: int = 100_000
    """More than that its pictures do not need."""
    acks: AckWindow = field(default_factory=AckWindow)
    arriving: deque[tuple[float, int]] = field(default_factory=deque[tuple[float, int]])
    waited_ms: list[float] = field(default_factory=list[float])
    targets: list[int] = field(default_factory=list[int])
    free_at: float = 0.0
    sent: int = 0
    reported_at: float = 0.0
    wants_key: bool = True
    fell_behind: bool = False

    def watch(self, seconds: int) -> Viewer:
        """Pictures at the control's rate, and the second half of it on record."""
        control = BitrateControl(self.ceiling_kbps)
        for number in range(seconds * FPS):
            now = number / FPS
            self.hear(control, now)
            if self.acks.queued_ms(now) > BEHIND_MS and not self.wants_key:
                self.acks.give_up()
                self.wants_key = self.fell_behind = True
                continue
            self.send(min(control.target_kbps, self.wanted_kbps), number, now)
        self.waited_ms = self.waited_ms[len(self.waited_ms) // 2 :]
        return self

    def send(self, kbps: int, number: int, now: float) -> None:
        size = kbps * 1000 // 8 // FPS * (KEY_FRAME if self.wants_key else 1)
        self.wants_key = False
        self.sent += size
        self.acks.sent(number, size, now)
        self.free_at = max(self.free_at, now) + size * 8 / (self.line_kbps * 1000)
        self.waited_ms.append((self.free_at - now) * 1000)
        self.arriving.append((self.free_at + self.rtt_s, number))

    def hear(self, control: BitrateControl, until: float) -> None:
        while self.arriving and self.arriving[0][0] <= until:
            now, number = self.arriving.popleft()
            self.acks.acknowledged(number, now)
            elapsed = now - self.reported_at
            if elapsed < 1:
                continue
            queue_ms = max(BEHIND_MS * self.fell_behind, self.acks.queued_ms(now))
            delivered = self.acks.take_delivered() * 8 / elapsed / 1000
            sent = self.sent * 8 / elapsed / 1000
            report = PathReport(0, queue_ms, sent, delivered, rtt_ms=self.acks.take_rtt())
            self.targets.append(control.update(report, now))
            self.reported_at, self.sent, self.fell_behind = now, 0, False


@pytest.mark.parametrize(
    ("line_kbps", "rtt_s", "ceiling_kbps"),
    [(3000, 0.03, 4000), (3000, 0.03, 8000), (3000, 0.03, 3100), (1500, 0.06, 4000)],
)
def test_on_a_line_that_is_full_from_the_first_picture_none_waits_long(
    line_kbps: int, rtt_s: float, ceiling_kbps: int
) -> None:
    viewer = Viewer(line_kbps, rtt_s, ceiling_kbps).watch(60)
    assert statistics.median(viewer.waited_ms) < 60
    assert statistics.quantiles(viewer.waited_ms, n=20)[-1] < 150
    assert statistics.mean(viewer.targets[30:]) > 0.8 * line_kbps


def test_pictures_that_need_less_than_they_are_granted_may_fill_a_line_too() -> None:
    viewer = Viewer(3000, 0.03, 8000, wanted_kbps=3200).watch(60)
    assert statistics.median(viewer.waited_ms) < 60
    assert min(viewer.targets) > 1000


def test_falling_behind_does_not_take_the_line_for_dead() -> None:
    viewer = Viewer(3000, 0.03, 8000).watch(20)
    assert min(viewer.targets) > 1000


def test_a_long_way_is_tried_ever_more_seldom_and_keeps_its_rate() -> None:
    viewer = Viewer(100_000, 0.16, 4000).watch(300)
    falls = [
        at
        for at, (a, b) in enumerate(zip(viewer.targets, viewer.targets[1:], strict=False))
        if b < a
    ]
    assert len(falls) <= 5
    assert statistics.mean(viewer.targets) > 0.9 * 4000
