"""A request that a killed gateway never answered, made again with its key (S04)."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

pytestmark = [pytest.mark.real, pytest.mark.anyio]

KEY = {"Idempotency-Key": "once-and-once-only"}
BODY = {"application": "test-card"}


async def ask(house: Any) -> dict[str, Any]:
    token = await house.token()
    status, body, _ = await house.call("POST", "/v1/sessions", token, json=BODY, headers=KEY)
    assert status in (200, 201), body
    return body


async def listed(house: Any) -> list[str]:
    _, body, _ = await house.call("GET", "/v1/sessions", await house.token())
    return [item["id"] for item in body["items"]]


def as_if_killed_before_it_was_placed(data: Path) -> None:
    """The row as it is between the first step of a create and the second."""
    with closing(sqlite3.connect(data / "gateway.db")) as database, database:
        database.execute("UPDATE sessions SET state = 'queued', lease_kind = 'start'")


async def test_S04_what_was_never_begun_is_begun_anew(start: Any, data: Path, manager: Any) -> None:
    async with start() as house:
        first = await ask(house)
        assert (await ask(house))["id"] == first["id"]
    as_if_killed_before_it_was_placed(data)
    manager.instances.clear()
    async with start() as house:
        again = await ask(house)
        assert again["id"] != first["id"]
        assert again["state"] == "starting"
        assert await listed(house) == [again["id"]]
        assert [one["session_id"] for one in manager.instances.values()] == [again["id"]]
        assert (await ask(house))["id"] == again["id"]


async def test_S04_what_was_begun_goes_on(start: Any, data: Path, manager: Any) -> None:
    async with start() as house:
        first = await ask(house)
    as_if_killed_before_it_was_placed(data)
    async with start() as house:
        assert (await ask(house))["id"] == first["id"]
        assert await listed(house) == [first["id"]]
        assert (await house.get(first["id"]))["state"] == "starting"
        assert len(manager.instances) == 1


async def test_S04_what_ended_otherwise_is_not_begun_again(start: Any, manager: Any) -> None:
    async with start() as house:
        first = await ask(house)
        await house.call("DELETE", f"/v1/sessions/{first['id']}", await house.token())
        await house.wait(first["id"], "ended")
        status, body, _ = await house.call(
            "POST", "/v1/sessions", await house.token(), json=BODY, headers=KEY
        )
        assert status == 409, body
        assert await listed(house) == [first["id"]]
        assert len(manager.instances) == 1


async def test_S04_what_was_lost_before_its_first_picture_is_begun_anew(
    house: Any, manager: Any
) -> None:
    first = await ask(house)
    manager.end(house.instance_of(first["id"]), "lost")
    await house.wait(first["id"], "ended")
    again = await ask(house)
    assert again["id"] != first["id"]
    assert await listed(house) == [again["id"]]
    assert manager.running() == 1
    async with house.dial(again["id"]) as streamer:
        await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
        await house.wait(again["id"], "ready")
        manager.end(house.instance_of(again["id"]), "lost")
        await house.wait(again["id"], "ended")
    token = await house.token()
    status, _, _ = await house.call("POST", "/v1/sessions", token, json=BODY, headers=KEY)
    assert status == 409, "somebody has seen that one"
    assert await listed(house) == [again["id"]]
