"""The order of the queue, positions and estimates, whoever waits."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.gateway.queue import (
    Lengths,
    Round,
    Waiting,
    arrange,
    eta_s,
    is_anybody_ahead,
    positions,
)

pytestmark = pytest.mark.unit

START = datetime(2026, 1, 1, tzinfo=UTC)
HOME, OTHER = "https://one", "https://two"


def waiting(
    name: str,
    second: int = 0,
    *,
    priority: int = 0,
    region: str | None = None,
    shape: str = "s",
    home: str = HOME,
) -> Waiting:
    return Waiting(name, home, priority, START + timedelta(seconds=second), region, shape)


def queues(homes: tuple[str, ...] = (HOME,)) -> st.SearchStrategy[list[Waiting]]:
    one = st.tuples(
        st.integers(0, 5),
        st.integers(-2, 2),
        st.sampled_from([None, "east", "west"]),
        st.sampled_from(["small", "large"]),
        st.sampled_from(homes),
    )
    return st.lists(one, max_size=12).map(
        lambda rows: [
            waiting(f"s{n}", at, priority=priority, region=region, shape=shape, home=home)
            for n, (at, priority, region, shape, home) in enumerate(rows)
        ]
    )


@given(queues(), st.randoms())
def test_the_order_is_the_same_whoever_looks(items: list[Waiting], random: object) -> None:
    shuffled = list(items)
    random.shuffle(shuffled)  # type: ignore[attr-defined]
    assert arrange(shuffled) == arrange(items)


@given(queues())
def test_priority_first_then_who_waited_longer(items: list[Waiting]) -> None:
    arranged = arrange(items)
    for before, after in pairwise(arranged):
        assert before.priority >= after.priority
        if before.priority == after.priority:
            assert before.since <= after.since


@given(queues())
def test_a_position_counts_those_ahead_for_the_same_places(items: list[Waiting]) -> None:
    arranged = arrange(items)
    for index, item in enumerate(arranged):
        ahead = [
            other
            for other in arranged[:index]
            if item.region is None or other.region in (None, item.region)
        ]
        assert positions(arranged)[item.id] == len(ahead) + 1


@given(queues((HOME, OTHER)), st.dictionaries(st.sampled_from(["east", "west"]), st.integers(0, 3)))
def test_nobody_overtakes_who_needs_the_same(items: list[Waiting], free: dict[str, int]) -> None:
    """One pass with so many places: whoever got one had nobody like them left behind in front."""
    arranged, turn, left = arrange(items), Round(HOME, ["east", "west"]), dict(free)
    served = set[str]()
    for item in arranged:
        if not turn.may_try(item):
            continue
        regions = ["east", "west"] if item.region is None else [item.region]
        for region in turn.open_to(item, regions):
            if left.get(region, 0) > 0:
                left[region] -= 1
                served.add(item.id)
                break
            turn.refuse(item, region)
    for index, item in enumerate(arranged):
        if item.id not in served:
            continue
        for other in arranged[:index]:
            if other.shape == item.shape and other.region in (None, item.region):
                assert other.id in served


def test_who_waits_for_another_gateways_turn_is_not_overtaken() -> None:
    turn = Round(HOME, ["east", "west"])
    assert not turn.may_try(waiting("a", home=OTHER, region="east"))
    assert not turn.may_try(waiting("b"))
    assert not turn.may_try(waiting("c", region="west"))
    assert turn.may_try(waiting("d", region="west", shape="other"))


def test_who_needs_something_else_is_not_held_up() -> None:
    turn, first = Round(HOME, ["east", "west"]), waiting("a", shape="large")
    assert turn.may_try(first)
    turn.refuse(first, "east")
    assert turn.open_to(waiting("b", shape="large"), ["east", "west"]) == ["west"]
    assert turn.open_to(waiting("c", shape="small"), ["east", "west"]) == ["east", "west"]
    assert turn.may_try(waiting("d", shape="large"))
    turn.refuse(first, "west")
    assert not turn.may_try(waiting("e", shape="large"))
    assert turn.may_try(waiting("f", shape="small"))


def test_the_turn_of_another_gateway_is_waited_for() -> None:
    turn = Round(HOME, ["east", "west"])
    assert not turn.may_try(waiting("a", home=OTHER, region="east"))
    assert turn.may_try(waiting("b", region="west"))
    assert not turn.may_try(waiting("c", region="east"))
    assert not turn.may_try(waiting("d"))
    assert turn.may_try(waiting("e", shape="other"))


@given(st.integers(1, 1000), st.floats(0.1, 1e5), st.integers(1, 1000))
def test_an_estimate_grows_with_the_position_and_falls_with_places(
    position: int, length: float, places: int
) -> None:
    found = eta_s(position, length, places)
    assert found is not None
    assert 0 < found <= position * length
    further = eta_s(position + 1, length, places)
    assert further is not None
    assert further > found


def test_what_is_not_known_is_not_guessed() -> None:
    assert eta_s(1, None, 4) is None
    assert eta_s(1, 60.0, 0) is None
    assert Lengths().typical() is None


def test_one_long_session_does_not_move_the_typical_length() -> None:
    lengths = Lengths()
    for seconds in (60, 70, 80, 36_000):
        lengths.note(seconds)
    assert lengths.typical() == 75
    for _ in range(200):
        lengths.note(10)
    assert lengths.typical() == 10


def test_whether_anybody_is_ahead() -> None:
    line = [waiting("a", region="east", shape="small")]
    assert is_anybody_ahead(line, "east")
    assert is_anybody_ahead(line, None)
    assert not is_anybody_ahead(line, "west")
    assert is_anybody_ahead(line, "east", shape="small")
    assert not is_anybody_ahead(line, "east", shape="large")
