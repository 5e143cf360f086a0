"""Our own API of streams, on a real engine, over HTTP."""

from __future__ import annotations

import asyncio
import base64
import io
import json
from datetime import UTC, datetime
from typing import Any

import aiohttp
import pytest

from downstage.services import AsyncClient
from downstage.testing.streams import StreamsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

JSON = "application/json"
LINES = "application/x-ndjson"
SCHEMA = {"type": "object", "properties": {"t": {"type": "number"}}, "required": ["t"]}


async def test_a_push_makes_a_stream_that_says_what_it_holds(api: Any, fresh: str) -> None:
    ids = await api.push(fresh, b"\xff\xd8frame", "image/jpeg")
    view = await api.json("GET", f"/v1/streams/{fresh}")
    assert (view["content_type"], view["length"], view["added"]) == ("image/jpeg", 1, 1)
    assert (view["first_id"], view["last_id"]) == (ids[0], ids[0])
    assert view["bytes"] >= 7
    async with api.request("GET", f"/v1/streams/{fresh}/entries/newest") as answer:
        assert (await answer.read(), answer.content_type) == (b"\xff\xd8frame", "image/jpeg")
        assert answer.headers["x-entry-id"] == ids[0]
        assert answer.headers["x-content-type-options"] == "nosniff"
    assert fresh in (await api.json("GET", "/v1/streams"))["items"]


async def test_what_is_pushed_is_told_with_what_is_promised(api: Any, fresh: str) -> None:
    path = f"/v1/streams/{fresh}/entries"
    headers = {"content-type": LINES, "idempotency-key": f"key-{fresh}"}
    body = b'{"t": 1}\n{"t": 2}\n'
    first = await api.json("POST", path, 201, data=body, headers=headers)
    assert len(first["ids"]) == 2
    assert (first["durability"], first["repeated"]) == ("everysec", False)
    again = await api.json("POST", path, 200, data=body, headers=headers)
    assert (again["ids"], again["repeated"]) == (first["ids"], True)
    page = await api.json("GET", path)
    assert [item["value"] for item in page["items"]] == [{"t": 1}, {"t": 2}]


async def test_an_array_is_as_many_entries_where_one_asks_so(api: Any, fresh: str) -> None:
    path = f"/v1/streams/{fresh}/entries"
    assert len(await api.push(fresh, b"[1,2]", JSON)) == 1
    assert len(await api.push(fresh, b"[1,2]", JSON, form="array")) == 2
    values = [item["value"] for item in (await api.json("GET", path))["items"]]
    assert values == [[1, 2], 1, 2]


async def test_pages_go_on_where_they_ended_both_ways(api: Any, fresh: str) -> None:
    for number in range(1, 8):
        await api.push(fresh, b"%d" % number, "text/plain", id=f"{number}-0")
    path = f"/v1/streams/{fresh}/entries"

    async def walk(key: str, **query: str) -> list[int]:
        found, more = list[int](), dict[str, str]()
        while True:
            page = await api.json("GET", path, params={**query, **more, "limit": "3"})
            found += [int(item["value"]) for item in page["items"]]
            if page["next"] is None:
                return found
            more = {key: page["next"]}

    assert await walk("after") == [1, 2, 3, 4, 5, 6, 7]
    assert await walk("until", order="newest") == [7, 6, 5, 4, 3, 2, 1]
    assert await walk("after", **{"from": "2", "to": "5"}) == [2, 3, 4, 5]
    assert await walk("after", **{"from": "1970-01-01T00:00:00.006Z"}) == [6, 7]
    every = await api.json("GET", path, params={"every": "3"})
    assert [item["id"] for item in every["items"]] == ["1-0", "4-0", "7-0"]
    sampled = await api.json("GET", path, params={"max_fps": "500"})
    assert 3 <= len(sampled["items"]) <= 4


async def test_entries_come_as_bytes_and_as_parts(api: Any, fresh: str) -> None:
    entries = [b"\x00\r\n--x", b"", b"two" * 50_000]
    for entry in entries:
        await api.push(fresh, entry, "image/png")
    path = f"/v1/streams/{fresh}/entries"
    async with api.request("GET", path, headers={"accept": "image/png"}) as answer:
        assert (await answer.read(), answer.content_type) == (entries[0], "image/png")
    query = {"order": "newest"}
    async with api.request("GET", path, headers={"accept": "image/*"}, params=query) as answer:
        assert await answer.read() == entries[2]
    async with api.request("GET", path, headers={"accept": "multipart/mixed"}) as answer:
        reader = aiohttp.MultipartReader.from_response(answer)
        found = [(part, bytes(await part.read())) async for part in reader]  # type: ignore[attr-defined]
    assert [body for _, body in found] == entries
    page = await api.json("GET", path)
    assert [base64.b64decode(item["data"]) for item in page["items"]] == entries
    assert "value" not in page["items"][0] or page["items"][0]["value"] is None


