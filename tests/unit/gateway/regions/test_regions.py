"""Which regions a gateway has, what it does with those that fall silent, and with doubles."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

import anyio
import pytest

from downstage.bus import MemoryBus
from downstage.contracts.agent import Announcement, announced
from downstage.contracts.manager import InstanceCreate
from downstage.gateway.region import Region
from downstage.gateway.regions.metrics import metric_lines
from downstage.gateway.regions.regions import ONLY, Regions
from downstage.gateway.regions.score import Wish
from downstage.gateway.regions.sights import Counts
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound, Unavailable
from downstage.services import AsyncClient
from downstage.services.registry import create_app

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

WANTED = InstanceCreate(session_id="s", owner="anna", application="test-card")
STAMP = "2026-01-01T00:00:00+00:00"
VIEW: dict[str, Any] = {
    "id": "i-1",
    "session_id": "s",
    "tenant": "main",
    "owner": "anna",
    "application": "test-card",
    "state": "starting",
    "revision": 1,
    "stage": "placed",
    "created_at": STAMP,
    "updated_at": STAMP,
}


class Agent:
    """An agent that takes *free* launches."""

    def __init__(self, name: str, free: int = 1, applications: tuple[str, ...] = ()) -> None:
        self.name = name
        self.free = free
        self.known = applications or ("test-card",)
        self.asked = 0
        self.is_away = False
        self.app = create_app(name)
        self.app.add_api_route("/v1/instances", self.create, methods=["POST"], status_code=201)
        self.app.add_api_route("/v1/instances/{instance_id}", self.stop, methods=["DELETE"])
        self.stopped = list[str]()
        self.app.add_api_route("/v1/health", self.health, methods=["GET"])
        self.app.add_api_route("/v1/applications", self.applications, methods=["GET"])

    async def create(self, body: InstanceCreate) -> dict[str, Any]:
        self.asked += 1
        if body.application not in self.known:
            raise NotFound("There is no such application.")
        if not self.free:
            raise NoCapacity("Every place is taken.")
        self.free -= 1
        return {**VIEW, "session_id": body.session_id, "application": body.application}

    async def health(self) -> dict[str, Any]:
        self.asked += 1
        if self.is_away:
            raise Unavailable("away")
        return {"ok": True, "capacity": 2, "running": 2 - self.free, "latitude": 1.0}

    async def stop(self, instance_id: str) -> dict[str, Any]:
        if self.is_away:
            raise Unavailable("away")
        if not instance_id.endswith(self.name):
            raise NotFound("There is no such instance.")
        self.stopped.append(instance_id)
        return {**VIEW, "id": instance_id}

    async def applications(self) -> dict[str, Any]:
        view: dict[str, Any] = {
            "description": "",
            "display": "x11",
            "images": [],
            "opens_stage": False,
        }
        return {"items": [{"name": name, "title": name, **view} for name in self.known]}

    def region(self) -> Region:
        return Region(self.name, self.client)

    def client(self, person: str | None) -> AsyncClient:
        del person
        return AsyncClient("local://x", app=self.app, retries=0)


class World:
    """A gateway's regions, on a bus of this process and a clock that stands still."""

    def __init__(self, *agents: Agent, own: Agent | None = None) -> None:
        self.clock, self.bus = ManualClock(), MemoryBus()
        self.agents = {agent.name: agent for agent in agents}
        self.back = list[str]()
        self.regions = Regions(
            own.region() if own else None,
            lambda name: self.agents[name].client,
            clock=self.clock,
            bus=self.bus,
        )
        self.regions.on_back.append(self.back.append)

    def announce(self, name: str, **more: Any) -> None:
        facts: dict[str, Any] = {
            "agent": f"a-{name}",
            "capacity": 2,
            "free": self.agents[name].free,
            **more,
        }
        told = Announcement(region=name, at=datetime(2026, 1, 1, tzinfo=UTC), **facts)
        self.bus.publish(announced(name), told.model_dump(mode="json"))

    @asynccontextmanager
    async def running(self) -> AsyncGenerator[World]:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self.regions.run)
            await anyio.wait_all_tasks_blocked()
            yield self
            tasks.cancel_scope.cancel()

    async def tell(self, *names: str, **more: Any) -> None:
        for name in names:
            self.announce(name, **more)
        await anyio.wait_all_tasks_blocked()


