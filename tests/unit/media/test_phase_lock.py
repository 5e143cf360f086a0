"""The capture's tick is moved to just behind the drawing, and left alone where it cannot be."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.media.source.phase_lock import PhaseLock

pytestmark = [pytest.mark.unit]

MS = 1_000_000


def simulate(
    lock: PhaseLock, *, drawn_every_ms: float, phase_ms: float, seconds: float
) -> list[float]:
    """Run a capture loop that obeys *lock*; the wait of each capture for its drawing, in ms."""
    waits: list[float] = []
    capture, rate = phase_ms, lock.rate
    while capture < seconds * 1000:
        drawn = int(capture / drawn_every_ms) * drawn_every_ms
        draws = [round((drawn - k * drawn_every_ms) * MS) for k in range(8, -1, -1)]
        waits.append(capture - drawn)
        rate = lock.captured(round(capture * MS), [d for d in draws if d >= 0]) or rate
        capture += 1000 / rate
    return waits


@given(st.floats(0.1, 16.5))
def test_the_tick_settles_just_behind_the_drawing(phase_ms: float) -> None:
    waits = simulate(PhaseLock(60), drawn_every_ms=1000 / 60, phase_ms=phase_ms, seconds=6)
    settled = sorted(waits[-60:])
    assert 0.3 <= settled[len(settled) // 2] <= 4.5


def test_a_slightly_fast_application_is_followed() -> None:
    waits = simulate(PhaseLock(60), drawn_every_ms=16.6, phase_ms=12, seconds=20)
    assert max(waits[-120:]) < 8


def test_an_application_of_another_rate_is_left_alone() -> None:
    lock = PhaseLock(60)
    simulate(lock, drawn_every_ms=1000 / 43, phase_ms=3, seconds=5)
    assert abs(lock.rate / 60 - 1) < 0.031


def test_without_drawing_nothing_changes() -> None:
    lock = PhaseLock(60)
    assert all(lock.captured(n * 16 * MS, ()) is None for n in range(1, 100))
    assert lock.rate == 60
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
    assert lock.rate == 60
    assert lock.wait_ms is None
