"""A manager on a real database whose nodes run nothing, so that there may be many of them."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import anyio
from pydantic import SecretStr

from downstage.bus import MemoryBus
from downstage.contracts.manager import InstanceCreate, InstanceView
from downstage.kernel.clock import SystemClock
from downstage.manager.applications import Catalogue
from downstage.manager.catalogue.declared import Declared
from downstage.manager.catalogue.service import Pool
from downstage.manager.instances import Instances
from downstage.manager.nodes.fleet import Fleet
from downstage.manager.nodes.model import Node
from downstage.manager.nodes.rows import put_node, read_nodes
from downstage.manager.nodes.spawners import Spawners
from downstage.manager.planning import Planner
from downstage.manager.pools.keeper import PoolKeeper
from downstage.manager.scheduler import Strategy
from downstage.manager.store import Store
from downstage.manager.upkeep import Upkeep
from downstage.services.facilities.database import Database, open_database
from downstage.services.supervisor import supervise
from downstage.testing.machines import ScriptedSpawner

IMAGE = "registry.example/app"
DECLARED = """
name = "plain"
title = "Plain"
command = ["/bin/true"]
opens_stage = true
stage_argument = []
"""
POOLED = """
name = "pooled"
title = "Pooled"
command = ["/bin/true"]
opens_stage = true
stage_argument = []
[profiles.main.pool]
size = {size}
ttl_s = 10
"""
BOXED = """
name = "boxed"
title = "Boxed"
image = "registry.example/app"
"""


def wish(session: str | None, application: str = "plain", **changes: Any) -> InstanceCreate:
    values: dict[str, Any] = {
        "session_id": session,
        "owner": "u-1",
        "application": application,
        "instance_token": SecretStr("the-instance-token"),
        "link_url": "unix:///nowhere",
    }
    return InstanceCreate(**{**values, **changes})


@dataclass
class Fleeting:
    """One run of such a manager."""

    instances: Instances
    fleet: Fleet
    pools: PoolKeeper
    upkeep: Upkeep
    bus: MemoryBus
    database: Database
    crash: Callable[[], None]

    async def until(self, instance_id: str, *states: str) -> InstanceView:
        """The instance, once it is in one of *states*."""
        with anyio.fail_after(10):
            async with self.bus.subscribe("manager.instance.*") as hints:
                while (view := await self.instances.get(instance_id)).state not in states:
                    await anext(hints)
        return view

    async def waiting(self, count: int) -> None:
        """Return once so many of the pool run and wait, however often it must be looked at."""
        with anyio.fail_after(10):
            while (
                sum(
                    one.pool is not None and one.state == "running"
                    for one in await self.instances.list()
                )
                != count
            ):
                await self.pools.look()
                await anyio.sleep(0.01)


def declared_pools(catalogue: Catalogue) -> list[Pool]:
    """The pools that profiles of declared applications ask for."""
    return [
        Pool(name, 1, profile_name, profile.pool.size, profile.pool.ttl_s)
        for name, application in catalogue.applications.items()
        for profile_name, profile in application.declared.all_profiles.items()
        if profile.pool.size
    ]


class Machines:
    """Nodes that outlive managers: by name, ``local`` among them."""

    def __init__(self, *names: str, places: int = 4, engine: str = "unix:///") -> None:
        self.spawners = {name: ScriptedSpawner() for name in ("local", *names)}
        self.places, self._engine = places, engine

    def node(self, name: str) -> Node:
        """What is on record of one; each is an engine, and runs processes all the same."""
        engine = f"{'unix:///' if name == 'local' else self._engine}{name}"
        return Node(name, self.places, 64, 65536, engine=engine, spawner="container")


class _Spawners(Spawners):
    """Every kind of instance runs on every machine."""

    def __init__(self, machines: Machines) -> None:
        self._machines = machines

    def of(self, node: Node, kind: str) -> ScriptedSpawner:
        del kind
        return self._machines.spawners[node.name]

    def used_of(self, node: Node) -> list[Any]:
        return [self._machines.spawners[node.name]]


@asynccontextmanager
async def open_fleet(
    data: Path,
    url: str | None,
    machines: Machines,
    *,
    strategy: Strategy = "spread",
    pool: int = 0,
) -> AsyncGenerator[Fleeting]:
    """A manager on *machines*; ``boxed`` runs on all of them, the others on ``local``."""
    for name, text in (("plain", DECLARED), ("pooled", POOLED), ("boxed", BOXED)):
        folder = data / "applications" / name
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "application.toml").write_text(text.format(size=pool))
    declared = Declared([data / "applications"])
    planner = Planner(declared, [data / "stages"], images=[IMAGE])
    database = await open_database(
        data / "manager.db",
        name="manager",
        migrations="downstage.manager.migrations",
        url=SecretStr(url) if url else None,
    )

    async def wanted() -> list[Pool]:
        return declared_pools(await declared.reload())

    try:
        async with anyio.create_task_group() as tasks:

            def start(function: Any, *arguments: Any, name: str) -> None:
                tasks.start_soon(supervise, name, function, *arguments)

            clock, bus = SystemClock(), MemoryBus()
            async with database.write() as connection:
                known = {node.name for node in await read_nodes(connection)}
                for name in machines.spawners.keys() - known:
                    await put_node(connection, machines.node(name))
            fleet = Fleet(database, clock, _Spawners(machines), strategy)
            await fleet.open(replace(machines.node("local"), spawner="process"))
            for name in machines.spawners:
                await fleet.ask(name)
            instances = Instances(Store(database, clock), fleet, planner, bus, start=start)
            await instances.resume()
            pools = PoolKeeper(instances, planner, wanted, clock)
            upkeep = Upkeep(instances, fleet, clock)
            crash = tasks.cancel_scope.cancel
            yield Fleeting(instances, fleet, pools, upkeep, bus, database, crash)
            if not tasks.cancel_scope.cancel_called:
                await instances.close()
            tasks.cancel_scope.cancel()
    finally:
        await database.close()