async def test_a_stream_is_described_replaced_changed_and_deleted(api: Any, fresh: str) -> None:
    path = f"/v1/streams/{fresh}"
    await api.json("GET", path, 404)
    body = {"description": "A camera.", "retention": {"count": 2, "age": 60}, "meta": {"fps": 30}}
    made = await api.json("PUT", path, 201, json=body)
    assert (made["description"], made["retention"]["count"], made["meta"]) == (
        "A camera.", 2, {"fps": 30},
    )  # fmt: skip
    changed = await api.json("PATCH", path, json={"content_type": JSON, "schema": SCHEMA})
    assert (changed["description"], changed["schema"]) == ("A camera.", SCHEMA)
    assert changed["retention"]["age"] == 60
    replaced = await api.json("PUT", path, 200, json={"content_type": "text/plain"})
    assert (replaced["description"], replaced["schema"], replaced["meta"]) == ("", None, {})
    assert fresh not in (await api.json("GET", "/v1/streams"))["items"]
    everything = {"everything": "true", "pattern": f"{fresh[:-1]}*", "details": "true"}
    listed = await api.json("GET", "/v1/streams", params=everything)
    assert [item["name"] for item in listed["items"]] == [fresh]
    await api.push(fresh, b"x")
    await api.json("DELETE", path, 204)
    await api.json("GET", path, 404)
    await api.json("DELETE", path, 404)


async def test_retention_of_a_stream_is_kept_to(api: Any, fresh: str) -> None:
    path = f"/v1/streams/{fresh}"
    await api.json("PUT", path, 201, json={"retention": {"count": 100}})
    await api.push(fresh, b"\n".join(b"%d" % n for n in range(1000)), LINES)
    view = await api.json("GET", path)
    assert (view["added"], view["content_type"]) == (1000, JSON)
    assert 100 <= view["length"] < 300  # the engine lets go of some at once
    gone = await api.json("DELETE", f"{path}/entries", params={"keep": "3"})
    assert gone["removed"] == view["length"] - 3
    page = await api.json("GET", f"{path}/entries")
    assert [item["value"] for item in page["items"]] == [997, 998, 999]
    before = {"before": page["items"][-1]["id"]}
    assert (await api.json("DELETE", f"{path}/entries", params=before)) == {"removed": 2}
    await api.json("DELETE", f"{path}/entries", 422)


async def test_entries_are_held_against_the_schema_where_one_asks_so(api: Any, fresh: str) -> None:
    path = f"/v1/streams/{fresh}"
    await api.json("PUT", path, 201, json={"content_type": JSON, "schema": SCHEMA})
    await api.push(fresh, b'{"t": 1}', JSON, validate="true")
    await api.push(fresh, b'{"t": "x"}', JSON)
    for body, kind, field in (
        (b'{"t": "x"}', JSON, "entries.0"),
        (b'{"t": 1}\n{}\n', LINES, "entries.1"),
        (b"nope", JSON, "entries.0"),
    ):
        problem = await api.json(
            "POST", f"{path}/entries", 422, data=body, headers={"content-type": kind},
            params={"validate": "true"},
        )  # fmt: skip
        assert problem["field"] == field
    assert (await api.json("GET", path))["length"] == 2  # nothing of what was refused
    problem = await api.json("PUT", path, 422, json={"schema": {"$ref": "http://10.0.0.1/x"}})
    assert problem["field"] == "schema"


async def test_C08_what_is_refused_leaves_nothing_behind(api: Any, fresh: str) -> None:
    path = f"/v1/streams/{fresh}/entries"
    await api.push(fresh, b"x", id="100-5")
    for query, status in (
        ({"id": "100-5"}, 422),
        ({"id": "99-*"}, 422),
        ({"id": "1.5"}, 422),
        ({"want": "forever"}, 422),
        ({"form": "array"}, 400),
        ({"form": "lines"}, 400),
    ):
        problem = await api.json("POST", path, status, data=b"not JSON", params=query)
        assert problem["code"] in ("bad-id", "invalid-field", "invalid-input"), problem
    await api.json("POST", path, 422, data=b"1\n2\n", headers={"content-type": LINES},
                   params={"id": "200-0"})  # fmt: skip
    assert (await api.json("GET", f"/v1/streams/{fresh}"))["length"] == 1
    await api.push(fresh, b"x", id="100-*")


async def test_T04_a_body_over_the_limit_of_a_message_is_413(api: Any, fresh: str) -> None:
    largest = b"x" * (2 << 20)
    await api.push(fresh, io.BytesIO(largest))
    problem = await api.json(
        "POST", f"/v1/streams/{fresh}/entries", 413, data=io.BytesIO(largest + b"x")
    )
    assert problem["limit"] == 2 << 20
    assert (await api.json("GET", f"/v1/streams/{fresh}"))["length"] == 1


