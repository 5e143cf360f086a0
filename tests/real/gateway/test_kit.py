"""Kit App Streaming's session calls, as its clients make them."""

from __future__ import annotations

from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

BASES = ["/streaming/stream", "/stream"]


async def _start(house: Any, base: str = BASES[0], **fields: Any) -> tuple[int, Any]:
    status, answer, _ = await house.call(
        "POST", base, await house.token(), json={"id": "test-card", **fields}
    )
    return status, answer


@pytest.mark.parametrize("base", BASES)
async def test_a_stream_answers_202_until_pictures_come(house: Any, base: str) -> None:
    stage = {"arguments": {"usd_stage_uri": "omniverse://host/a.usd"}, "profile": "small"}
    status, made = await _start(house, base, **stage)
    assert (status, made["status"]["status"]) == (202, False)
    assert "#join=" in made["url"]
    (asked,) = house.manager.requests
    assert (asked.stage, asked.profile, asked.version) == ("omniverse://host/a.usd", "small", None)
    one = f"{base}/{made['id']}"
    status, seen, _ = await house.call("GET", one, await house.token())
    assert (status, seen["status"]["condition"]) == (202, "starting")
    async with house.dial(made["id"]) as streamer:
        await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
        await house.wait(made["id"], "ready")
        status, seen, _ = await house.call("GET", one, await house.token())
    assert (status, seen["status"]["condition"], seen["status"]["status"]) == (200, "ready", True)
    (routes,) = seen["routes"].values()
    kinds = {route["description"]: route["protocol"] for route in routes["routes"]}
    assert kinds == {"signaling": "TCP", "media": "UDP"}


@pytest.mark.parametrize("by_body", [True, False])
async def test_a_stream_that_was_ended_is_gone(house: Any, by_body: bool) -> None:
    _, made = await _start(house)
    one = f"/stream/{made['id']}"
    way = ("/streaming/stream", {"id": made["id"]}) if by_body else (one, None)
    status, _, _ = await house.call("DELETE", way[0], await house.token(), json=way[1])
    assert status == 200
    await house.wait(made["id"], "ended")
    status, problem, _ = await house.call("GET", one, await house.token())
    assert (status, problem["code"]) == (410, "gone")
    status, page, _ = await house.call("GET", "/stream", await house.token())
    assert (status, page["count"], page["items"]) == (200, 0, [])


async def test_streams_are_listed_as_later_versions_ask(house: Any) -> None:
    made = [(await _start(house))[1]["id"] for _ in range(3)]
    query = "limit=2&offset=1&sort-by=created_time&order=asc"
    status, page, _ = await house.call("GET", f"/stream?{query}", await house.token())
    assert status == 200
    assert [item["id"] for item in page["items"]] == made[1:]
    assert (page["limit"], page["offset"], page["count"]) == (2, 1, 2)


@pytest.mark.parametrize(
    ("fields", "status"), [({"id": "nothing"}, 404), ({"version": "1.2.3"}, 404), ({"id": ""}, 422)]
)
async def test_what_is_not_there_is_told(house: Any, fields: dict[str, Any], status: int) -> None:
    found, problem = await _start(house, **fields)
    assert found == status
    assert problem["message"]
    assert house.manager.instances == {}


async def test_A07_streams_of_others_look_like_none(house: Any) -> None:
    _, made = await _start(house)
    other = await house.token("ben")
    for method in ("GET", "DELETE"):
        status, theirs, _ = await house.call(method, f"/stream/{made['id']}", other)
        _, none, _ = await house.call(method, "/stream/no-such-stream", other)
        assert status == 404
        assert {**theirs, "request_id": ""} == {**none, "request_id": ""}


async def test_the_catalogue_needs_somebody_who_may_see_sessions(house: Any) -> None:
    status, _, _ = await house.call("GET", "/cfg/apps", None)
    assert status == 401
    status, problem, _ = await house.call(
        "POST", "/cfg/apps", await house.token(), json={"name": "a", "container": "r/x:1"}
    )
    assert (status, problem["code"]) == (403, "forbidden")
