"""Slow up, fast down; repair only under loss; what is queued is known by acknowledgements."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.media.transport.acks import AckWindow
from downstage.media.transport.bitrate import BitrateControl, PathReport, SmoothedLoss

pytestmark = [pytest.mark.unit]

CLEAN = PathReport(loss=0, queue_ms=0, sent_kbps=8000, delivered_kbps=8000)
QUEUED = PathReport(loss=0, queue_ms=120, sent_kbps=8000, delivered_kbps=3000)
LOSSY = PathReport(loss=0.2, queue_ms=0, sent_kbps=8000, delivered_kbps=6400)


def test_a_clean_path_carries_what_was_asked() -> None:
    control = BitrateControl(8000)
    assert [control.update(CLEAN, now) for now in range(5)] == [8000] * 5


def test_a_standing_queue_lowers_the_rate_at_once_below_what_was_delivered() -> None:
    assert BitrateControl(8000).update(QUEUED, 10) == 2550


def test_it_takes_seconds_to_come_back() -> None:
    control = BitrateControl(8000)
    control.update(QUEUED, 10)
    back = [control.update(CLEAN, 11 + n) for n in range(30)]
    assert back[0] == 2550
    assert back == sorted(back)
    assert back[5] < 4000 < back[29] == 8000


def test_one_lossy_second_is_noise_and_two_are_loss() -> None:
    control = BitrateControl(8000)
    assert control.update(LOSSY, 10) == 8000
    assert control.update(LOSSY, 11) == 5600


def test_a_still_screen_is_no_evidence() -> None:
    idle = PathReport(loss=0, queue_ms=500, sent_kbps=20, delivered_kbps=20)
    assert BitrateControl(8000).update(idle, 10) == 8000


reports = st.builds(
    PathReport,
    loss=st.floats(0, 1),
    queue_ms=st.none() | st.floats(0, 10_000),
    sent_kbps=st.floats(0, 100_000),
    delivered_kbps=st.floats(0, 100_000),
)


@given(st.lists(reports, max_size=60))
def test_the_rate_stays_within_its_bounds(seconds: list[PathReport]) -> None:
    control = BitrateControl(8000, 300)
    for now, report in enumerate(seconds):
        assert 300 <= control.update(report, now) <= 8000


def test_repair_begins_above_one_per_cent() -> None:
    loss = SmoothedLoss()
    assert not any(loss.update(0.005) for _ in range(50))
    assert any(loss.update(0.05) for _ in range(5))
    assert not [loss.update(0) for _ in range(20)][-1]


def test_the_queue_is_the_age_of_the_oldest_picture_under_way() -> None:
    acks = AckWindow()
    acks.sent(1, 1000, 0.0)
    assert acks.queued_ms(0.4) == 0  # nobody acknowledges: nothing is known
    acks.acknowledged(1, 0.01)
    acks.sent(2, 1000, 0.02)
    assert acks.queued_ms(0.03) == 0
    assert 280 < acks.queued_ms(0.32) < 300
    acks.acknowledged(2, 0.33)
    assert acks.queued_ms(0.34) == 0
    assert acks.take_delivered() == 2000
    assert acks.take_delivered() == 0


def test_sequence_numbers_wrap() -> None:
    acks = AckWindow()
    acks.sent(0xFFFFFFFF, 10, 0.0)
    acks.sent(0, 10, 0.01)
    acks.acknowledged(0, 0.02)
    assert acks.take_delivered() == 20


@given(st.lists(st.tuples(st.booleans(), st.integers(0, 50)), max_size=100))
def test_acknowledgements_never_fail(steps: list[tuple[bool, int]]) -> None:
    acks, now, sequence = AckWindow(), 0.0, 0
    for sends, number in steps:
        now += 0.001
        if sends:
            sequence += 1
            acks.sent(sequence, number, now)
        else:
            acks.acknowledged(number, now)
        assert acks.queued_ms(now) >= 0
