"""The life of a recording, and the arithmetic of a replay, for every order of what can happen."""

from __future__ import annotations

import math
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import Conflict, InvalidField, RangeNotSatisfiable
from downstage.services.ranges import one_range
from downstage.streams.recordings.replay import ReplayWish
from downstage.streams.recordings.states import FINAL, Happened, Life, State, step
from downstage.streams.recordings.timeline import FULL, Timeline

pytestmark = pytest.mark.unit

HAPPENS = st.lists(st.sampled_from(Happened), max_size=12)
MOVES = st.lists(
    st.one_of(
        st.tuples(st.just("wait"), st.floats(0, 1000)),
        st.tuples(st.just("speed"), st.sampled_from([0.25, 1.0, 4.0])),
        st.tuples(st.just("pause"), st.just(0.0)),
        st.tuples(st.just("resume"), st.just(0.0)),
        st.tuples(st.just("seek"), st.floats(0, 1e6)),
    ),
    max_size=20,
)


@given(HAPPENS)
def test_what_has_ended_stays_as_it_ended(happened: list[Happened]) -> None:
    life = Life()
    for what in happened:
        before = life
        try:
            life = step(life, what, "why")
        except Conflict:
            assert life is before
        if before.state in FINAL:
            assert life == before
        assert (life.reason == "why") == (life.state is State.FAILED)
        assert life.ended == (life.state in FINAL)
        assert life.state is not State.STORED or Happened.STOP in happened


def test_stopping_comes_before_stored() -> None:
    with pytest.raises(Conflict):
        step(Life(), Happened.CLOSED)
    stopping = step(Life(), Happened.STOP)
    assert step(stopping, Happened.STOP) == stopping
    assert step(stopping, Happened.CLOSED).state is State.STORED


@given(MOVES)
def test_a_timeline_moves_only_with_time_and_jumps_only_when_told(
    moves: list[tuple[str, float]],
) -> None:
    now, line = 0.0, Timeline(0, 0.0)
    for what, value in moves:
        before = line.at(now)
        if what == "wait":
            now += value
            moved = 0 if line.paused else value * 1000 * line.speed
            assert line.at(now) == pytest.approx(before + moved, abs=1e-3)
        elif what == "seek":
            line.seek(value, now)
            assert line.at(now) == value
        else:
            if what == "speed":
                line.set_speed(value, now)
            elif what == "pause":
                line.pause(now)
            else:
                line.resume(now)
            assert line.at(now) == pytest.approx(before, abs=1e-3)
        due = line.wait_s(line.at(now) + 500, now)
        assert due == math.inf if line.paused else due == pytest.approx(0.5 / line.speed, abs=1e-3)


def test_full_speed_waits_for_nothing_unless_it_is_paused() -> None:
    line = Timeline(0, 0.0, FULL)
    assert line.wait_s(1e12, 0.0) == 0
    line.reach(700, 1.0)
    assert line.at(50.0) == 700
    line.pause(51.0)
    assert line.wait_s(0, 52.0) == math.inf


@pytest.mark.parametrize(
    "wrong",
    [
        {"speed": -1},
        {"speed": 1e6},
        {"speed": math.nan},
        {"loop": True, "original_ids": True, "prefix": "r:"},
        {"loop": True, "live": True, "prefix": "r:"},
        {"live": True},
        {"prefix": "../"},
        {"prefix": "x" * 127},
        {"start_ms": 5, "stop_ms": 4},
    ],
)
def test_a_wish_that_makes_no_sense_is_refused(wrong: dict[str, object]) -> None:
    with pytest.raises(InvalidField):
        ReplayWish(("cam",), **wrong)  # type: ignore[arg-type]


def test_T01_a_range_is_judged_without_reading_the_others() -> None:
    many = "bytes=" + ",".join(f"{n}-{n + 5000}" for n in range(10_000))
    begun = time.process_time()
    for _ in range(10):
        with pytest.raises(RangeNotSatisfiable):
            one_range(many, 10**9)
    assert time.process_time() - begun < 0.05  # 5 ms each


@pytest.mark.parametrize(
    ("header", "found"),
    [
        ("bytes=0-", (0, 10)),
        ("bytes=3-4", (3, 5)),
        ("bytes=-4", (6, 10)),
        ("bytes=-99", (0, 10)),
        ("bytes=9-99", (9, 10)),
        ("bytes=5-4", None),
        ("bytes=-", None),
        ("lines=1-2", None),
        ("bytes=x-2", None),
    ],
)
def test_one_range_of_a_file(header: str, found: tuple[int, int] | None) -> None:
    assert one_range(header, 10) == found


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=-0", "bytes=0-1,3-4"])
def test_a_range_that_is_not_there(header: str) -> None:
    with pytest.raises(RangeNotSatisfiable):
        one_range(header, 10)
