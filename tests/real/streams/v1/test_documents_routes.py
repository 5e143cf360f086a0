"""Documents for administrators: by their versions, told to clients, and nobody else's business."""

from __future__ import annotations

import base64
import json
from typing import Any

import httpx
import pytest

from downstage.streams import documents as bounds
from downstage.testing.streams import StreamsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

PATH = "/v1/documents"
NEW = {"if-none-match": "*"}
TEA = {"name": "Tea", "ingredients": ["water", "tea"], "tools": None, "instructions": None}


@pytest.fixture(scope="module", autouse=True)
async def opened(server: StreamsServer) -> None:
    """The file of documents is open before what a test leaves behind is looked at."""
    async with httpx.AsyncClient(base_url=server.url) as client:
        answer = await client.get(PATH, headers=server.headers("admin"))
    assert answer.status_code == 200


async def put(api: Any, path: str, body: Any, expect: int = 200, **headers: str) -> tuple[str, Any]:
    """Its ETag, and what was answered."""
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with api.request("PUT", PATH + path, json=body, headers=given) as answer:
        assert answer.status == expect, (answer.status, await answer.text())
        return answer.headers.get("etag", ""), await answer.json()


async def read(api: Any, path: str) -> tuple[str, str]:
    """The ETag of a document, and its text."""
    async with api.request("GET", PATH + path) as answer:
        assert answer.status == 200, await answer.text()
        return answer.headers["etag"], await answer.text()


async def told(api: Any, stream: str, count: int = 1) -> list[str]:
    """The newest entries, the newest last."""
    path = f"/v1/streams/{stream}/entries"
    page = await api.json("GET", path, params={"order": "newest", "limit": str(count)})
    return [base64.b64decode(item["data"]).decode() for item in reversed(page["items"])]


async def test_what_clients_make_is_listed_and_found(api: Any, boss: Any, fresh: str) -> None:
    await api.json("POST", "/recipes", json={"_id": fresh, **TEA, "note": f"Zürich {fresh}"})
    await api.json("POST", "/sess", json={"id": fresh, "recipe": "tea"})
    found = {item["name"]: item for item in (await boss.json("GET", PATH))["items"]}
    assert list(found) == ["recipes", "sess", "session"]
    assert found["recipes"]["count"] >= 1
    assert found["recipes"]["bytes"] > 40
    for text in (f"zürich {fresh}", fresh.upper(), fresh):
        page = await boss.json("GET", f"{PATH}/recipes", params={"text": text})
        (row,) = page["items"]
        assert (row["id"], row["name"], page["total"]) == (fresh, "Tea", 1)
        assert row["preview"].startswith('"name": "Tea", "ingredients": ["water"')
    assert (await boss.json("GET", f"{PATH}/recipes", params={"text": "no%such_"}))["items"] == []
    etag, text = await read(boss, f"/recipes/{fresh}")
    assert text.startswith('{\n  "name": "Tea",\n')
    assert "Zürich" in text
    assert etag.startswith('"')


async def test_pages_go_on_where_they_ended(api: Any, boss: Any, fresh: str) -> None:
    made = [f"{fresh}-{number}" for number in range(5)]
    for id_ in made:
        await api.json("POST", "/recipes", json={"_id": id_, "name": id_})
    seen, after = list[str](), 0
    while after is not None:
        params = {"text": fresh, "limit": "2", "after": str(after)}
        page = await boss.json("GET", f"{PATH}/recipes", params=params)
        assert page["total"] == 5
        seen += [row["id"] for row in page["items"]]
        after = page["next"]
    assert seen == made


async def test_two_administrators_do_not_overwrite_each_other(boss: Any, fresh: str) -> None:
    path = f"/recipes/{fresh}"
    first, answered = await put(boss, path, {**TEA, "_id": fresh}, 201, **NEW)
    assert answered == TEA
    assert (await put(boss, path, TEA, 412, **NEW))[1]["code"] == "version-mismatch"
    second, _ = await put(boss, path, {**TEA, "name": "Green tea"}, if_match=first)
    assert second != first
    refused = await put(boss, path, {"name": "Mine"}, 412, if_match=first)
    assert "changed" in refused[1]["detail"]
    await boss.json("DELETE", PATH + path, 412, headers={"if-match": first})
    assert await read(boss, path) == (second, (await read(boss, path))[1])
    # One of several; weakened by a proxy; any; the same content has the same tag.
    third, _ = await put(boss, path, TEA, if_match=f'"x", W/{second}')
    assert third == first
    await put(boss, path, TEA, if_match="*")
    await boss.json("DELETE", PATH + path, 204, headers={"if-match": first})
    await boss.json("DELETE", PATH + path, 404, headers={"if-match": first})
    assert "deleted" in (await put(boss, path, TEA, 412, if_match=first))[1]["detail"]
    await boss.json("GET", PATH + path, 404)


async def test_who_writes_says_what_they_saw(boss: Any, fresh: str) -> None:
    path = f"/recipes/{fresh}"
    wrongs: list[dict[str, str]] = [
        {}, {"if_match": "bare"}, {"if_match": '"a" "b"'}, {"if_none_match": '"a"'},
        {"if_match": '"a"', "if_none_match": "*"},
    ]  # fmt: skip
    for headers in wrongs:
        await put(boss, path, TEA, 422, **headers)
    await boss.json("DELETE", PATH + path, 422)
    await boss.json("GET", PATH + path, 404)


