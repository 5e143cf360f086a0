"""How many entries of a stream are kept where bytes are bounded."""

from __future__ import annotations

from collections import deque
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.settings import Settings
from downstage.streams.model import Retention
from downstage.streams.retention import BLOCKS, PER_ENTRY, Account, Bounds, bounds

pytestmark = pytest.mark.unit


def test_a_stream_keeps_what_it_says_else_what_the_platform_says() -> None:
    settings = Settings.model_validate({"streams": {"keep_count": 7, "keep_age": "PT1M"}}).streams
    assert bounds(Retention(), settings) == Bounds(7, settings.keep_bytes, 60_000, refuse=False)
    own = Retention(3, 1000, timedelta(seconds=2), "refuse-new")
    assert bounds(own, settings) == Bounds(3, 1000, 2000, refuse=True)


def test_few_small_entries_are_bounded_by_number_alone() -> None:
    account = Account(Bounds(100, 10_000, 0, refuse=False))
    assert not account.add(50, 50 * 10)
    assert account.keep == 100


@given(
    st.lists(st.tuples(st.integers(1, 40), st.integers(0, 3000)), min_size=1, max_size=300),
    st.integers(1, 400),
    st.integers(1000, 200_000),
)
def test_what_is_kept_fits_about(appended: list[tuple[int, int]], count: int, most: int) -> None:
    """Against a model that knows the size of every entry.

    What is told to be kept takes at most the bytes, and a block or one entry more; and where that
    leaves out what would have fitted, that is a block at most.
    """
    account = Account(Bounds(count, most, 0, refuse=False))
    stored: deque[int] = deque()
    for entries, size in appended:
        account.add(entries, entries * size)
        stored.extend([size + PER_ENTRY] * entries)
        keep = account.keep
        assert 1 <= keep <= count
        while len(stored) > keep:
            stored.popleft()
        slack = most / BLOCKS + max(40 * (size + PER_ENTRY), 40 * 3024)
        assert sum(stored) <= most + slack


def test_an_account_begins_with_what_is_stored() -> None:
    account = Account(Bounds(1000, 10_000, 0, refuse=False))
    account.start(100, 20_000)
    assert account.keep == 50
    account.add(10, 0)
    assert account.keep <= 60
