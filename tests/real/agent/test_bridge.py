"""The agent carries calls to its manager and its answers back, whatever they are."""

from __future__ import annotations

from typing import Any

import anyio
import pytest
from fastapi import FastAPI
from starlette.requests import HTTPConnection

from downstage.agent import sessions
from downstage.agent.bridge import HEALTH_S, Bridge, Site
from downstage.agent.routes import create_router
from downstage.agent.sessions import SessionDoor
from downstage.auth.principal import Principal
from downstage.bus import MemoryBus
from downstage.contracts.agent import ANY_INSTANCE_CHANGED
from downstage.contracts.manager import INSTANCE_CHANGED
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound, PlatformError, Unavailable
from downstage.services import AsyncClient, BaseServiceError
from downstage.services.facilities.principal import Require
from downstage.services.registry import create_app

pytestmark = [pytest.mark.real, pytest.mark.anyio]

WANTED = {
    "session_id": "s",
    "owner": "anna",
    "application": "test-card",
    "instance_token": "t",
    "link_url": "unix:///nowhere",
}


class Manager:
    """A manager that answers what it is told to: `fail` is raised, `hangs` waits."""

    def __init__(self) -> None:
        self.fail: PlatformError | None = None
        self.hangs: anyio.Event | None = None
        self.bodies: list[Any] = []
        self.app = create_app("manager double")
        self.app.add_api_route("/v1/instances", self.create, methods=["POST"], status_code=201)
        self.app.add_api_route("/v1/health", self.health, methods=["GET"])

    async def create(self, body: dict[str, Any]) -> dict[str, Any]:
        if self.fail is not None:
            raise self.fail
        self.bodies.append(body)
        return {"id": "i-1", **body}

    async def health(self) -> dict[str, Any]:
        if self.hangs is not None:
            await self.hangs.wait()
        return {"ok": True, "capacity": 4, "running": 0}


class Agent:
    """An agent on a manager double, called as a gateway does."""

    def __init__(self) -> None:
        self.manager = Manager()
        self.bus = MemoryBus()
        self.acted_for: list[str | None] = []
        self.asked: list[Any] = []
        self.losses = 0
        self.gateway = create_app("gateway double")
        self.gateway.add_api_route("/v1/internal/sessions", self.session, methods=["POST"])
        self.bridge = Bridge(Site("west", 52.5, 13.4), self.clients, self.bus)
        self.app: FastAPI = create_app("agent")
        self.door = SessionDoor("west", self.gateways)
        self.app.include_router(create_router(self.bridge, self.door))
        self.client = AsyncClient("local://a", app=self.app, retries=0)

    async def session(self, body: dict[str, Any]) -> dict[str, Any]:
        self.asked.append(body)
        if self.losses:
            self.losses -= 1
            raise Unavailable("not now")
        return {"id": "s-1"}

    def gateways(self, person: str) -> AsyncClient:
        self.acted_for.append(person)
        return AsyncClient("local://g", app=self.gateway, retries=0)

    def clients(self, person: str | None) -> AsyncClient:
        self.acted_for.append(person)
        return AsyncClient("local://m", app=self.manager.app, retries=0)


@pytest.fixture
async def agent(monkeypatch: pytest.MonkeyPatch) -> Agent:
    """Without identity: who may call is tested with the whole platform."""

    async def gateway(self: Any, connection: HTTPConnection) -> Principal:
        del self, connection
        return Principal("service:gateway", "gateway", "service", act="anna")

    monkeypatch.setattr(Require, "__call__", gateway)
    return Agent()


