"""The bad line: it loses what it says, in order, late by its delay, and no faster than its rate."""

from __future__ import annotations

import random

import pytest
from measuring.bridge import Lane, Line

pytestmark = pytest.mark.unit
FRAME = bytes(12) + b"\x08\x00" + bytes(986)


def lane(line: Line) -> Lane:
    return Lane(line, random.Random(line.seed))


def which_arrive(line: Line, count: int = 2000) -> list[int]:
    made = lane(line)
    for number in range(count):
        made.put(FRAME[:20] + number.to_bytes(4, "big"), float(number))
    return [int.from_bytes(frame[20:24], "big") for frame in made.due(1e9)]


def test_the_share_that_is_lost_is_what_was_asked_for_and_the_rest_keeps_its_order() -> None:
    arrived = which_arrive(Line(loss=0.05, seed=7))
    assert 70 <= 2000 - len(arrived) <= 130
    assert arrived == sorted(arrived)
    assert which_arrive(Line()) == list(range(2000)), "without loss nothing is missing"


def test_the_same_seed_loses_the_same_frames_and_another_loses_others() -> None:
    line = Line(loss=0.05, seed=7)
    assert which_arrive(line) == which_arrive(line) != which_arrive(Line(loss=0.05, seed=8))


def test_a_frame_is_due_after_the_delay_and_not_before() -> None:
    made = lane(Line(delay_s=0.015))
    made.put(FRAME, 1.0)
    assert made.next_at() == pytest.approx(1.015)
    assert made.due(1.0149) == []
    assert made.due(1.0151) == [FRAME]
    assert made.next_at() is None


def test_a_narrow_lane_lets_through_its_rate_and_drops_what_its_queue_cannot_hold() -> None:
    made = lane(Line(rate_bps=8_000_000, queue_bytes=10_500))
    for _ in range(15):
        made.put(FRAME, 0.0)
    assert (made.frames, made.overflowed) == (15, 5)
    assert len(made.due(0.0055)) == 5, "a thousand bytes a millisecond"
    assert len(made.due(0.0105)) == 5
    made.put(FRAME, 0.02)
    assert made.next_at() == pytest.approx(0.021), "idle time is not saved up"


def test_who_asks_for_an_address_is_always_answered() -> None:
    made = lane(Line(loss=1.0))
    arp = bytes(12) + b"\x08\x06" + bytes(28)
    made.put(arp, 0.0)
    made.put(FRAME, 0.0)
    assert made.due(1.0) == [arp]
    assert made.told() == {"frames": 2, "bytes": 1042, "lost": 1, "overflowed": 0}
