"""The If header: its grammar, and when it holds."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.content.dialects.webdav_if import State, holds, read_if, tokens_of
from downstage.kernel.errors import InvalidInput

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

HERE = State("e1", frozenset({"lock:a", "lock:b"}))
GONE = State("", frozenset())


async def state_of(resource: str) -> State:
    return {"": HERE, "/other": State("e2", frozenset({"lock:c"}))}.get(resource, GONE)


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ("", True),
        ("(<lock:a>)", True),
        ("(<lock:c>)", False),
        ("(<lock:a> <lock:b>)", True),
        ("(<lock:a> <lock:c>)", False),
        ("(<lock:c>) (<lock:b>)", True),
        ('(["e1"])', True),
        ('([W/"e1"])', False),
        ('(["e2"])', False),
        ('(Not ["e2"])', True),
        ("(Not <DAV:no-lock>)", True),
        ("(<DAV:no-lock>)", False),
        ('(not <lock:c> ["e1"])', True),
        ("</other> (<lock:c>)", True),
        ("</other> (<lock:a>)", False),
        ("</other> (<lock:a>) </none> (Not <lock:a>)", True),
        ('</none> ([""])', False),
    ],
)
async def test_it_holds_where_one_list_does(header: str, expected: bool) -> None:
    assert await holds(read_if(header), state_of) is expected


@pytest.mark.parametrize(
    "header",
    [
        "(",
        ")",
        "()",
        "(<lock:a>",
        "<lock:a>",
        "(Not)",
        "(Not Not <a>)",
        "([e1])",
        "(<a b>)",
        "(<lock:a>) x",
        "((<a>))",
        "(<a>)" * 65,
        "(<" + "a" * 9000 + ">)",
    ],
)
def test_what_is_out_of_form_is_refused(header: str) -> None:
    with pytest.raises(InvalidInput):
        read_if(header)


@given(st.text(alphabet='()<>[]"NotW/ a:', max_size=60))
def test_any_text_is_read_or_refused(header: str) -> None:
    try:
        found = read_if(header)
    except InvalidInput:
        return
    assert all(item.wanted for item in found)


def test_every_token_counts_as_submitted() -> None:
    header = '(<lock:a> ["e"]) (Not <lock:b>)'
    assert tokens_of(read_if(header)) == {"lock:a", "lock:b"}
