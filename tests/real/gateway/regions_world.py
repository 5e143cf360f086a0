"""A gateway with regions whose agents are processes of their own, on a NATS server of the test."""

from __future__ import annotations

import secrets
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
from fastapi import FastAPI

from downstage.services.server import Server, open_port
from downstage.testing.mmdb import write_mmdb
from downstage.testing.nats import NatsServer
from downstage.testing.proxy import TcpProxy
from downstage.testing.serving import ServiceProcess

from .conftest import House, ManagerDouble, Start

INTERVAL_S = 0.5
PLACES = {"eu": (52.5, 13.4), "us": (40.7, -74.0)}
PATIENCE_S = 30.0


@dataclass
class World:
    """The platform, its bus, and what a region has: a manager, a line to the bus, agents."""

    house: House
    nats: NatsServer
    managers: dict[str, ManagerDouble] = field(default_factory=dict[str, ManagerDouble])
    lines: dict[str, TcpProxy] = field(default_factory=dict[str, TcpProxy])
    agents: dict[str, ServiceProcess] = field(default_factory=dict[str, ServiceProcess])

    async def regions(self) -> dict[str, dict[str, Any]]:
        status, body, _ = await self.house.call("GET", "/v1/regions")
        assert status == 200, body
        return {item["name"]: item for item in body["items"]}

    async def until_answering(self, *names: str) -> None:
        """These regions answer, and no other of the test's."""

        async def right() -> bool:
            known = await self.regions()
            return {name for name in PLACES if known.get(name, {}).get("answering")} == set(names)

        await until(right, f"{names} alone answer")

    def region_of(self, session_id: str) -> str:
        """Where an instance of the session was asked for."""
        found = [
            name
            for name, manager in self.managers.items()
            if any(item["session_id"] == session_id for item in manager.instances.values())
        ]
        assert len(found) == 1, found
        return found[0]

    def instance_of(self, session_id: str) -> str:
        manager = self.managers[self.region_of(session_id)]
        found = [k for k, v in manager.instances.items() if v["session_id"] == session_id]
        assert len(found) == 1, "one session, one instance"
        return found[0]

    @asynccontextmanager
    async def on_stage(self, region: str) -> AsyncGenerator[dict[str, Any]]:
        """A session in *region* with a picture and a viewer; its streamer stays on the link."""
        session = await self.house.create(region=region)
        instance = self.instance_of(session["id"])
        request = next(r for r in self.managers[region].requests if r.instance_id == instance)
        assert request.instance_token is not None
        token = request.instance_token.get_secret_value()
        async with self.house.unix.ws_connect(
            f"http://gateway/v1/instances/{instance}/link",
            headers={"authorization": f"Bearer {token}"},
        ) as socket:
            await socket.send_json(
                {"type": "hello", "instance_id": instance, "session_id": session["id"], "peers": []}
            )
            await socket.send_json(
                {"type": "ready", "width": 1, "height": 1, "encoder": "x264", "audio": True}
            )
            await self.house.wait(session["id"], "ready")
            yield session


async def until(right: Callable[[], Awaitable[bool]], what: str, s: float = PATIENCE_S) -> None:
    """Wait for *right*; it says itself when it is."""
    with anyio.move_on_after(s):
        while not await right():
            await anyio.sleep(0.02)
        return
    raise AssertionError(f"not within {s:g} s: {what}")


@asynccontextmanager
async def world(
    start: Start, data: Path, *, agents: Sequence[str] = ("eu", "us"), configuration: str = ""
) -> AsyncGenerator[World]:
    """All of it runs; *agents* name the region of each."""
    places = data / "places.mmdb"
    write_mmdb(places, {"127.0.0.0/8": {"location": {"latitude": 43.7, "longitude": -79.4}}})
    secret = data / "services.secret"
    secret.write_text(secrets.token_urlsafe(32), encoding="ascii")
    async with AsyncExitStack() as stack:
        nats = stack.enter_context(NatsServer(configuration))
        house = await stack.enter_async_context(
            start(
                bus__url=nats.url,
                gateway__discover=True,
                services__secret_file=secret,
                agent__announce_interval=INTERVAL_S,
                gateway__locations=places,
                gateway__connect_lease=900,
                gateway__start_deadline=900,
            )
        )
        built = World(house, nats)
        tasks = await stack.enter_async_context(anyio.create_task_group())
        identity = await _serve(stack, tasks, house.host.app("identity"))
        shared = {
            "bus.url": nats.url,
            "services.identity": identity,
            "services.secret_file": secret,
            "agent.announce": "true",
            "agent.announce_interval": INTERVAL_S,
        }
        for number, region in enumerate(agents):
            if region not in built.managers:
                manager = built.managers[region] = ManagerDouble(data / region)
                manager.bus = house.host.bus
                built.lines[region] = await stack.enter_async_context(TcpProxy(nats.port))
                shared[f"manager {region}"] = await _serve(stack, tasks, manager.app())
            latitude, longitude = PLACES[region]
            own = {
                "services.manager": shared[f"manager {region}"],
                "bus.url": f"nats://127.0.0.1:{built.lines[region].port}",
                "agent.region": region,
                "agent.latitude": latitude,
                "agent.longitude": longitude,
                "agent.probe": f"https://{region}.example/probe",
            }
            settings = {k: v for k, v in {**shared, **own}.items() if " " not in k}
            agent = ServiceProcess("agent", data / f"agent-{number}", settings)
            name = region if region not in built.agents else f"{region}-{number}"
            built.agents[name] = agent
            agent.begin()
            stack.callback(agent.stop)
        for agent in built.agents.values():
            await anyio.to_thread.run_sync(agent.wait)
        await built.until_answering(*built.managers)
        yield built
        for agent in built.agents.values():
            await anyio.to_thread.run_sync(agent.stop)
        tasks.cancel_scope.cancel()


async def _serve(stack: AsyncExitStack, tasks: Any, app: FastAPI) -> str:
    listening = open_port("127.0.0.1", 0)
    server = Server(app, [listening])
    tasks.start_soon(server.run)
    await server.wait_started()
    stack.callback(server.stop)
    return f"http://127.0.0.1:{listening.getsockname()[1]}"
