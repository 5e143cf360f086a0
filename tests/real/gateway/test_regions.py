"""Regions over a real bus: chosen, launched in, shared by agents, and lost and found again."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from .conftest import Start
from .regions_world import World, until, world

pytestmark = [pytest.mark.real, pytest.mark.anyio]

AGREE_S = 10.0


async def test_sessions_are_started_in_the_region_that_is_best(start: Start, data: Path) -> None:
    async with world(start, data, agents=("eu", "us", "eu")) as regions:
        await best_is_taken(regions)
        await full_is_passed_over(regions)
        await agents_share_a_region(regions)


async def best_is_taken(regions: World) -> None:
    house = regions.house
    known = await regions.regions()
    assert sorted(known) == ["eu", "local", "us"]
    assert known["eu"] == {
        "name": "eu",
        "free": 4,
        "capacity": 4,
        "probe": "https://eu.example/probe",
        "latitude": 52.5,
        "longitude": 13.4,
        "answering": True,
    }
    session = await house.create(rtt_ms={"eu": 80, "us": 20, "local": 300})
    assert (session["region"], regions.region_of(session["id"])) == ("us", "us")
    assert session["region_reason"].startswith("us (us: 20 ms measured, 4 of 4 free, score 20; eu:")
    session = await house.create()
    assert session["region"] == "us", "a stock client gets the nearest: this machine is in Toronto"
    assert "us: 13 ms by 556 km" in session["region_reason"]
    session = await house.create(region="eu")
    assert (session["region"], regions.region_of(session["id"])) == ("eu", "eu")
    status, problem, _ = await house.call(
        "POST",
        "/v1/sessions",
        await house.token(),
        json={"application": "test-card", "region": "mars"},
    )
    assert (status, problem["field"]) == (422, "region")
    assert "eu, local, us" in problem["detail"]
    # What its manager tells reaches the gateway by the region's agent.
    regions.managers["eu"].end(regions.instance_of(session["id"]), "application-exited")
    ended = await house.wait(session["id"], "ended")
    assert ended["reason"] == "application-exited"


async def full_is_passed_over(regions: World) -> None:
    """Whether the gateway knew it already or is told by a refusal."""
    house = regions.house
    regions.managers["us"].capacity = 0
    session = await house.create(rtt_ms={"us": 1, "eu": 50, "local": 300})
    assert session["region"] == "eu"
    status, problem, _ = await house.call(
        "POST",
        "/v1/sessions",
        await house.token(),
        json={"application": "test-card", "region": "us", "wait": False},
    )
    assert (status, problem["code"]) == (503, "capacity")


async def agents_share_a_region(regions: World) -> None:
    """Its launches go on when one of them dies, and no session is the worse for it."""
    house = regions.house

    async def all_known() -> bool:
        return house.gateway.regions.counts().total == 4

    await until(all_known, "both agents of eu are known")
    await anyio.to_thread.run_sync(regions.agents["eu"].kill)
    for _ in range(2):
        session = await house.create(region="eu")
        assert regions.region_of(session["id"]) == "eu"
    assert (await regions.regions())["eu"]["answering"]
    await anyio.to_thread.run_sync(regions.agents["us"].stop)
    await regions.until_answering("eu")
    status, problem, _ = await house.call(
        "POST",
        "/v1/sessions",
        await house.token(),
        json={"application": "test-card", "region": "us"},
    )
    assert status == 503
    assert "its agent was stopped" in problem["detail"]


async def test_S05_regions_may_go_and_come_back_without_a_session_being_lost(
    start: Start, data: Path
) -> None:
    async with world(start, data) as regions:
        await parts_go_and_come_back(regions)
        await an_answer_is_lost(regions)


async def parts_go_and_come_back(regions: World) -> None:
    """An agent is cut off, one is halted, one is killed, the bus is restarted."""
    house = regions.house
    for manager in regions.managers.values():
        manager.bus = None  # its hints are lost: what it says is seen when it is asked
    async with regions.on_stage("eu") as kept, regions.on_stage("us") as also:
        over = await house.create(region="eu")
        # The line of eu is cut: nobody is told anything.
        regions.lines["eu"].cut()
        await regions.until_answering("us")
        status, problem, _ = await house.call(
            "POST",
            "/v1/sessions",
            await house.token(),
            json={"application": "test-card", "region": "eu"},
        )
        assert status == 503
        assert "The region eu does not answer: its agents have said nothing" in problem["detail"]
        assert (await house.create(rtt_ms={"eu": 1, "us": 30, "local": 99}))["region"] == "us"
        lines = house.gateway.metrics()
        assert "downstage_agents_unresponsive 1" in lines
        assert "anbox_stream_gateway_agents_total 3" in lines
        regions.managers["eu"].end(regions.instance_of(over["id"]), "streamer-died")
        assert (await house.get(kept["id"]))["state"] == "ready"
        regions.lines["eu"].heal()
        await regions.until_answering("eu", "us")
        await agree(regions, over["id"])
        # The agent of us is halted: it does not answer, and its machine does.
        regions.agents["us"].halt()
        await regions.until_answering("eu")
        assert (await house.get(also["id"]))["state"] == "ready"
        regions.agents["us"].resume()
        await regions.until_answering("eu", "us")
        # The agent of us is killed, an instance ends, the agent is started again.
        over = await house.create(region="us")
        await anyio.to_thread.run_sync(regions.agents["us"].kill)
        regions.managers["us"].end(regions.instance_of(over["id"]), "streamer-died")
        await regions.until_answering("eu")
        assert (await house.get(over["id"]))["state"] == "starting"
        await anyio.to_thread.run_sync(regions.agents["us"].start)
        await regions.until_answering("eu", "us")
        await agree(regions, over["id"])
        # The bus is gone for a while.
        over = await house.create(region="eu")
        await anyio.to_thread.run_sync(regions.nats.kill)
        regions.managers["eu"].end(regions.instance_of(over["id"]), "streamer-died")
        await regions.until_answering()
        assert (await house.create())["region"] == "local", "what needs no bus goes on"
        await anyio.to_thread.run_sync(regions.nats.start)
        await regions.until_answering("eu", "us")
        await agree(regions, over["id"])
        for session in (kept, also):
            assert (await house.get(session["id"]))["state"] == "ready", "its picture never went"


async def agree(regions: World, session_id: str) -> None:
    """The session whose instance ended unseen ends, within the time that is promised."""
    began = time.monotonic()

    async def is_over() -> bool:
        return (await regions.house.get(session_id))["state"] == "ended"

    await until(is_over, "sessions and instances agree")
    assert time.monotonic() - began < AGREE_S


async def an_answer_is_lost(regions: World) -> None:
    """The launch arrives, its answer does not: there is one instance, or none in the end."""
    house, manager = regions.house, regions.managers["eu"]
    before, manager.gate = set(manager.instances), anyio.Event()
    made = list[Any]()

    async def create() -> None:
        body = {"application": "test-card", "region": "eu"}
        made.append(await house.call("POST", "/v1/sessions", await house.token(), json=body))

    asked = len(manager.requests)

    async def has_come() -> bool:
        return len(manager.requests) > asked

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(create)
        await until(has_come, "the manager has the launch")
        regions.lines["eu"].sever()  # the answer has no way back
        manager.gate.set()
        regions.lines["eu"].heal()
    status, body, _ = made[0]
    fresh = {item["id"]: item for item in manager.instances.values() if item["id"] not in before}
    assert len(fresh) == 1, "never a second one"
    if status == 201:
        assert [item["session_id"] for item in fresh.values()] == [body["id"]]
        return

    async def is_gone() -> bool:
        return all(item["state"] == "ended" for item in fresh.values())

    await until(is_gone, "what nobody wants is ended")