async def test_regions_appear_as_they_announce_themselves() -> None:
    async with World(Agent("eu"), Agent("us")).running() as world:
        assert world.regions.names() == []
        with pytest.raises(Unavailable, match="No region answers"):
            await world.regions.choose(Wish())
        await world.tell("eu", "us", latitude=50.0, longitude=8.0, probe="https://p")
        assert [item.name for item in await world.regions.views()] == ["eu", "us"]
        view = (await world.regions.views())[0]
        assert (view.free, view.capacity, view.answering, view.probe) == (1, 2, True, "https://p")
        assert world.back == ["eu", "us"]
        assert world.regions.counts() == Counts(2, 0)


async def test_a_silent_region_is_not_offered_and_comes_back() -> None:
    async with World(Agent("eu"), Agent("us")).running() as world:
        await world.tell("eu", "us")
        world.clock.advance(5)
        await world.tell("us")
        world.clock.advance(2)
        ranking = await world.regions.choose(Wish(near="eu", rtt_ms={"eu": 1}))
        assert ranking.regions == ("us",)
        assert "nothing for 7 s" in ranking.reason
        assert world.regions.counts() == Counts(2, 1)
        with pytest.raises(Unavailable, match="eu does not answer"):
            await world.regions.choose(Wish(region="eu"))
        assert world.regions.of("eu").name == "eu", "its sessions are still driven"
        world.back.clear()
        await world.tell("eu")
        assert world.back == ["eu"]
        assert (await world.regions.choose(Wish(region="eu"))).regions == ("eu",)


async def test_who_waits_is_told_when_a_place_comes_free() -> None:
    async with World(Agent("eu")).running() as world:
        told = list[str]()
        world.regions.on_room.append(told.append)
        await world.tell("eu", free=0)
        assert told == []
        await world.tell("eu", free=1)
        await world.tell("eu", free=2)
        assert told == ["eu"]
        world.clock.advance(60)
        await world.tell("eu", free=2)
        assert told == ["eu", "eu"], "while it was away it had none"


async def test_an_unknown_region_is_refused_by_name() -> None:
    async with World(Agent("eu"), Agent("us")).running() as world:
        await world.tell("eu", "us")
        with pytest.raises(InvalidField, match=r"no region mars; known: eu, us\.") as caught:
            await world.regions.choose(Wish(region="mars"))
        assert caught.value.status == 422


async def test_one_region_is_simply_taken() -> None:
    own = Agent("local")
    regions = Regions(own.region(), clock=ManualClock(), bus=MemoryBus())
    ranking = await regions.choose(Wish(rtt_ms={"x": 1}))
    assert (ranking.regions, ranking.reason) == (("local",), ONLY)
    assert own.asked == 0, "nobody was asked how it is"
    assert regions.of("renamed since").name == "local"
    with pytest.raises(InvalidField, match="known: local"):
        await regions.choose(Wish(region="eu"))


async def test_the_region_of_the_settings_counts_beside_those_of_the_bus() -> None:
    own = Agent("here")
    async with World(Agent("eu"), own=own).running() as world:
        await world.tell("eu")
        assert [item.name for item in await world.regions.facts()] == ["eu", "here"]
        assert world.regions.counts() == Counts(2, 0)
        own.is_away = True
        world.clock.advance(7)
        await world.tell("eu")
        facts = {item.name: item for item in await world.regions.facts()}
        assert not facts["here"].answering
        assert world.regions.counts() == Counts(2, 1)


async def test_a_region_that_announces_itself_is_not_counted_twice() -> None:
    own = Agent("here")
    world = World(own, own=own)
    async with world.running():
        await world.tell("here")
        assert world.regions.counts() == Counts(1, 0)
        asked = own.asked
        world.clock.advance(2)
        await world.regions.facts()
        assert own.asked == asked, "it tells by itself: nobody asks"


