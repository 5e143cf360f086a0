"""Places in streams, pages that may ask, answers that say what went wrong."""

from __future__ import annotations

import json
from typing import Any

import anyio
import pytest
from starlette.exceptions import HTTPException
from starlette.requests import Request

from downstage.kernel.errors import (
    BadId,
    Forbidden,
    InvalidField,
    InvalidToken,
    NotFound,
    TooMany,
    Unauthenticated,
)
from downstage.streams.callers import Callers
from downstage.streams.dialects.ptg.answering import header_of, last_ids
from downstage.streams.dialects.ptg.answers import Json, refusal
from downstage.streams.dialects.ptg.cursors import read_cursors
from downstage.streams.dialects.ptg.door import Door
from downstage.streams.dialects.ptg.screen import Screen
from downstage.streams.dialects.ptg.sessions import base36
from downstage.streams.model import EntryId
from downstage.streams.reading import LAST, NEWEST, Delivery

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HOME = "http://localhost:7890"


def test_places_are_given_for_all_or_for_each() -> None:
    assert read_cursors(["a", "b", "c"], "5+*") == {"a": EntryId(5), "b": NEWEST, "c": EntryId(5)}
    assert read_cursors(["a", "b"], "$ 7-3") == {"a": LAST, "b": EntryId(7, 3)}
    assert read_cursors(["a"], "-") == {"a": NEWEST}
    assert read_cursors(["a"], "1+2") == {"a": EntryId(1)}
    for wrong in ("x", "1-", "-1", "1.5", "0x1", "$$", "9" * 21):
        with pytest.raises(BadId):
            read_cursors(["a"], wrong)
    for nothing in ("", "+", " "):
        with pytest.raises(InvalidField):
            read_cursors(["a"], nothing)


def test_a_header_says_where_entries_begin_and_where_to_go_on() -> None:
    entries = [("a", EntryId(1), b"xy"), ("a", EntryId(2, 1), b""), ("b", EntryId(3), b"z")]
    assert json.loads(header_of(entries)) == [["a", "1-0", 0], ["a", "2-1", 2], ["b", "3-0", 2]]
    cursors = {"a": NEWEST, "b": LAST, "c": EntryId(9), "d": NEWEST}
    assert last_ids(cursors, entries) == "2-1+3-0+9-0+0"


def request(method: str, **headers: str) -> Request:
    raw = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request(
        {"type": "http", "method": method, "headers": raw, "path": "/", "query_string": b""}
    )


@pytest.fixture
def door() -> Door:
    callers: Any = Callers
    return Door(callers(None, None, frozenset({HOME})), frozenset({HOME}))


@pytest.mark.parametrize(
    ("method", "headers"),
    [
        pytest.param("POST", {}, id="no browser"),
        pytest.param("POST", {"origin": HOME, "sec_fetch_site": "same-origin"}, id="our page"),
        pytest.param("PUT", {"origin": HOME, "sec_fetch_site": "same-site"}, id="a listed page"),
        pytest.param(
            "GET", {"origin": "https://evil", "sec_fetch_site": "cross-site"}, id="a read"
        ),
        pytest.param("POST", {"origin": "https://x", "authorization": "Bearer t"}, id="a token"),
        pytest.param("POST", {"sec_fetch_site": "none"}, id="typed by hand"),
    ],
)
def test_A03_who_may_change(door: Door, method: str, headers: dict[str, str]) -> None:
    door.check_page(request(method, **headers))


@pytest.mark.parametrize(
    "headers",
    [
        pytest.param({"origin": "https://evil"}, id="another page"),
        pytest.param({"origin": "null"}, id="a page of nowhere"),
        pytest.param({"origin": f"{HOME}.evil.example"}, id="suffix trick"),
        pytest.param({"sec_fetch_site": "cross-site"}, id="cross-site"),
        pytest.param({"sec_fetch_site": "same-site"}, id="another port"),
        pytest.param({"sec_fetch_site": "same-origin", "sec_fetch_mode": "no-cors"}, id="no-cors"),
        pytest.param(
            {"origin": HOME, "sec_fetch_mode": "no-cors", "sec_fetch_site": "cross-site"},
            id="no-cors from elsewhere",
        ),
    ],
)
def test_A03_a_page_of_somebody_else_changes_nothing(door: Door, headers: dict[str, str]) -> None:
    for method in ("POST", "PUT", "DELETE", "PATCH"):
        with pytest.raises(Forbidden):
            door.check_page(request(method, **headers))
    assert door.callers.refused["page"] == 4


def test_A04_only_listed_pages_may_read(door: Door) -> None:
    mine = door.cors(request("GET", origin=HOME))
    assert mine["access-control-allow-origin"] == HOME
    assert mine["access-control-allow-credentials"] == "true"
    for other in ({"origin": "https://evil"}, {"origin": "null"}, {}):
        assert door.cors(request("GET", **other)) == {"vary": "origin"}
        assert door.preflight(request("OPTIONS", **other)) == {"vary": "origin"}


@pytest.mark.parametrize(
    ("error", "status", "detail"),
    [
        (Unauthenticated("Sign in."), 401, "Not authenticated"),
        (InvalidToken(), 401, "The token is not valid."),
        (NotFound("There is no such thing."), 404, "There is no such thing."),
        (HTTPException(400, "no such key"), 400, "no such key"),
        (TooMany("Slowly.", retry_after_s=7), 429, "Slowly."),
    ],
)
def test_errors_are_a_detail(error: Exception, status: int, detail: str) -> None:
    answer = refusal(error)
    assert answer.status_code == status
    assert json.loads(bytes(answer.body)) == {"detail": detail}
    if status == 401:
        assert answer.headers["www-authenticate"] == "Bearer"
    if status == 429:
        assert answer.headers["retry-after"] == "7"


def test_a_field_that_is_wrong_is_told_as_validation_tells_it() -> None:
    said = json.loads(bytes(refusal(BadId("last_entry_id", "No id.")).body))["detail"]
    assert said == [
        {"loc": ["query", "last_entry_id"], "msg": "No id.", "type": "value_error.bad-id"}
    ]


def test_any_text_can_be_answered() -> None:
    assert Json({"a": "\ud800é"}).body == b'{"a":"\\ud800\\u00e9"}'


def test_base_36() -> None:
    for number in (0, 1, 35, 36, 1_700_000_000):
        assert int(base36(number), 36) == number


async def test_a_slow_reader_of_pictures_is_shown_the_newest() -> None:
    screen = Screen(latest=True)
    drained: list[int] = []
    screen.on_drained = lambda: drained.append(1)
    assert await screen.take(0) is None
    for number in range(3):
        assert screen.ready()
        screen.deliver(Delivery((("cam", b"%d-0" % number, b"x" * 10),)))
    assert screen.buffered() == 10
    found = await screen.take(1)
    assert found is not None
    assert found.rows[0][1] == b"2-0"
    assert (screen.buffered(), drained) == (0, [1])
    screen.failed(NotFound("Gone."))
    with pytest.raises(NotFound):
        await screen.take(1)


async def test_a_reader_of_all_holds_back_what_comes_next() -> None:
    screen = Screen(latest=False)
    screen.deliver(Delivery((("cam", b"1-0", b"x"),)))
    assert not screen.ready()
    with anyio.fail_after(5):
        await screen.take(1)
    assert screen.ready()
