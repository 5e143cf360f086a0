"""The capture's tick is moved to just behind the drawing, and left alone where it cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.media.source.phase_lock import PhaseLock

pytestmark = [pytest.mark.unit]

MS = 1_000_000


def simulate(
    lock: PhaseLock, *, drawn_every_ms: float, phase_ms: float, seconds: float, fps: float = 60
) -> tuple[list[float], list[float]]:
    """Run a capture loop that obeys *lock*: each capture's wait for its drawing, and the rates."""
    waits: list[float] = []
    rates: list[float] = []
    capture, period, coming = phase_ms, 1000 / fps, 1000 / fps
    while capture < seconds * 1000:
        drawn = int(capture / drawn_every_ms) * drawn_every_ms
        draws = [round((drawn - k * drawn_every_ms) * MS) for k in range(8, -1, -1)]
        waits.append(capture - drawn)
        rate = lock.captured(round(capture * MS), [d for d in draws if d >= 0])
        if rate is not None:
            rates.append(rate)
            coming = 1000 / rate
        # The tick that is waited for just now keeps its length.
        capture += period
        period = coming
    return waits, rates


@given(st.floats(0.01, 16.6))
def test_the_tick_settles_just_behind_the_drawing(phase_ms: float) -> None:
    waits, rates = simulate(PhaseLock(60), drawn_every_ms=1000 / 60, phase_ms=phase_ms, seconds=6)
    settled = sorted(waits[-60:])
    assert 0.7 <= settled[len(settled) // 2] <= 5.1
    assert len(rates) <= 2
    assert all(rate <= 60 for rate in rates), "a higher rate would need a higher level"


def test_a_slight_drift_is_followed_with_few_changes() -> None:
    waits, rates = simulate(PhaseLock(60), drawn_every_ms=16.66, phase_ms=12, seconds=60)
    assert sorted(waits)[len(waits) // 2] < 6
    assert len(rates) <= 14


def test_an_application_of_another_rate_is_left_alone() -> None:
    _, rates = simulate(PhaseLock(60), drawn_every_ms=1000 / 43, phase_ms=3, seconds=10)
    assert rates == []


def test_half_the_rate_is_a_phase_too() -> None:
    waits, _ = simulate(PhaseLock(60), drawn_every_ms=1000 / 30, phase_ms=13, seconds=6)
    assert min(waits[-2:]) < 5.1


def test_it_does_not_hunt_where_the_phase_jumps() -> None:
    lock = PhaseLock(60)
    changes = 0
    for second in range(60):
        _, rates = simulate(
            lock, drawn_every_ms=1000 / 60, phase_ms=6 + 7 * (second % 2), seconds=1
        )
        changes += len(rates)
    assert changes <= 60


def test_without_drawing_nothing_changes() -> None:
    lock = PhaseLock(60)
    assert all(lock.captured(n * 16 * MS, ()) is None for n in range(1, 100))
    assert lock.wait_ms is None


def test_one_drawing_counts_once() -> None:
    lock = PhaseLock(60)
    for n in range(1, 40):
        lock.captured(n * 16 * MS, [MS])
    assert lock.wait_ms is None


def test_reset_forgets() -> None:
    lock = PhaseLock(60)
    simulate(lock, drawn_every_ms=1000 / 60, phase_ms=14, seconds=1)
    lock.reset()
    assert lock.wait_ms is None
