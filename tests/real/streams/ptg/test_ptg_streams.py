"""``/streams``: each row of the table."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from downstage.streams.model import AUTO

pytestmark = [pytest.mark.real, pytest.mark.anyio]

KEYS = {
    "sid",
    "length",
    "radix-tree-keys",
    "radix-tree-nodes",
    "last-generated-id",
    "max-deleted-entry-id",
    "entries-added",
    "recorded-first-entry-id",
    "groups",
    "first-entry",
    "last-entry",
    "first-entry-time",
    "last-entry-time",
    "meta",
}


async def fill(demo: Any, *items: tuple[str, bytes, bytes]) -> list[str]:
    receipt = await demo.streams.append(await demo.caller("admin"), items)
    return [id_.decode() for id_ in receipt.ids]


async def test_only_streams_with_data_are_listed_and_sorted(demo: Any, stock: Any) -> None:
    await fill(demo, ("list-b", AUTO, b"x"), ("list-a", AUTO, b"y"))
    await stock.put("streams", "list-described", json={"desc": "no data yet"})
    found = [name for name in await stock.get("streams/") if name.startswith("list-")]
    assert found == ["list-a", "list-b"]
    infos = {item["sid"]: item for item in await stock.get("streams", info=True)}
    assert set(infos["list-a"]) == KEYS
    assert infos["list-b"]["length"] == 1


async def test_what_is_known_of_a_stream(demo: Any, stock: Any) -> None:
    await fill(demo, ("info-s", b"1700000000123-4", b"x"), ("info-s", b"1700000001500", b"y"))
    await stock.put("streams", "info-s", json={"desc": "two", "n": 1})
    found = await stock.get("streams", "info-s")
    assert set(found) == KEYS
    assert (found["sid"], found["length"], found["entries-added"]) == ("info-s", 2, 2)
    assert (found["first-entry"], found["last-entry"]) == ("1700000000123-4", "1700000001500-0")
    assert found["last-generated-id"] == "1700000001500-0"
    local = datetime.fromtimestamp(1_700_000_000.123, UTC).astimezone()
    assert found["first-entry-time"] == local.strftime("%Y-%m-%d %H:%M:%S.%f")
    assert found["last-entry-time"].endswith(".500000")
    assert isinstance(found["meta"], str)
    assert json.loads(found["meta"]) == {"desc": "two", "n": 1}
    assert (await stock.get("streams", "info-s", report_error=True)) == found


async def test_a_stream_without_entries(stock: Any) -> None:
    unknown = {"sid": "nothing", "error": "no such key", "meta": None}
    assert await stock.get("streams", "nothing") == unknown
    answer = await stock.call("GET", "streams", "nothing", params={"report_error": True})
    assert (answer.status_code, answer.json()) == (400, {"detail": "no such key"})
    await stock.put("streams", "only-described", json={"a": 1})
    found = await stock.get("streams", "only-described/")
    assert found == {"sid": "only-described", "error": "no such key", "meta": '{"a":1}'}


async def test_descriptions_are_merged_or_replaced(stock: Any) -> None:
    first = await stock.put("streams", "meta-s", json={"desc": "é", "a": 1})
    assert isinstance(first, str)
    assert json.loads(first) == {"desc": "é", "a": 1}
    assert json.loads(await stock.put("streams", "meta-s", json={"b": 2})) == {
        "desc": "é", "a": 1, "b": 2,
    }  # fmt: skip
    assert json.loads(await stock.put("streams", "meta-s", json={"c": 3}, override=True)) == {
        "c": 3
    }
    assert (await stock.get("streams", "meta-s"))["meta"] == '{"c":3}'


async def test_limits_take_effect(demo: Any, stock: Any) -> None:
    await stock.put("streams", "short", json={"max_len": 50})
    for start in range(0, 600, 20):
        items = [("short", AUTO, b"%d" % number) for number in range(start, start + 20)]
        await fill(demo, *items)
    # Whole nodes of the engine go, of 100 entries each.
    assert 50 <= (await stock.get("streams", "short"))["length"] <= 150
    found = await stock.data("short", count=100)
    assert found[-1][2] == b"599"
    await stock.put("streams", "short", json={"max_bytes": 10_000, "max_age": 0.5})
    spec = (await demo.streams.info(await demo.caller("admin"), "short")).spec
    assert (spec.retention.count, spec.retention.bytes) == (50, 10_000)
    assert spec.retention.age.total_seconds() == 0.5
    await stock.put("streams", "short", json={}, override=True)
    spec = (await demo.streams.info(await demo.caller("admin"), "short")).spec
    assert (spec.retention.count, spec.retention.bytes, spec.retention.age) == (None, None, None)


@pytest.mark.parametrize(
    "body",
    [
        *("", "null", "[1]", '"x"', "{", '{"a": NaN}'),
        *('{"max_len": "5"}', '{"max_len": 0}', '{"max_len": true}'),
        *('{"max_bytes": 1.5}', '{"max_age": -1}', '{"max_age": 1e400}'),
    ],
)
async def test_a_description_out_of_form_is_422(stock: Any, body: str) -> None:
    answer = await stock.call(
        "PUT", "streams", "wrong", data=body, headers={"content-type": "application/json"}
    )
    assert answer.status_code == 422, answer.text
    for said in answer.json()["detail"]:
        assert {"loc", "msg", "type"} <= set(said)
    assert (await stock.get("streams", "wrong"))["meta"] is None


async def test_deleting_says_three_numbers_for_each(demo: Any, stock: Any) -> None:
    await fill(demo, ("del-a", AUTO, b"x"), ("del-a", AUTO, b"y"), ("del-b", AUTO, b"z"))
    await stock.put("streams", "del-a", json={"desc": "x"})
    answer = await stock.call("DELETE", "streams", "del-a+del-b+del-none")
    assert answer.status_code == 200, answer.text
    assert answer.json() == [1, 2, 1, 0, 1, 1, 0, 0, 0]
    assert not {"del-a", "del-b"} & set(await stock.get("streams"))


@pytest.mark.parametrize("name", ["..", "a..b", "a%0Ab", "a%2Fb", "%2A", "é", "x" * 129])
async def test_C10_a_name_out_of_form_is_refused(stock: Any, name: str) -> None:
    for method in ("GET", "PUT", "DELETE"):
        answer = await stock.call(method, f"streams/{name}", json={})
        assert answer.status_code in (404, 405, 422), (method, answer.status_code, answer.text)


async def test_C10_a_listing_shows_what_the_token_may_read(demo: Any, stock: Any) -> None:
    await fill(demo, ("mine-1", AUTO, b"x"), ("theirs-1", AUTO, b"y"))
    token = await demo.program_token("alice", "streams:read", streams={"mine-*": ["read"]})
    headers = {"Authorization": f"Bearer {token}"}
    answer = await stock.call("GET", "streams", headers=headers)
    assert answer.json() == ["mine-1"]
    hidden = await stock.call("GET", "streams", "theirs-1", headers=headers)
    absent = await stock.call("GET", "streams", "theirs-2", headers=headers)
    assert hidden.json() == {"sid": "theirs-1", "error": "no such key", "meta": None}
    assert absent.json() == {"sid": "theirs-2", "error": "no such key", "meta": None}
    for path in ("data/theirs-1", "mjpeg/theirs-1"):
        assert (await stock.call("GET", path, headers=headers)).status_code == 404
    assert (await stock.call("GET", "recipes", headers=headers)).status_code == 403
    answer = await stock.call("PUT", "streams/mine-1", json={"a": 1}, headers=headers)
    assert answer.status_code == 403
