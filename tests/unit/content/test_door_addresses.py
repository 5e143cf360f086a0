"""From requests to paths, numbers, conditions: one reading, or a refusal."""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.content import names
from downstage.content.dialects.addresses import (
    condition_of,
    etags_of,
    flag_of,
    number_of,
    path_of,
    query_of,
    text_of,
)
from downstage.content.model import ANY, Condition
from downstage.kernel.errors import BadUrl, InvalidField, InvalidInput, RangeNotSatisfiable
from downstage.services.ranges import one_range

pytestmark = pytest.mark.unit

PREFIX = "/v1/files"


def scope(raw: bytes, **more: Any) -> Any:
    return {"raw_path": raw, "path": "", **more}


@given(st.binary(max_size=60))
def test_C01_whatever_is_sent_stays_below_the_root_or_is_refused(raw: bytes) -> None:
    try:
        path = path_of(scope(b"/v1/files/" + raw), PREFIX)
        parts = names.parse(path)
    except BadUrl:
        return
    assert all(part not in ("", ".", "..") and "/" not in part for part in parts)


@given(st.text(st.characters(exclude_characters="/\\\0", exclude_categories=["Cs"]), min_size=1))
def test_a_name_that_was_quoted_once_comes_back(name: str) -> None:
    raw = b"/v1/files/" + quote(name, safe="").encode()
    assert path_of(scope(raw), PREFIX) == f"/{name}"


@pytest.mark.parametrize("raw", [b"/v1/%66iles/a", b"/v1/fil", b"", b"/V1/files/a"])
def test_T07_a_prefix_in_disguise_is_refused(raw: bytes) -> None:
    with pytest.raises(BadUrl):
        path_of({"raw_path": raw or b"/", "path": "/v1/files/a"}, PREFIX)


def test_without_the_path_as_sent_nothing_is_decoded_twice() -> None:
    assert path_of({"path": "/v1/files/100%25"}, PREFIX) == "/100%25"
    assert path_of({"path": "/v1/files"}, PREFIX) == "/"


@pytest.mark.parametrize(
    ("raw", "found"),
    [
        (b"", {}),
        (b"&3", {"checkpoint": "3"}),
        (b"checkpoint=3&stat", {"checkpoint": "3", "stat": ""}),
        (b"a=%C3%BC", {"a": "ü"}),
    ],
)
def test_queries(raw: bytes, found: dict[str, str]) -> None:
    assert query_of(raw) == found


@pytest.mark.parametrize("raw", [b"a=%ff", b"\xff", b"a=" + b"1" * 5000])
def test_queries_out_of_form(raw: bytes) -> None:
    with pytest.raises(InvalidInput):
        query_of(raw)


def test_numbers_and_flags() -> None:
    assert number_of({"n": "7"}, "n", 1) == 7
    assert number_of({}, "n", 1) == 1
    for text in ("-1", "²", "1" * 16, "1.0", str(2**53 + 1)):
        with pytest.raises(InvalidField):
            number_of({"n": text}, "n", 1)
    assert [flag_of({"f": text}, "f") for text in ("", "1", "0", "false", "No")] == [
        True, True, False, False, False,
    ]  # fmt: skip
    assert (flag_of({}, "f"), flag_of({}, "f", default=True)) == (False, True)


def test_conditions() -> None:
    assert condition_of([]) is ANY
    assert condition_of([(b"if-match", b'"a", W/"b"')]) == Condition(if_match=("a", "b"))
    assert condition_of([(b"if-match", b"*")]) == Condition(if_match_any=True)
    assert condition_of([(b"if-none-match", b" * ")]) == Condition(if_none_match_any=True)
    two = [(b"if-none-match", b'"a"'), (b"if-none-match", b'"b"')]
    assert condition_of(two) == Condition(if_none_match=("a", "b"))


@pytest.mark.parametrize("text", [b"a", b'"a', b'"a" "b"', b'"a"x', b",".join([b'"a"'] * 65)])
def test_etags_out_of_form(text: bytes) -> None:
    with pytest.raises(InvalidInput):
        etags_of(text)


def test_text_in_a_header() -> None:
    assert (text_of(None), text_of(b"plain"), text_of("Größe".encode())) == ("", "plain", "Größe")
    assert text_of(b"Gr%C3%B6%C3%9Fe") == "Größe"
    with pytest.raises(InvalidInput):
        text_of(b"%ff")


@given(st.text("bytes=-0123456789, \u00b2", max_size=30), st.integers(0, 2**40))
def test_T01_a_range_is_inside_of_the_file_or_refused(text: str, size: int) -> None:
    try:
        found = one_range(text, size)
    except RangeNotSatisfiable:
        return
    if found is not None:
        assert 0 <= found[0] < found[1] <= size
