"""A manager's parts wired as in the product, with the tests' own streamer and application."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from downstage.bus import MemoryBus
from downstage.contracts.manager import InstanceCreate, InstanceView
from downstage.kernel.clock import SystemClock
from downstage.kernel.settings import Manager as Settings
from downstage.manager.instances import Instances
from downstage.manager.nodes.fleet import Fleet
from downstage.manager.nodes.local import local_node
from downstage.manager.nodes.spawners import Spawners, no_containers
from downstage.manager.planning import Planner
from downstage.manager.store import Store
from downstage.services.facilities.database import open_database
from downstage.services.supervisor import supervise
from downstage.spawners.process import ProcessSettings, ProcessSpawner, run_folder
from downstage.spawners.spawner import Spawner

PROGRAMS = Path(__file__).parent.parent / "spawners" / "programs"
DECLARED = """
name = "test"
title = "Test"
command = ["{{python}}", "{programs}/application.py"]
read_only = ["{programs}"]
images = ["registry.example/test:1"]
opens_stage = true
stage_argument = []
[resources]
start_deadline_s = 10
"""


def request_of(session: str, *arguments: str, **changes: Any) -> InstanceCreate:
    values: dict[str, Any] = {
        "session_id": session,
        "owner": "u-1",
        "application": "test",
        "arguments": list(arguments or ("draw",)),
        "instance_token": SecretStr("the-instance-token"),
        "link_url": "unix:///nowhere",
    }
    return InstanceCreate(**{**values, **changes})


class Manager:
    """One run of a manager on a folder; `crash` lets everything go as SIGKILL would."""

    def __init__(
        self, instances: Instances, fleet: Fleet, planner: Planner, bus: MemoryBus
    ) -> None:
        self.instances, self.fleet, self.planner, self.bus = instances, fleet, planner, bus
        self.crash: Callable[[], None] = lambda: None
        self.cancel: Callable[[], None] = lambda: None

    async def until(self, instance_id: str, *states: str, seconds: float = 15) -> InstanceView:
        """The instance, once it is in one of *states*."""
        with anyio.fail_after(seconds):
            async with self.bus.subscribe("manager.instance.*") as hints:
                while (view := await self.instances.get(instance_id)).state not in states:
                    await anext(hints)
        return view


async def crew_of(drivers: anyio.CancelScope, *, task_status: anyio.abc.TaskStatus[Any]) -> None:
    """The tasks that drive instances, which a host may cancel before it shuts the service down."""
    with drivers:
        async with anyio.create_task_group() as tasks:
            task_status.started(tasks)
            await anyio.sleep_forever()


@asynccontextmanager
async def run_manager(
    data: Path,
    url: str | None = None,
    *,
    capacity: int = 4,
    spawner: Spawner | None = None,
    **settings: Any,
) -> AsyncIterator[Manager]:
    folder = data / "applications" / "test"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "application.toml").write_text(DECLARED.format(programs=PROGRAMS))
    command = (sys.executable, str(PROGRAMS / "streamer.py"), "plain")
    options = {
        "streamer": command,
        "audio": False,
        "stop_grace_s": 0.5,
        "attach_deadline_s": 3.0,
        **settings,
    }
    spawner = spawner or ProcessSpawner(run_folder(data), ProcessSettings(**options))
    planner = Planner([data / "applications"], [data / "stages"])
    bus = MemoryBus()
    database = await open_database(
        data / "manager.db",
        name="manager",
        migrations="downstage.manager.migrations",
        url=SecretStr(url) if url else None,
    )
    try:
        async with anyio.create_task_group() as tasks:
            drivers = anyio.CancelScope()
            crew = await tasks.start(crew_of, drivers)

            def start(function: Any, *arguments: Any, name: str) -> None:
                crew.start_soon(supervise, name, function, *arguments)

            clock = SystemClock()
            fleet = Fleet(database, clock, Spawners(spawner, no_containers), "spread")
            await fleet.open(local_node(Settings(capacity=capacity)))
            instances = Instances(Store(database, clock), fleet, planner, bus, start=start)
            await instances.resume()
            manager = Manager(instances, fleet, planner, bus)
            manager.crash = tasks.cancel_scope.cancel
            manager.cancel = drivers.cancel
            yield manager
            if not tasks.cancel_scope.cancel_called:
                await instances.close()
            tasks.cancel_scope.cancel()
    finally:
        await database.close()


Run = Callable[..., AbstractAsyncContextManager[Manager]]


@pytest.fixture
def run(data: Path, database: str | None) -> Run:
    """Run a manager on this test's folder; again for a restart."""

    def on_folder(**settings: Any) -> AbstractAsyncContextManager[Manager]:
        return run_manager(data, database, **settings)

    return on_folder
