"""Terms: what a session agreed with who asked for it."""

from __future__ import annotations

from datetime import timedelta

import pytest

from downstage.gateway.states import Policy
from downstage.gateway.terms import Terms

pytestmark = pytest.mark.unit

POLICY = Policy()


def test_they_are_read_as_they_were_written() -> None:
    terms = Terms(ends_when_left=True, patience_s=300)
    assert Terms.of({"else": 1, **terms.dump()}) == terms
    assert Terms.of({}) == Terms()


def test_nothing_agreed_is_as_the_settings_say() -> None:
    assert Terms(ends_when_left=True).policy(POLICY) is POLICY


def test_patience_is_for_who_was_cut_off_and_shortens_nothing_else() -> None:
    short = Terms(patience_s=10).policy(POLICY)
    assert short.resume == timedelta(seconds=10)
    assert (short.connect, short.idle) == (POLICY.connect, POLICY.idle)
    long = Terms(patience_s=7200).policy(POLICY)
    assert long.resume == long.connect == long.idle == timedelta(hours=2)


def test_patience_without_end_ends_with_the_longest_life() -> None:
    endless = Terms(patience_s=0).policy(POLICY)
    assert endless.resume == endless.idle == endless.connect == POLICY.maximum