@pytest.mark.parametrize(
    "name", ["*", "a+b", "..", "a..b", "a%0Ab", "%00", "a%2Fb", "..%2Fetc", "-a", "ä", "a" * 129]
)
async def test_C10_names_are_what_the_grammar_allows(api: Any, name: str) -> None:
    for method, path, body in (
        ("GET", "", {}),
        ("PUT", "", {"json": {}}),
        ("POST", "/entries", {"data": b"x"}),
        ("GET", "/entries", {}),
        ("GET", "/entries/newest", {}),
    ):
        url = aiohttp.client.URL(f"/v1/streams/{name}{path}", encoded=True)
        async with api.request(method, str(url), **body) as answer:
            assert answer.status in (404, 405, 422), (method, path, answer.status)
            assert (await answer.json())["code"] in ("not-found", "method-not-allowed",
                                                     "invalid-field")  # fmt: skip


async def test_streams_at_one_time(api: Any, fresh: str) -> None:
    imu, camera = f"{fresh}-imu", f"{fresh}-cam"
    for ms, value in ((1000, 0.0), (1100, 10.0)):
        await api.push(imu, json.dumps({"x": value}).encode(), JSON, id=f"{ms}-0")
    await api.push(camera, b"frame", "image/png", id="1040-0")

    async def at(**query: str) -> Any:
        asked = {"streams": f"{imu},{camera},{fresh}-none", "time": "1030", **query}
        return (await api.json("GET", "/v1/streams-at", params=asked))["items"]

    nearest = await at()
    assert (nearest[imu]["id"], nearest[camera]["id"]) == ("1000-0", "1040-0")
    assert nearest[f"{fresh}-none"] is None
    previous = await at(how="previous")
    assert (previous[imu]["value"], previous[camera]) == ({"x": 0.0}, None)
    between = await at(how="interpolate")
    assert between[imu]["value"]["x"] == pytest.approx(3.0)
    close = await at(tolerance_ms="10")
    assert (close[imu], close[camera]["id"]) == (None, "1040-0")
    for query in ({"time": "soon"}, {"streams": "*"}, {"streams": ""}):
        await api.json("GET", "/v1/streams-at", 422,
                       params={"streams": imu, "time": "1", **query})  # fmt: skip


async def test_a_consumer_keeps_its_place_and_gives_again_what_was_not_acknowledged(
    api: Any, fresh: str
) -> None:
    path = f"/v1/streams-consumers/{fresh}"
    await api.push(fresh, b'{"n": 1}\n{"n": 2}\n{"n": 3}\n', LINES)
    body = {"streams": fresh, "start": "0", "ack_wait": 1}
    made = await api.json("PUT", path, 201, json=body)
    assert (made["streams"], made["ack_wait"]) == (fresh, 1)
    await api.json("PUT", path, 200, json=body)
    await api.json("PUT", path, 409, json={**body, "streams": "other"})
    taken = (await api.json("POST", f"{path}/fetch", json={"count": 2}))["items"]
    assert [item["value"]["n"] for item in taken] == [1, 2]
    place = (await api.json("GET", path))["places"][fresh]
    assert (place["pending"], place["lag"], place["delivered"]) == (2, 1, taken[1]["id"])
    acked = await api.json("POST", f"{path}/ack", json={"stream": fresh, "ids": [taken[0]["id"]]})
    assert acked == {"acked": 1}
    async with asyncio.timeout(20):
        found = dict[int, int]()
        while set(found) != {2, 3} or found[2] < 2:
            for item in (await api.json("POST", f"{path}/fetch", json={"count": 9, "wait": 2}))[
                "items"
            ]:
                found[item["value"]["n"]] = item["deliveries"]
    assert 1 not in found
    names = [item["name"] for item in (await api.json("GET", "/v1/streams-consumers"))["items"]]
    assert fresh in names
    await api.json("DELETE", path, 204)
    for method, rest, sent in (
        ("GET", "", {}),
        ("DELETE", "", {}),
        ("POST", "/fetch", {"json": {}}),
    ):
        await api.json(method, path + rest, 404, **sent)
    for wrong in (
        {"streams": "a/b"},
        {"streams": fresh, "start": "soon"},
        {"streams": fresh, "x": 1},
    ):
        await api.json("PUT", path, 422, json=wrong)


async def test_a_local_client_uses_what_is_json(server: StreamsServer, fresh: str) -> None:
    client = AsyncClient("local://streams", token=server.token("alice"))
    made = await client.v1.streams[fresh].put(description="By a service of this process.")
    assert made["description"].startswith("By a service")
    await client.v1.streams[fresh].entries.post(n=1)
    page = await client.v1.streams[fresh].entries.get()
    assert [item["size"] for item in page["items"]] == [len(b'{"n":1}')]
    assert (await client.v1.streams[fresh].get())["length"] == 1


async def test_times_of_ids_are_dates(api: Any, fresh: str) -> None:
    await api.push(fresh, b"x", id="1777636800123-0")
    page = await api.json("GET", f"/v1/streams/{fresh}/entries")
    stamp = datetime.fromisoformat(page["items"][0]["time"])
    assert stamp == datetime(2026, 5, 1, 12, 0, 0, 123_000, tzinfo=UTC)
    await api.push(fresh, b"x", id=f"{2**64 - 1}-{2**64 - 2}")
    page = await api.json("GET", f"/v1/streams/{fresh}/entries")
    assert page["items"][1]["time"].startswith("9999-")
