"""Ids that producers give."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadId
from downstage.streams.entry_ids import check_form, follow, read
from downstage.streams.model import AUTO, ZERO, EntryId

pytestmark = pytest.mark.unit
MOST = 2**64 - 1
ids = st.builds(EntryId, st.integers(0, MOST), st.integers(0, MOST))


@pytest.mark.parametrize(
    ("given_id", "expected"),
    [
        (b"5", (EntryId(5), False)),
        (b"5-3", (EntryId(5, 3), False)),
        (b"5-*", (EntryId(5), True)),
        (b"0-*", (EntryId(0), True)),
    ],
)
def test_read(given_id: bytes, expected: tuple[EntryId, bool]) -> None:
    assert read(given_id) == expected


@pytest.mark.parametrize(
    "given_id",
    [
        b"",
        b"x",
        b"-1",
        b"1.5",
        b"1-",
        b"1-x",
        b"0",
        b"0-0",
        b"*-1",
        b"1-2-3",
        b"18446744073709551616",
    ],
)
def test_what_is_no_id(given_id: bytes) -> None:
    with pytest.raises(BadId):
        check_form(given_id)


def test_auto_is_fine() -> None:
    check_form(AUTO)


@given(ids, ids)
def test_only_a_newer_id_follows(last: EntryId, new: EntryId) -> None:
    if new > last and new != ZERO:
        assert follow(last, bytes(new)) == new
    else:
        with pytest.raises(BadId):
            follow(last, bytes(new))


@given(ids, st.integers(0, MOST))
def test_a_half_open_id_follows_in_its_millisecond(last: EntryId, ms: int) -> None:
    given_id = b"%d-*" % ms
    if ms < last.ms or (ms == last.ms and last.seq == MOST):
        with pytest.raises(BadId):
            follow(last, given_id)
        return
    try:
        id_ = follow(last, given_id)
    except BadId:
        assert EntryId(ms) <= last  # 0-* where nothing was: the engine gives 0-1
        return
    assert id_ > last
    assert id_.ms == ms