async def test_a_call_goes_through(agent: Agent) -> None:
    answer = await agent.client.v1.instances.post(**WANTED, access_token="secret")
    assert answer["id"] == "i-1"
    assert agent.manager.bodies[0]["access_token"] == "secret"
    assert agent.manager.bodies[0]["instance_token"] == "t"
    assert agent.acted_for == [None, "anna"]


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (NotFound("There is no application x."), 404),
        (InvalidField("environment.PATH", "environment.PATH: not allowed."), 422),
        (NoCapacity("Every place is taken.", retry_after_s=9), 503),
    ],
)
async def test_errors_come_through_as_they_were(
    agent: Agent, error: PlatformError, status: int
) -> None:
    agent.manager.fail = error
    with pytest.raises(BaseServiceError) as caught:
        await agent.client.v1.instances.post(**WANTED)
    assert caught.value.status == status
    assert caught.value.code == error.code
    assert caught.value.detail == error.detail
    assert caught.value.retry_after == getattr(error, "retry_after_s", None)
    assert (caught.value.problem or {}).get("field") == error.context.get("field")


async def test_no_manager_is_503(agent: Agent) -> None:
    agent.bridge._managers = lambda _: AsyncClient("local://nobody")
    with pytest.raises(BaseServiceError) as caught:
        await agent.client.v1.instances.post(**WANTED)
    assert caught.value.status == 503
    assert caught.value.retry_after


async def test_health_answers_within_two_seconds(agent: Agent) -> None:
    assert (await agent.client.v1.health.get())["region"] == "west"
    agent.manager.hangs = anyio.Event()
    with anyio.fail_after(20), pytest.raises(BaseServiceError) as caught:
        await agent.client.v1.health.get()
    assert caught.value.status == 503
    assert f"within {HEALTH_S:g} s" in str(caught.value), "its own time ended it"
    assert HEALTH_S < 2
    agent.manager.hangs.set()


async def test_hints_are_repeated_under_the_region_s_name(agent: Agent) -> None:
    payload = {"instance_id": "i-1", "session_id": "s", "revision": 3}
    async with anyio.create_task_group() as tasks, agent.bus.subscribe(ANY_INSTANCE_CHANGED) as h:
        tasks.start_soon(agent.bridge.relay_hints)
        await anyio.sleep(0)
        agent.bus.publish(INSTANCE_CHANGED, payload)
        with anyio.fail_after(10):
            hint = await anext(h)
        assert hint.subject == "agent.west.instance.changed"
        assert dict(hint.payload) == payload
        tasks.cancel_scope.cancel()


async def test_a_session_is_asked_of_a_gateway_in_the_person_s_name(agent: Agent) -> None:
    instance = {"instance_id": "i-" + "a" * 26, "owner": "anna", "application": "test-card"}
    body = {"instance": instance, "username": "Anna", "extra": {"display": "x"}}
    answer = await agent.client.v1.sessions.post(**body)
    assert answer == {"id": "s-1"}
    assert agent.acted_for == [None, "anna"]
    assert agent.asked[0]["region"] == "west", "its own, whoever asks"
    assert agent.asked[0]["instance"]["instance_id"] == instance["instance_id"]
    with pytest.raises(BaseServiceError) as caught:
        await agent.client.v1.sessions.post(**body, region="east")
    assert caught.value.status == 422


async def test_what_a_gateway_refuses_is_handed_on(agent: Agent) -> None:
    agent.losses = 1
    instance = {"instance_id": "i-" + "a" * 26, "owner": "anna", "application": "test-card"}
    with pytest.raises(BaseServiceError) as caught:
        await agent.client.v1.sessions.post(instance=instance, username="Anna")
    assert (caught.value.status, caught.value.detail) == (503, "not now")
    assert len(agent.asked) == 1


async def test_a_gateway_that_does_not_answer_is_named(
    agent: Agent, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sessions, "PAUSE_S", 0.0)
    monkeypatch.setattr(agent.door, "_gateways", lambda _: AsyncClient("local://nobody", retries=0))
    instance = {"instance_id": "i-" + "a" * 26, "owner": "anna", "application": "test-card"}
    with pytest.raises(BaseServiceError, match="The gateway does not answer"):
        await agent.client.v1.sessions.post(instance=instance, username="Anna")
