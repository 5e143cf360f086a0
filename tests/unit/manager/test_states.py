"""The instance's state machine: whatever comes in whatever order, its promises hold."""

from __future__ import annotations

from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.manager.states import (
    STAGES,
    STATES,
    Instance,
    ask_to_end,
    has_ended_by,
    learn,
    lose,
)
from downstage.spawners.plan import Phase, Report, Stage

pytestmark = pytest.mark.unit

texts = st.none() | st.text(max_size=3000)
reports = st.builds(
    Report,
    instance_id=st.just("i-1"),
    phase=st.sampled_from(get_args(Phase)),
    stage=st.sampled_from(get_args(Stage)),
    reason=st.none() | st.sampled_from(["stopped", "never-drew", "application-exited"]),
    detail=texts,
    exit_code=st.none() | st.integers(0, 255),
    isolated=st.booleans(),
)
steps = st.one_of(
    reports.map(lambda report: lambda it: learn(it, report)),
    st.sampled_from(["stopped", "expired"]).map(lambda why: lambda it: ask_to_end(it, why)),
    (st.none() | reports).map(lambda report: lambda it: lose(it, report)),
    st.just(lambda it: has_ended_by(it, "start-failed", "no")),
)


@given(st.lists(steps, max_size=20))
def test_whatever_happens_nothing_is_taken_back(doings: list[object]) -> None:
    before = Instance()
    for do in doings:
        after = do(before)  # type: ignore[operator]
        assert STATES.index(after.state) >= STATES.index(before.state)
        assert STAGES.index(after.stage) >= STAGES.index(before.stage)
        assert before.reason is None or after.reason == before.reason
        assert after.revision == before.revision + (after != before)
        if before.state == "ended":
            assert after is before
        if before.state != "ending" and after.state in ("starting", "running"):
            assert after.reason is None
        assert len(after.detail or "") <= 2000
        before = after


@given(reports)
def test_the_same_report_twice_is_one_change(report: Report) -> None:
    once = learn(Instance(), report)
    assert learn(once, report) is once


def test_a_picture_makes_it_run() -> None:
    after = learn(Instance(), Report("i-1", phase="running", stage="running"))
    assert (after.state, after.stage, after.revision) == ("running", "running", 2)


def test_the_reason_asked_for_stays() -> None:
    asked = ask_to_end(Instance(), "expired")
    told = learn(asked, Report("i-1", phase="ended", reason="application-exited", exit_code=3))
    assert (told.state, told.reason, told.exit_code) == ("ended", "expired", 3)


def test_asking_twice_changes_nothing() -> None:
    asked = ask_to_end(Instance(), "stopped")
    assert ask_to_end(asked, "expired") is asked


def test_a_lost_one_says_so_and_what_to_do() -> None:
    lost = lose(Instance(state="running"), Report("i-1", phase="running"))
    assert (lost.state, lost.reason) == ("ended", "lost")
    assert "Start it again" in (lost.detail or "")


def test_one_that_ended_while_nobody_listened_keeps_its_own_reason() -> None:
    left = Report("i-1", phase="ended", reason="abandoned", detail="gone")
    assert lose(Instance(), left).reason == "abandoned"


def test_one_that_was_ending_when_its_keeper_died_keeps_its_reason() -> None:
    assert lose(ask_to_end(Instance(), "stopped"), None).reason == "stopped"
    left = Report("i-1", phase="ending", reason="never-drew", detail="why")
    assert (lose(Instance(), left).reason, lose(Instance(), left).detail) == ("never-drew", "why")


def test_one_that_never_came_to_be() -> None:
    after = has_ended_by(Instance(), "start-failed", "no keeper")
    assert (after.state, after.reason, after.detail) == ("ended", "start-failed", "no keeper")


def test_a_detail_says_how_far_the_image_has_come_and_then_goes() -> None:
    pulling = learn(Instance(), Report("i-1", stage="pulling", detail="app: 30 %"))
    assert (pulling.stage, pulling.detail) == ("pulling", "app: 30 %")
    more = learn(pulling, Report("i-1", stage="pulling", detail="app: 31 %"))
    assert (more.detail, more.revision) == ("app: 31 %", pulling.revision + 1)
    assert learn(more, Report("i-1", stage="display")).detail is None
    assert "keeper" in (lose(more, None).detail or "")
    failed = learn(more, Report("i-1", "ended", "pulling", reason="pull-failed", detail="no"))
    assert (failed.reason, failed.detail) == ("pull-failed", "no")
    asked = ask_to_end(more, "deleted")
    assert learn(asked, Report("i-1", stage="pulling", detail="app: 32 %")).detail is None
