"""``/recipes``, ``/sessions`` and ``/sess``, and the streams that tell of them."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

TEA = {
    "name": "Tea",
    "ingredients": ["water", "tea"],
    "tools": ["kettle"],
    "instructions": ["boil"],
}


async def told(client: Any, stream: str, count: int = 1) -> list[str]:
    return [data.decode() for _, _, data in await client.data(stream, count=count)]


async def test_recipes_are_found_by_the_id_they_were_given(stock: Any) -> None:
    made = await stock.call("POST", "recipes", json={"_id": "tea", **TEA})
    assert made.json() == {**TEA, "_id": "tea"}
    assert await stock.get("recipes", "tea") == {**TEA, "_id": "tea"}
    assert {**TEA, "_id": "tea"} in await stock.get("recipes/")
    assert json.loads((await told(stock, "event:recipes"))[0]) == {
        "event": "new", "id": "tea", "data": {**TEA, "_id": "tea"},
    }  # fmt: skip
    changed = {**await stock.get("recipes", "tea"), "name": "Green tea", "extra": {"kept": True}}
    assert await stock.put("recipes", "tea", json=changed) is True
    assert (await stock.get("recipes", "tea")) == {**changed}
    assert json.loads((await told(stock, "event:recipes"))[0])["event"] == "update"
    assert await stock.get("recipes/q", name="Green tea") == changed
    assert await stock.get("recipes/q", name="Coffee") is None
    assert await stock.delete("recipes", "tea") is True
    assert await stock.delete("recipes", "tea") is False
    assert await stock.get("recipes", "tea") is None
    assert json.loads((await told(stock, "event:recipes"))[0]) == {"event": "delete", "id": "tea"}


async def test_recipes_without_an_id_get_one_that_works(stock: Any) -> None:
    made = (await stock.call("POST", "recipes/", json={"name": "Soup"})).json()
    assert len(made["_id"]) == 24
    assert made["ingredients"] is None
    assert await stock.get("recipes", made["_id"]) == made


async def test_recipes_that_are_wrong(stock: Any) -> None:
    assert await stock.put("recipes", "never-was", json={"name": "x"}) is False
    await stock.call("POST", "recipes", json={"_id": "twice"})
    assert (await stock.call("POST", "recipes", json={"_id": "twice"})).status_code == 409
    assert await stock.put("recipes", "twice", json={}) is False
    wrongs: list[Any] = [{"ingredients": "x"}, {"name": 1}, {"_id": "x" * 129}, {"_id": "a\nb"}, []]
    for wrong in wrongs:
        answer = await stock.call("POST", "recipes", json=wrong)
        assert answer.status_code == 422, answer.text
    for text in ('{"n": NaN}', '{"n": Infinity}'):
        answer = await stock.call(
            "POST", "recipes", data=text, headers={"content-type": "application/json"}
        )
        assert answer.status_code == 422, answer.text
    odd = (await stock.call("POST", "recipes", json={"name": "\ud800 ☃"})).json()
    assert (await stock.get("recipes", odd["_id"]))["name"] == "\ud800 ☃"


async def test_what_is_cooked_just_now(stock: Any) -> None:
    await stock.call("POST", "recipes", json={"_id": "cake", "name": "Cake"})
    await stock.delete("sessions/recipe")
    nothing = await stock.get("sessions")
    assert (nothing["recipe_id"], nothing["step"]) == (None, None)
    for path in ("sessions/id", "sessions/recipe", "sessions/recipe/step"):
        assert await stock.get(path) is None
    assert await stock.get("sessions/recipe", info=True) is None
    began = await stock.put("sessions", "recipe", "cake")
    assert began[:3] == [True, True, True]
    assert all("-" in id_ for id_ in began[3:])
    assert len(began) == 6
    assert abs(int(await stock.get("sessions/id")) - time.time()) < 60
    assert await stock.get("sessions/recipe") == "cake"
    assert (await stock.get("sessions/recipe/", info=True))["name"] == "Cake"
    assert await stock.get("sessions/recipe/step") == "0"
    streams = ("event:recipe:id", "event:recipe:step", "event:session:id")
    assert [(await told(stock, name))[0] for name in streams[:2]] == ["cake", "0"]
    assert (await told(stock, "event:session:id"))[0] == await stock.get("sessions/id")
    went = await stock.put("sessions/recipe/step", 3)
    assert (went[0], went[2], len(went)) == (True, "3", 3)
    assert (await told(stock, "event:recipe:step"))[0] == "3"
    state = await stock.get("sessions/")
    assert (state["recipe_id"], state["step"]) == ("cake", "3")
    ended = await stock.delete("sessions", "recipe")
    assert ended[:3] == [1, 1, 1]
    assert len(ended) == 6
    assert [(await told(stock, name))[0] for name in streams] == ["", "-1", ""]
    assert (await stock.delete("sessions", "recipe"))[:3] == [0, 0, 0]
    for wrong in ("x", "1.5", "9" * 30, "-2"):
        assert (await stock.call("PUT", "sessions/recipe/step", wrong)).status_code == 422


async def test_sessions_that_are_kept(stock: Any) -> None:
    made = (
        await stock.call("POST", "sess", json={"id": "s1", "recipe": "tea", "prefix": "a:"})
    ).json()
    assert set(made) == {"recipe", "step", "prefix", "created_at", "_id"}
    assert (made["_id"], made["step"]) == ("s1", 0)
    assert await stock.get("sess", "s1") == made
    assert made in await stock.get("sess")
    assert (await stock.call("POST", "sess", json={"id": "s1"})).status_code == 409
    assert await stock.put("sess", "s1", json={"step": 4}) is True
    assert (await stock.get("sess/q", recipe="tea"))["step"] == 4
    assert await stock.get("sess/q", recipe="nothing") is None
    assert json.loads((await told(stock, "event:sessions"))[0]) == {
        "event": "update", "id": "s1", "data": {"step": 4},
    }  # fmt: skip
    one, two = [(await stock.call("POST", "sess", json={})).json() for _ in range(2)]
    assert one["_id"] != two["_id"]
    assert abs(int(one["_id"], 36) - time.time()) < 60
    assert await stock.delete("sess", "s1") is True
    assert await stock.delete("sess", "s1") is False
    assert await stock.get("sess", "s1") is None
    assert await stock.put("sess", "s1", json={"step": 4}) is False


async def test_who_may_not_read_the_events_sees_nothing(demo: Any, stock: Any) -> None:
    token = await demo.program_token("alice", "streams:read", streams={"event:recipes": ["read"]})
    headers = {"Authorization": f"Bearer {token}"}

    async def status(method: str, path: str) -> int:
        return (await stock.call(method, path, json={}, headers=headers)).status_code

    assert await status("GET", "recipes") == 200
    for method, path in (
        ("POST", "recipes"), ("DELETE", "recipes/x"), ("GET", "sessions"), ("GET", "sess"),
        ("POST", "sess"), ("PUT", "sessions/recipe/x"), ("DELETE", "sessions/recipe"),
    ):  # fmt: skip
        assert await status(method, path) == 403, (method, path)