async def test_clients_hear_of_it_as_of_their_own_changes(boss: Any, fresh: str) -> None:
    path = f"/recipes/{fresh}"
    tag, _ = await put(boss, path, TEA, 201, **NEW)
    tag, _ = await put(boss, path, {"name": "Green tea"}, if_match=tag)
    await boss.json("DELETE", PATH + path, 204, headers={"if-match": tag})
    assert [json.loads(text) for text in await told(boss, "event:recipes", 3)] == [
        {"event": "new", "id": fresh, "data": {**TEA, "_id": fresh}},
        {"event": "update", "id": fresh, "data": {"name": "Green tea"}},
        {"event": "delete", "id": fresh},
    ]
    await put(boss, f"/sess/{fresh}", {"recipe": "tea", "step": 2}, 201, **NEW)
    assert json.loads((await told(boss, "event:sessions"))[0])["data"]["step"] == 2
    assert (await boss.json("GET", f"/sess/{fresh}"))["step"] == 2


async def test_the_state_of_what_is_cooked(api: Any, boss: Any) -> None:
    await api.json("PUT", "/sessions/recipe/cake")
    tag, text = await read(boss, "/session/now")
    state = json.loads(text)
    assert (state["recipe_id"], state["step"]) == ("cake", "0")
    before = await told(boss, "event:recipe:id")
    tag, _ = await put(boss, "/session/now", {**state, "step": "4"}, if_match=tag)
    assert await api.json("GET", "/sessions/recipe/step") == "4"
    assert await told(boss, "event:recipe:step") == ["4"]
    assert await told(boss, "event:recipe:id") == before
    await put(boss, "/session/other", {}, 422, **NEW)
    await boss.json("DELETE", f"{PATH}/session/now", 204, headers={"if-match": tag})
    assert (await api.json("GET", "/sessions"))["step"] is None
    streams = ("event:recipe:id", "event:recipe:step", "event:session:id")
    assert [(await told(boss, name))[0] for name in streams] == ["", "-1", ""]


async def test_what_clients_could_not_read_is_refused(boss: Any, fresh: str) -> None:
    wrongs: list[tuple[str, Any, str]] = [
        ("recipes", {"name": 1}, "name"),
        ("recipes", {"ingredients": ["a", 2]}, "ingredients.1"),
        ("recipes", {"_id": "another"}, "_id"),
        ("sess", {"step": "3"}, "step"),
        ("session", {"step": 3}, "id"),
    ]
    for collection, body, field in wrongs:
        _, answer = await put(boss, f"/{collection}/{fresh}", body, 422, **NEW)
        assert answer["field"] == field
    await put(boss, f"/recipes/{fresh}", {"x": "y" * bounds.MAX_DOCUMENT}, 413, **NEW)
    await put(boss, f"/recipes/{'x' * 129}", {}, 422, **NEW)
    headers = {**NEW, "content-type": "application/json"}
    for text in ('{"n": NaN}', "[]", "{", '"x"'):
        path = f"{PATH}/recipes/{fresh}"
        async with boss.request("PUT", path, data=text, headers=headers) as answer:
            assert answer.status in (400, 422), await answer.text()
    await boss.json("GET", f"{PATH}/nothing", 422)
    await boss.json("GET", f"{PATH}/recipes/{fresh}", 404)


async def test_ids_and_texts_that_are_odd(api: Any, boss: Any, fresh: str) -> None:
    id_ = f"{fresh}/a b?#ü"
    await api.json("POST", "/recipes", json={"_id": id_, "name": "\ud800 ☃", "n": 10**30})
    page = await boss.json("GET", f"{PATH}/recipes", params={"text": fresh})
    assert [row["id"] for row in page["items"]] == [id_]
    path = f"/recipes/{fresh}%2Fa%20b%3F%23%C3%BC"
    tag, text = await read(boss, path)
    assert json.loads(text) == {**TEA, "ingredients": None, "name": "\ud800 ☃", "n": 10**30}
    await boss.json("DELETE", PATH + path, 204, headers={"if-match": tag})
    # No address can name these: browsers and proxies take them for folders.
    for none in (".", ".."):
        await api.json("POST", "/recipes", 422, json={"_id": none})


async def test_A05_only_who_administers_streams_gets_in(
    server: StreamsServer, api: Any, boss: Any, fresh: str
) -> None:
    tag, _ = await put(boss, f"/recipes/{fresh}", TEA, 201, **NEW)
    one = f"{PATH}/recipes/{fresh}"
    doors = (("GET", PATH), ("GET", f"{PATH}/recipes"), ("GET", one), ("PUT", one), ("DELETE", one))
    bound = await server.program_token(
        "admin", "streams:admin", streams={"event:recipes": ["admin"]}
    )
    reader = await server.program_token("admin", "streams:read", "streams:write")
    for headers in ({}, {"authorization": f"Bearer {reader}"}):
        for method, path in doors:
            given = {**headers, "if-match": tag}
            answer = await api.json(method, path, 403, json={}, headers=given)
            assert answer["code"] == "forbidden"
            assert "streams:admin" in answer["detail"]
    # Bounds of a token count here as everywhere.
    headers = {"authorization": f"Bearer {bound}"}
    found = await api.json("GET", PATH, headers=headers)
    assert [item["name"] for item in found["items"]] == ["recipes"]
    await api.json("GET", one, headers=headers)
    await api.json("GET", f"{PATH}/sess", 403, headers=headers)
    # A cookie proves nobody here.
    cookie = {"authorization": "", "cookie": f"authorization=Bearer {server.token('admin')}"}
    await api.json("GET", PATH, 401, headers=cookie)
    assert (await read(boss, f"/recipes/{fresh}"))[0] == tag
