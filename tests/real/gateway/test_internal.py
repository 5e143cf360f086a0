"""A manager begins with an instance and gets the session that it is to have, by its agent."""

from __future__ import annotations

import base64
import json
from typing import Any

import anyio
import pytest

from downstage.services import AsyncClient, BaseServiceError

from .conftest import House

pytestmark = [pytest.mark.real, pytest.mark.anyio]

INSTANCE = "i-" + "a" * 26


def wanted(**more: Any) -> dict[str, Any]:
    instance = {
        "instance_id": INSTANCE,
        "owner": "whoever",
        "application": "test-card",
        "user_data": "hello",
        "tags": ["blue"],
        "display": {"width": 640, "height": 480, "fps": 30},
        **more,
    }
    return {"instance": instance, "username": "Anna"}


async def subject_of(house: House, name: str) -> str:
    payload = (await house.token(name)).split(".")[1]
    return str(json.loads(base64.urlsafe_b64decode(payload + "=="))["sub"])


def manager(house: House, person: str | None, service: str = "agent") -> AsyncClient:
    """A client with the manager's own token, in a person's name."""
    wiring = house.host._wiring  # pyright: ignore[reportPrivateUsage]
    return wiring.as_service("manager", service, person)


async def test_an_instance_of_a_manager_gets_its_session(house: House) -> None:
    anna = await subject_of(house, "anna")
    agent = manager(house, anna)
    session = await agent.v1.sessions.post(**wanted())
    assert (session["region"], session["owner"], session["width"]) == ("local", "Anna", 640)
    assert (await house.get(session["id"]))["id"] == session["id"], "it is anna's"
    status, _, _ = await house.call(
        "GET", f"/v1/sessions/{session['id']}", await house.token("bert")
    )
    assert status == 404
    started = house.manager.requests[-1]
    assert (started.instance_id, started.session_id) == (INSTANCE, session["id"])
    assert (started.user_data, started.tags, started.owner) == ("hello", ["blue"], anna)
    assert started.instance_token is not None
    async with house.dial(session["id"]) as streamer:
        await streamer.say(type="ready", width=640, height=480, encoder="x264", audio=True)
        await house.wait(session["id"], "ready")


async def test_the_same_instance_is_the_same_session(house: House) -> None:
    agent = manager(house, await subject_of(house, "anna"))
    found = list[str]()

    async def ask(**more: Any) -> None:
        found.append((await agent.v1.sessions.post(**wanted(**more)))["id"])

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(ask)
    await ask(user_data="asked again")
    assert len(set(found)) == 1
    assert len(house.manager.instances) == 1
    assert len(house.manager.requests) == 1


async def test_a_refusal_comes_back_as_it_was(house: House) -> None:
    agent = manager(house, await subject_of(house, "anna"))
    with pytest.raises(BaseServiceError) as caught:
        await agent.v1.sessions.post(**wanted(application="none"))
    assert caught.value.status == 404
    house.manager.capacity = 0
    with pytest.raises(BaseServiceError) as caught:
        await agent.v1.sessions.post(**wanted())
    assert (caught.value.status, caught.value.code) == (503, "capacity")
    house.manager.capacity = 1
    assert (await agent.v1.sessions.post(**wanted()))["state"] == "starting"


@pytest.mark.parametrize("service", ["agent", "gateway"])
async def test_nobody_is_given_a_session_for_nobody(house: House, service: str) -> None:
    body = {**wanted(), **({"region": "local"} if service == "gateway" else {})}
    nobody = manager(house, None, service)
    node = nobody.v1.sessions if service == "agent" else nobody.v1.internal.sessions
    with pytest.raises(BaseServiceError) as caught:
        await node.post(**body)
    assert caught.value.status == 403


async def test_people_and_pages_do_not_reach_it(house: House) -> None:
    token = await house.token("operator")
    body = {**wanted(), "region": "local"}
    status, _, _ = await house.call("POST", "/v1/internal/sessions", token, json=body)
    assert status == 404
    async with house.unix.post(
        "http://gateway/v1/internal/sessions",
        json=body,
        headers={"authorization": f"Bearer {token}"},
    ) as answer:
        assert answer.status == 403
    for field, value in (("instance_id", None), ("session_id", "s-1")):
        gateway = manager(house, await subject_of(house, "anna"), "gateway")
        with pytest.raises(BaseServiceError) as caught:
            await gateway.v1.internal.sessions.post(
                **{**wanted(**{field: value}), "region": "local"}
            )
        assert caught.value.status == 422
