"""Lists in pages: every way in which services say that there is more."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstage.services import AsyncClient, BaseServiceError, register
from downstage.services.transports import Answer, Call

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

JSON = {"content-type": "application/json"}


class BoundedCalls(list[Any]):
    """Counts calls without keeping what they said."""

    def append(self, call: Any) -> None:
        del call
        super().append(None)


class Lists:
    """Serves numbers up to `size` in several dialects."""

    size = 7
    calls: list[Call]

    def __init__(self, uri: str, app: Any = None) -> None:
        del uri, app

    async def request(self, call: Call) -> Answer:
        type(self).calls.append(call)
        query = dict(call.query)
        limit = int(query.get("limit", 3))
        at = int(query.get("after", query.get("cursor", query.get("offset", query.get("mark", 0)))))
        found = list(range(self.size))[at : at + limit]
        following = at + limit if at + limit < self.size else None
        body, headers = self.say(call, found, following)
        return Answer(200, {**JSON, **headers}, json.dumps(body).encode())

    def say(  # noqa: PLR0911, PLR0912 - a table of dialects
        self, call: Call, found: list[int], following: int | None
    ) -> tuple[Any, Any]:
        text = None if following is None else str(following)
        match call.path:
            case "/ours":
                return {"items": found, "next": text}, {}
            case "/cursor":
                return {"results": found, "next_cursor": text or ""}, {}
            case "/own":
                return {"items": found, "next": text}, {}
            case "/more":
                return {"data": found, "cursor": text, "has_more": text is not None}, {}
            case "/address":
                return {"items": found, "next": text and f"http://h/base/address?after={text}"}, {}
            case "/link":
                link = f'<?after={text}>; rel="next"' if text else '</x>; rel="prev"'
                return found, {"link": f'</y>; rel="first", {link}'}
            case "/offset":
                return {"things": found, "total": self.size}, {}
            case "/plain":
                return found, {}
            case "/false":
                return {"items": found, "next": text or False}, {}
            case "/long":
                number = len(self.calls)
                link = {"link": f'<?mark=0&at={number:05000}>; rel="next"'}
                return [], link if number < 2000 else {}
            case "/circle":
                return {"items": found, "next": "3"}, {}
            case "/ping_pong" | "/ping-pong":
                return {"items": found, "next": "5" if call.query == (("after", "3"),) else "3"}, {}
            case "/away":
                return found, {"link": '<http://evil/x>; rel="next"'}
            case _:
                return {"a": [], "b": []}, {}


@pytest.fixture
def client() -> Any:
    Lists.calls = []
    Lists.size = 7
    register("http", Lists)
    yield AsyncClient("http://h/base", description=None, token="t")
    from downstage.services import unregister

    unregister("http")


@pytest.mark.parametrize(
    "path",
    ["ours", "cursor", "more", "address", "link", "offset", "plain", "false", "nothing_more"],
)
async def test_all_items_come_once_and_in_order(client: Any, path: str) -> None:
    if path == "nothing_more":
        Lists.size = 0
        path = "ours"
    got = [item async for item in getattr(client, path).get.pages(limit=3, colour="red")]
    assert got == list(range(Lists.size))
    for call in Lists.calls:
        assert call.headers["authorization"] == "Bearer t"
        assert "colour" in dict(call.query) or path in ("address", "link")


async def test_pages_are_asked_for_when_they_are_needed(client: Any) -> None:
    pages = client.ours.get.pages(limit=3)
    assert Lists.calls == []
    assert [await anext(pages) for _ in range(3)] == [0, 1, 2]
    assert len(Lists.calls) == 1
    assert await anext(pages) == 3
    assert len(Lists.calls) == 2
    await pages.aclose()


async def test_the_cursors_parameter_may_be_named(client: Any) -> None:
    got = [item async for item in client.own.get.pages(__cursor__="mark")]
    assert got == list(range(7))
    assert dict(Lists.calls[-1].query) == {"mark": "6"}


async def test_the_description_names_the_cursors_parameter() -> None:
    register("lists", Lists)
    Lists.calls, Lists.size = [], 7
    parameters = [{"name": "cursor", "in": "query", "schema": {"type": "string"}}]
    paths = {"/ours": {"get": {"parameters": parameters, "responses": {}}}}
    client = AsyncClient("lists://h", description={"openapi": "3.1.0", "paths": paths})
    assert [item async for item in client.ours.get.pages()] == list(range(7))
    assert dict(Lists.calls[-1].query) == {"cursor": "6"}


async def test_pages_in_a_circle_are_an_error(client: Any) -> None:
    with pytest.raises(BaseServiceError, match="circle"):
        _ = [item async for item in client.circle.get.pages()]
    assert len(Lists.calls) == 2
    with pytest.raises(BaseServiceError, match="circle"):
        _ = [item async for item in client.ping_pong.get.pages()]
    assert len(Lists.calls) == 5


async def test_long_cursors_are_not_kept(client: Any) -> None:
    Lists.calls = BoundedCalls()
    tracemalloc.start()
    try:
        assert [item async for item in client.long.get.pages()] == []
        most = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert len(Lists.calls) == 2000
    assert most < 6_000_000  # all of them are ten million characters


async def test_a_next_page_elsewhere_is_an_error(client: Any) -> None:
    with pytest.raises(BaseServiceError, match="elsewhere"):
        _ = [item async for item in client.away.get.pages()]
    assert len(Lists.calls) == 1


async def test_what_is_no_list_is_an_error(client: Any) -> None:
    with pytest.raises(BaseServiceError, match="no list"):
        await anext(client.strange.get.pages())


@settings(max_examples=50)
@given(
    st.integers(0, 40), st.integers(1, 9), st.sampled_from(["ours", "cursor", "offset", "plain"])
)
async def test_no_item_is_lost_or_doubled(size: int, limit: int, path: str) -> None:
    register("lists", Lists)
    Lists.calls, Lists.size = [], size
    node = getattr(AsyncClient("lists://h", description=None), path)
    assert [item async for item in node.get.pages(limit=limit)] == list(range(size))
    assert len(Lists.calls) <= size // limit + 1