async def test_a_full_region_is_followed_by_the_next() -> None:
    eu, us = Agent("eu", free=0), Agent("us")
    async with World(eu, us).running() as world:
        await world.tell("eu", "us", free=1)  # it was told before somebody else took the place
        name, instance = await world.regions.launch(("eu", "us"), WANTED)
        assert (name, instance.id, eu.asked, us.asked) == ("us", "i-1", 1, 1)
        assert (await world.regions.choose(Wish(near="eu"))).regions == ("us",)
        with pytest.raises(NoCapacity):
            await world.regions.launch(("eu", "us"), WANTED)


async def test_an_instance_of_nobody_is_ended_wherever_it_is() -> None:
    eu, us, asia = Agent("eu"), Agent("us"), Agent("asia")
    async with World(eu, us, asia).running() as world:
        await world.tell("eu", "us", "asia")
        asia.is_away = True
        await world.regions.stop("i-us", None)
        await world.regions.stop("i-eu", "eu")
        assert (us.stopped, eu.stopped) == (["i-us"], ["i-eu"])
        with pytest.raises(Unavailable):  # asia may have it
            await world.regions.stop("i-asia", None)
        asia.is_away = False
        await world.regions.stop("i-nowhere", None)


async def test_applications_of_all_regions_are_offered() -> None:
    eu, us = Agent("eu"), Agent("us", applications=("paint", "test-card"))
    async with World(eu, us).running() as world:
        await world.tell("eu", "us")
        page = await world.regions.applications()
        assert [item.name for item in page.items] == ["paint", "test-card"]
        paint = WANTED.model_copy(update={"application": "paint"})
        assert (await world.regions.launch(("eu", "us"), paint))[0] == "us"
        nothing = WANTED.model_copy(update={"application": "none"})
        with pytest.raises(NotFound):
            await world.regions.launch(("eu", "us"), nothing)


@pytest.mark.parametrize(
    "payload",
    [
        {},
        {"agent": "x", "region": "us", "at": STAMP},  # on the subject of another region
        {"agent": "x", "region": "eu", "at": STAMP, "capacity": -1},
        {"agent": "x", "region": "eu", "at": STAMP, "interval_s": 1e9},
        {"agent": "x", "region": "eu", "at": STAMP, "latitude": 91},
        {"agent": "x" * 65, "region": "eu", "at": STAMP},
        {"agent": ["x"], "region": {}, "at": 1},
    ],
)
async def test_what_is_no_announcement_changes_nothing(payload: dict[str, Any]) -> None:
    async with World(Agent("eu")).running() as world:
        world.bus.publish(announced("eu"), payload)
        await anyio.wait_all_tasks_blocked()
        assert world.regions.names() == []
        await world.tell("eu")
        assert world.regions.names() == ["eu"]


@pytest.mark.parametrize(
    ("probe", "origins"),
    [
        ("https://p.example/x?y", ["https://p.example"]),
        ("https://p.example:8443", ["https://p.example:8443"]),
        ("stun:p.example:3478", []),
        ("http://p.example/", []),
        ("https://p.example; script-src *", []),
        ("https://p.example\r\nx: y", []),
        ("https://*", []),
        (None, []),
    ],
)
async def test_pages_may_ask_probes_and_nothing_else(probe: str | None, origins: list[str]) -> None:
    async with World(Agent("eu")).running() as world:
        await world.tell("eu", probe=probe)
        assert world.regions.probes() == origins


async def test_a_newer_agent_may_tell_more() -> None:
    async with World(Agent("eu")).running() as world:
        more = {"agent": "x", "region": "eu", "at": STAMP, "colour": "red"}
        world.bus.publish(announced("eu"), more)
        await anyio.wait_all_tasks_blocked()
        assert world.regions.names() == ["eu"]


def test_metrics_have_the_names_that_dashboards_know() -> None:
    lines = metric_lines(Counts(3, 1), 7)
    for name, total in (("downstage", ""), ("anbox_stream_gateway", "_total")):
        assert f"{name}_agents{total} 3" in lines
        assert f"{name}_agents_unresponsive 1" in lines
        assert f"{name}_sessions{total} 7" in lines
