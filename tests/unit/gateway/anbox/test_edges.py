"""Tokens as they are spelled, and whose pages may call."""

from __future__ import annotations

import contextlib
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.requests import Request

from downstage.gateway.dialects.anbox.auth import given_token
from downstage.gateway.dialects.anbox.origins import Origins
from downstage.kernel.errors import InvalidToken, Unauthenticated

pytestmark = pytest.mark.unit

PAGE = "https://page.example"


def request(*headers: tuple[str, str], query: str = "") -> Request:
    raw = [(name.encode(), value.encode("latin-1", "replace")) for name, value in headers]
    scope: dict[str, Any] = {
        "type": "http", "method": "GET", "path": "/1.0/sessions", "headers": raw,
        "query_string": query.encode(),
    }  # fmt: skip
    return Request(scope)


@pytest.mark.parametrize(
    "spelled",
    [
        "macaroon root=abc.def",
        "Macaroon root=abc.def",
        "MACAROON  ROOT=abc.def",
        'macaroon root="abc.def"',
        "Bearer abc.def",
        "bearer abc.def",
    ],
)
def test_line_04_a_token_in_every_spelling(spelled: str) -> None:
    assert given_token(request(("authorization", spelled))) == "abc.def"
    assert given_token(request(("authorization", spelled), query="api_token=other")) == "abc.def"


def test_a_token_in_the_query_counts_where_there_is_no_header() -> None:
    assert given_token(request(query="api_token=abc")) == "abc"
    for query in ("api_token=a&api_token=b", "api_token="):
        with pytest.raises((InvalidToken, Unauthenticated)):
            given_token(request(query=query))


@pytest.mark.parametrize(
    "headers",
    [
        [("authorization", "Macaroon abc")],
        [("authorization", "Basic abc")],
        [("authorization", "Macaroon root=")],
        [("authorization", "Bearer")],
        [("authorization", "Bearer a"), ("authorization", "Bearer b")],
        [("authorization", "Bearer " + "x" * 9000)],
    ],
)
def test_what_is_no_token_is_refused(headers: list[tuple[str, str]]) -> None:
    with pytest.raises(InvalidToken):
        given_token(request(*headers))


@given(st.text(max_size=80))
def test_whatever_stands_there_is_a_token_or_refused(text: str) -> None:
    with contextlib.suppress(InvalidToken, Unauthenticated):
        assert given_token(request(("authorization", text)))


@pytest.mark.parametrize("listed", [{PAGE}, {PAGE, "*"}])
def test_A04_only_listed_pages_may_read_and_never_with_credentials(listed: set[str]) -> None:
    origins = Origins(frozenset(listed))
    mine = request(("origin", PAGE))
    assert origins.headers(mine)["access-control-allow-origin"] == PAGE
    assert origins.allows(mine) is True
    assert "POST" in origins.preflight(mine, ["POST"])["access-control-allow-methods"]
    for headers in (
        [("origin", "https://evil.example")],
        [("origin", "null")],
        [("origin", PAGE), ("origin", PAGE)],
        [],
    ):
        theirs = request(*headers)
        assert not origins.allows(theirs)
        for found in (origins.headers(theirs), origins.preflight(theirs, ["POST"])):
            assert found == {"vary": "origin"}
    for found in (origins.headers(mine), origins.preflight(mine, ["POST"])):
        assert "access-control-allow-credentials" not in found
