"""Batches: both readings of a header, every form of it, and every way to get it wrong."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.kernel.errors import BadFrame, BadId
from downstage.streams.framing import (
    MAX_ENTRIES,
    MAX_HEADER,
    bounds_of,
    cut,
    join,
    read_rows,
)

pytestmark = pytest.mark.unit

names = st.text(min_size=1, max_size=20)
batches = st.lists(st.tuples(names, st.binary(max_size=64)), min_size=1, max_size=50)


def cut_all(
    header: object, body: bytes, streams: tuple[str, ...] | None = None, **options: Any
) -> list[tuple[str, bytes, bytes]]:
    text = header if isinstance(header, str) else json.dumps(header)
    items = cut(read_rows(text), body, streams, **options)
    return [(stream, id_, bytes(data)) for stream, id_, data in items]


@given(batches)
def test_cut_undoes_join(batch: list[tuple[str, bytes]]) -> None:
    header, body = join(batch)
    assert cut_all(header, body) == [(stream, b"*", data) for stream, data in batch]


@given(batches)
def test_starts_are_read_as_well_where_the_ends_are_not_empty(
    batch: list[tuple[str, bytes]],
) -> None:
    starts, at = list[tuple[str, int]](), 0
    for stream, data in batch:
        starts.append((stream, at))
        at += len(data)
    body = b"".join(data for _, data in batch)
    wanted = [(stream, b"*", data) for stream, data in batch]
    assert cut_all(starts, body, offsets="start") == wanted
    if batch[-1][1]:
        assert cut_all(starts, body) == wanted


@given(st.text() | st.binary(), st.binary(max_size=64), st.sampled_from([None, "start", "end"]))
def test_any_input_is_cut_or_refused(header: str | bytes, body: bytes, offsets: Any) -> None:
    try:
        items = cut(read_rows(header), body, None, offsets=offsets)
    except (BadFrame, BadId):
        return
    assert b"".join(bytes(data) for _, _, data in items) == body


marks = st.none() | st.booleans() | st.floats() | st.integers() | names
rows = st.lists(marks | st.lists(marks | st.lists(marks), max_size=4), max_size=6)


@given(rows, st.binary(max_size=8), st.sampled_from([None, ("a",), ("a", "b")]))
def test_any_json_is_cut_or_refused(rows: Any, body: bytes, streams: Any) -> None:
    header = json.dumps(rows)
    try:
        items = cut(read_rows(header), body, streams)
    except (BadFrame, BadId):
        return
    assert len(items) == len(rows)
    assert b"".join(bytes(data) for _, _, data in items) == body


@given(
    st.lists(st.integers(-2, 9), max_size=6),
    st.integers(0, 8),
    st.sampled_from(["start", "end", None]),
)
def test_bounds_cover_the_message_in_order(marks: list[int], size: int, offsets: Any) -> None:
    try:
        bounds = bounds_of(marks, size, offsets)
    except BadFrame:
        assert (
            marks != sorted(marks)
            or not marks
            or marks[0] < 0
            or marks[-1] > size
            or (marks[0] if offsets == "start" else marks[-1] != size)
        )
        return
    assert bounds == sorted(bounds)
    assert (bounds[0], bounds[-1], len(bounds)) == (0, size, len(marks) + 1)


@pytest.mark.parametrize(
    ("marks", "size", "bounds"),
    [
        pytest.param([3, 5], 5, [0, 3, 5], id="ends"),
        pytest.param([0, 3], 5, [0, 3, 5], id="starts"),
        pytest.param([0, 5], 5, [0, 0, 5], id="both fit: an empty first entry"),
        pytest.param([5], 5, [0, 5], id="one end"),
        pytest.param([0], 5, [0, 5], id="one start"),
        pytest.param([0], 0, [0, 0], id="one empty"),
        pytest.param([0, 0], 0, [0, 0, 0], id="all empty"),
        pytest.param([], 0, [0], id="nothing"),
    ],
)
def test_starts_are_told_from_ends(marks: list[int], size: int, bounds: list[int]) -> None:
    assert bounds_of(marks, size) == bounds


def test_a_client_may_say_which_it_means() -> None:
    header, body = [["a", 0], ["b", 5]], b"abcde"
    assert [row[2] for row in cut_all(header, body)] == [b"", body]
    assert [row[2] for row in cut_all(header, body, offsets="end")] == [b"", body]
    assert [row[2] for row in cut_all(header, body, offsets="start")] == [body, b""]


@pytest.mark.parametrize(
    ("header", "streams", "wanted"),
    [
        pytest.param([["x", 1], ["x", 2]], ("a",), ["a", "a"], id="the path wins"),
        pytest.param([["b", 1], ["b", 2]], ("a", "b"), ["b", "b"], id="one of the path"),
        pytest.param([1, 2], ("a",), ["a", "a"], id="marks alone"),
        pytest.param([1, 2], ("a", "b"), ["a", "b"], id="dealt in turn"),
        pytest.param([["é ü", 1], ["b", 2]], None, ["é ü", "b"], id="the header names them"),
    ],
)
def test_whose_entry_it_is(header: Any, streams: Any, wanted: list[str]) -> None:
    assert [row[0] for row in cut_all(header, b"12", streams)] == wanted


def test_ids_may_be_given() -> None:
    header = [["a", "5", 1], ["a", "5-7", 2], ["a", "9-*", 3], ["a", 11, 4], ["a", "*", 5]]
    ids = [row[1] for row in cut_all([*header, ["a", "", 6]], b"123456")]
    assert ids == [b"5", b"5-7", b"9-*", b"11", b"*", b"*"]


def test_entries_are_views() -> None:
    body = b"0123456789"
    items = cut(read_rows('[["a", 4], ["b", 10]]'), body, None)
    assert [item[2].obj for item in items if isinstance(item[2], memoryview)] == [body, body]
    assert cut(read_rows('[["a", 10]]'), body, None)[0][2] is body


@pytest.mark.parametrize(
    "header",
    [
        pytest.param('[["a", -1]]', id="negative"),
        pytest.param('[["a", 0], ["b", 3], ["c", 2]]', id="decreasing starts"),
        pytest.param('[["a", 3], ["b", 2], ["c", 4]]', id="decreasing ends"),
        pytest.param('[["a", 5]]', id="past the message"),
        pytest.param('[["a", 0], ["b", 5]]', id="a start past it"),
        pytest.param('[["a", 1]]', id="a hole at the end"),
        pytest.param('[["a", true], ["b", 4]]', id="bool"),
        pytest.param('[["a", false]]', id="bool that is 0"),
        pytest.param('[["a", 4.0]]', id="float"),
        pytest.param('[["a", 1e1]]', id="exponent"),
        pytest.param('[["a", "4"]]', id="text"),
        pytest.param('[["a", null]]', id="null"),
        pytest.param('[["a", 99999999999999999999999999]]', id="huge"),
        pytest.param("[4.0]", id="float alone"),
        pytest.param("[true]", id="bool alone"),
        pytest.param('[[4]]', id="a row of one"),
        pytest.param('[["a", "1-1", 2, 4]]', id="a row of four"),
        pytest.param("[[]]", id="an empty row"),
        pytest.param('[[null, 4]]', id="no name"),
        pytest.param('[["", 4]]', id="an empty name"),
        pytest.param("[4]", id="no name at all"),
        pytest.param("[]", id="no entries"),
        pytest.param('{"a": 4}', id="an object"),
        pytest.param("4", id="a number"),
        pytest.param('[["a", 4]', id="cut off"),
        pytest.param('[["a", NaN]]', id="NaN"),
        pytest.param("", id="nothing"),
        pytest.param("[" * 100_000, id="nesting bomb"),
        pytest.param('{"a":' * 40_000, id="nesting bomb of objects"),
        pytest.param('[["a", ' + "[" * 50_000 + "]" * 50_000 + "]]", id="closed nesting bomb"),
        pytest.param(json.dumps([["a", 0]] * (MAX_ENTRIES + 1)), id="4,097 entries"),
        pytest.param(json.dumps([["a", "*", 0]] * (MAX_ENTRIES + 1)), id="4,097 with ids"),
        pytest.param("[" + " " * MAX_HEADER + "]", id="too long"),
    ],
)  # fmt: skip
def test_C08_bad_headers_are_refused(header: str) -> None:
    with pytest.raises(BadFrame):
        cut(read_rows(header), b"1234", None)


@pytest.mark.parametrize(
    "id_", ["x", "-1", "1-", "1-x", "0", "0-0", 1.5, True, None, [], "1" * 30, "1-2-3", "²", -4]
)
def test_C08_bad_ids_are_refused(id_: Any) -> None:
    with pytest.raises(BadId):
        read_rows(json.dumps([["a", id_, 4]]))


def test_C08_most_entries_are_taken() -> None:
    assert len(cut_all([["a", 0]] * MAX_ENTRIES, b"")) == MAX_ENTRIES


def test_a_name_beside_the_path_is_refused() -> None:
    with pytest.raises(BadFrame, match="path"):
        cut_all([["c", 1]], b"1", ("a", "b"))
