"""An extension's states: what may follow what, whatever is tried."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.services.extensions.states import AT_REST, IllegalStep, State, Step, advance, may

pytestmark = pytest.mark.unit

STATES: tuple[State, ...] = get_args(State)
STEPS: tuple[Step, ...] = get_args(Step)


@given(st.lists(st.sampled_from(STEPS), max_size=30))
def test_any_steps_lead_to_a_state_or_are_refused(steps: list[Step]) -> None:
    state: State = "discovered"
    began = ended = 0
    for step in steps:
        if not may(state, step):
            with pytest.raises(IllegalStep, match=state):
                advance(state, step)
            continue
        before, state = state, advance(state, step)
        began += state == "starting"
        ended += before not in AT_REST and state in AT_REST
        assert state in STATES
    assert began - ended == (state not in AT_REST), "every start has one end"


def test_running_is_reached_by_starting_alone() -> None:
    ways = {
        state
        for state in STATES
        for step in STEPS
        if may(state, step) and advance(state, step) == "running"
    }
    assert ways == {"starting"}


def test_one_that_runs_comes_to_rest_by_stopping_alone() -> None:
    assert [step for step in STEPS if may("running", step)] == ["stop"]
    assert {advance("stopping", step) for step in STEPS if may("stopping", step)} == {
        "stopped",
        "failed",
    }


@pytest.mark.parametrize("state", sorted(AT_REST))
def test_from_rest_a_start_is_always_possible(state: State) -> None:
    assert advance(state, "start") == "starting"
