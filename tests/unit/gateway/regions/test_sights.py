"""What is known of regions: who is fresh, who is silent, who came back."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import pytest

from downstage.contracts.agent import Announcement
from downstage.gateway.regions.sights import FORGET_S, MAX_AGENTS, Counts, Sights

pytestmark = pytest.mark.unit

AT = datetime(2026, 1, 1, tzinfo=UTC)


def told(agent: str = "a", region: str = "eu", **more: Any) -> Announcement:
    facts: dict[str, Any] = {"capacity": 4, "free": 3, "interval_s": 2.0, **more}
    return Announcement(agent=agent, region=region, at=AT, **facts)


def test_an_agent_is_silent_after_three_intervals() -> None:
    sights = Sights()
    assert sights.note(told(), 100.0)
    assert sights.facts("eu", 106.0).answering
    silent = sights.facts("eu", 106.5)
    assert (silent.answering, silent.free, silent.capacity) == (False, 0, 4)
    assert silent.why is not None
    assert "nothing for 6 s" in silent.why
    assert sights.counts(106.5) == Counts(1, 1)
    assert sights.names() == {"eu"}


def test_back_is_news_and_going_on_is_none() -> None:
    sights = Sights()
    assert sights.note(told(), 100.0)
    assert not sights.note(told(), 102.0)
    assert sights.note(told(), 110.0)
    assert sights.note(told("b"), 111.0), "a new agent: what was told before it came was lost"


def test_a_manager_that_is_away_is_said() -> None:
    sights = Sights()
    sights.note(told(), 100.0)
    sights.note(told(state="no-manager", free=0), 102.0)
    facts = sights.facts("eu", 102.0)
    assert not facts.answering
    assert facts.why is not None
    assert "manager does not answer" in facts.why
    assert sights.counts(102.0) == Counts(1, 0), "the agent itself is well"
    assert sights.note(told(), 104.0)


def test_one_of_two_agents_may_go() -> None:
    sights = Sights()
    sights.note(told("a"), 100.0)
    sights.note(told("b", free=2), 101.0)
    assert sights.counts(101.0) == Counts(2, 0)
    sights.note(told("b", free=1), 120.0)
    assert sights.facts("eu", 120.0).answering
    assert sights.counts(120.0) == Counts(2, 1)
    sights.note(told("b"), 121.0)
    assert sights.counts(121.0) == Counts(1, 0), "one that was replaced is forgotten after a while"


def test_one_that_is_stopped_is_not_unresponsive() -> None:
    sights = Sights()
    sights.note(told(), 100.0)
    sights.note(told(state="leaving"), 101.0)
    assert sights.counts(101.0) == Counts(0, 0)
    assert sights.facts("eu", 101.0).why == "its agent was stopped"
    assert sights.note(told(), 102.0)


def test_a_region_is_forgotten_in_the_end() -> None:
    sights = Sights()
    sights.note(told(), 100.0)
    sights.note(told("x", "us"), 100.0 + FORGET_S + 1)
    assert sights.names() == {"us"}
    assert not sights.facts("eu", 5000.0).answering


def test_a_region_that_refused_is_full_until_it_says_otherwise() -> None:
    sights = Sights()
    sights.note(told(), 100.0)
    sights.fill("eu")
    sights.fill("nowhere")
    assert sights.facts("eu", 100.0).free == 0
    sights.note(told(free=1), 101.0)
    assert sights.facts("eu", 101.0).free == 1


def test_strangers_cannot_fill_the_memory() -> None:
    sights = Sights()
    for number in range(MAX_AGENTS + 50):
        sights.note(told(f"a{number}", f"r{number}"), 100.0 + number / 1000)
    assert len(sights.names()) == MAX_AGENTS
    assert "r0" not in sights.names()
