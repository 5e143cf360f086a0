"""So many connections in all, and so many of one address; who goes makes room (T06)."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.services.crowd import Crowd, Visit

pytestmark = pytest.mark.unit


def test_T06_one_address_does_not_keep_the_others_out() -> None:
    crowd = Crowd(4, 2)
    first = crowd.enter("192.0.2.1")
    assert first is not None
    assert crowd.enter("192.0.2.1")
    assert not crowd.enter("192.0.2.1")
    assert crowd.enter("192.0.2.2")
    assert crowd.enter("192.0.2.3")
    assert not crowd.enter("192.0.2.4"), "there are as many as may be"
    first.leave()
    first.leave()
    assert crowd.enter("192.0.2.1")
    assert not crowd.enter("192.0.2.1")


@pytest.mark.parametrize(
    ("one", "other", "is_same"),
    [
        ("2001:db8::1", "2001:db8::ffff:1", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::ffff:192.0.2.1", "192.0.2.1", True),
        ("::ffff:192.0.2.1", "::ffff:192.0.2.2", False),
        ("fe80::1%eth0", "fe80::1%eth0", True),
    ],
)
def test_T06_a_network_is_one_where_it_is_one_customers(
    one: str, other: str, is_same: bool
) -> None:
    crowd = Crowd(10, 1)
    assert crowd.enter(one)
    assert (crowd.enter(other) is None) is is_same


@given(st.lists(st.one_of(st.sampled_from("abc"), st.integers(0, 4)), max_size=60))
def test_what_went_is_not_counted(steps: list[str | int]) -> None:
    crowd, there = Crowd(5, 3), list[tuple[str, Visit]]()
    for step in steps:
        if isinstance(step, int):
            if step < len(there):
                there.pop(step)[1].leave()
        elif (visit := crowd.enter(step)) is not None:
            there.append((step, visit))
        assert len(crowd) == len(there) <= 5
        assert all(sum(name == one for name, _ in there) <= 3 for one in "abc")
