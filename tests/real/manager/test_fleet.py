"""Nodes: places taken once, a node that is off, moved starts, drains, strangers, bad spawners."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from pathlib import Path

import anyio
import pytest

from downstage.contracts.manager import InstanceCreate
from downstage.contracts.nodes import NodeCreate, NodeDrain, NodePatch
from downstage.kernel.errors import Conflict, InvalidField, NoCapacity, NotFound, Unavailable
from downstage.testing.machines import Manner

from .fleet import Machines, open_fleet, wish

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@both
async def test_S06_many_creates_at_once_get_no_more_than_there_is(
    data: Path, database: str | None
) -> None:
    machines = Machines("a", "b", places=4)
    outcomes = Counter[str]()
    count = 60 if database else 200
    async with open_fleet(data, database, machines) as manager:

        async def create(number: int) -> None:
            try:
                await manager.instances.create(wish(f"s-{number}", "boxed"))
                outcomes["placed"] += 1
            except NoCapacity as error:
                outcomes["refused"] += error.retry_after_s > 0

        async with anyio.create_task_group() as tasks:
            for number in range(count):
                tasks.start_soon(create, number)
        assert outcomes == {"placed": 12, "refused": count - 12}
        nodes = Counter(view.node for view in await manager.instances.list())
        assert nodes == {"local": 4, "a": 4, "b": 4}
        assert {view.name: view.instances for view in await manager.fleet.views()} == nodes
        for view in await manager.instances.list():
            assert view.node_reason
            assert (await manager.until(view.id, "running")).tags == [f"session={view.session_id}"]
        assert {name: len(one.instances) for name, one in machines.spawners.items()} == nodes


@both
async def test_S06_a_session_asked_for_fifty_times_gets_one_instance(
    data: Path, database: str | None
) -> None:
    ids = set[str]()
    machines = Machines()
    async with open_fleet(data, database, machines) as manager, anyio.create_task_group() as tasks:

        async def create() -> None:
            ids.add((await manager.instances.create(wish("s-1"))).id)

        for _ in range(50):
            tasks.start_soon(create)
    assert len(ids) == 1
    assert machines.spawners["local"].started == 1


async def test_S06_one_without_a_session_is_asked_for_again_by_its_id(data: Path) -> None:
    asked = wish(None, instance_id=f"i-{'b' * 26}")
    async with open_fleet(data, None, Machines()) as manager:
        first = await manager.instances.create(asked)
        again = await manager.instances.create(asked)
        assert first.id == again.id == asked.instance_id
        assert first.tags == []
        for changes in ({"owner": "u-2"}, {"session_id": "s-1"}):
            with pytest.raises(Conflict):
                await manager.instances.create(InstanceCreate(**{**dict(asked), **changes}))


async def test_a_node_that_is_off_holds_up_nobody_and_loses_nothing(data: Path) -> None:
    machines = Machines("a", places=8)
    async with open_fleet(data, None, machines) as manager:
        placed = [
            await manager.instances.create(wish(f"s-{number}", "boxed", node=node))
            for number, node in enumerate(("a", "a", "local"))
        ]
        for view in placed:
            await manager.until(view.id, "running")
        machines.spawners["a"].switch(off=True)
        await manager.fleet.ask("a")
        assert (await manager.fleet.view("a")).status == "offline"
        lost = await manager.instances.get(placed[0].id)
        assert lost.state == "running", "nothing is known of it, so it is as it was"
        assert "does not answer" in (lost.detail or "")
        other = await manager.instances.create(wish("s-9", "boxed"))
        assert other.node == "local"
        assert "a: does not answer" in (other.node_reason or "")
        with pytest.raises(NoCapacity, match="a: does not answer"):
            await manager.instances.create(wish("s-10", "boxed", node="a"))
        del machines.spawners["a"].instances[placed[1].id]  # one of the two is lost with it
        machines.spawners["a"].switch(off=False)
        await manager.fleet.ask("a")
        assert (await manager.until(placed[1].id, "ended")).reason == "lost"
        back = await manager.instances.get(placed[0].id)
        assert (back.state, back.detail) == ("running", None)
        await manager.instances.stop(placed[0].id)
        assert (await manager.until(placed[0].id, "ended")).reason == "stopped"


async def test_a_start_on_a_node_that_went_off_moves_to_another(data: Path) -> None:
    machines = Machines("a", places=2)
    async with open_fleet(data, None, machines, strategy="binpack") as manager:
        machines.spawners["a"].switch(off=True)  # and nobody has looked since
        placed = await manager.instances.create(wish("s-1", "boxed"))
        assert placed.node == "a"
        running = await manager.until(placed.id, "running")
        assert running.node == "local"
        assert {view.name: view.instances for view in await manager.fleet.views()} == {
            "a": 0,
            "local": 1,
        }
        only = await manager.instances.create(wish("s-2", "boxed", node="a"))
        assert (await manager.until(only.id, "ended")).reason == "node-unreachable"


async def test_what_has_moved_to_another_machine_is_a_stranger_on_the_first(data: Path) -> None:
    machines = Machines("a", "b", engine="ssh://")
    reached = "http://192.0.2.1:8600"
    async with open_fleet(data, None, machines) as manager:
        placed = await manager.instances.create(wish("s-1", "boxed", node="a", link_url=reached))
        await manager.until(placed.id, "running")
        await machines.spawners["b"].start(machines.spawners["a"].instances[placed.id].spec)
        await manager.upkeep.sweep()  # b had started it, and could not say so in time
        assert list(machines.spawners["a"].instances) == [placed.id]
        assert not machines.spawners["b"].instances
        with pytest.raises(
            InvalidField, match=r"a: is another machine, and its gateway .*gateway\.url"
        ):
            await manager.instances.create(wish("s-2", "boxed", node="a"))
        assert (await manager.instances.create(wish("s-3", "boxed"))).node == "local"


@both
async def test_a_restart_finds_what_runs_and_ends_what_nobody_has_on_record(
    data: Path, database: str | None
) -> None:
    machines = Machines("a")
    async with open_fleet(data, database, machines) as manager:
        placed = await manager.instances.create(wish("s-1", "boxed", node="a"))
        await manager.until(placed.id, "running")
        spec = machines.spawners["a"].instances[placed.id].spec
        await machines.spawners["a"].start(replace(spec, instance_id="i-stranger"))
        manager.crash()
    async with open_fleet(data, database, machines) as manager:
        found = await manager.until(placed.id, "running")
        assert (found.node, found.session_id) == ("a", "s-1")
        await manager.upkeep.sweep()
        assert sorted(machines.spawners["a"].instances) == [placed.id]
        assert (await manager.fleet.view("a")).instances == 1


async def test_S08_cordon_drain_and_uncordon(data: Path) -> None:
    machines = Machines("a", places=2)
    async with open_fleet(data, None, machines) as manager:
        first = await manager.instances.create(wish("s-1", "boxed", node="a"))
        await manager.until(first.id, "running")
        assert (await manager.fleet.cordon("a")).cordoned
        assert (await manager.instances.create(wish("s-2", "boxed"))).node == "local"
        with pytest.raises(NoCapacity, match="cordoned"):
            await manager.instances.create(wish("s-3", "boxed", node="a"))
        await manager.upkeep.empty_nodes()
        assert (await manager.instances.get(first.id)).state == "running"
        view = await manager.fleet.drain("a", NodeDrain(deadline_s=3600))
        assert (view.draining, view.instances) == (True, 1)
        await manager.upkeep.empty_nodes()
        assert (await manager.instances.get(first.id)).state == "running", "it has an hour"
        await manager.fleet.drain("a", NodeDrain())
        await manager.upkeep.empty_nodes()
        assert (await manager.until(first.id, "ended")).reason == "node-drained"
        assert (await manager.fleet.view("a")).instances == 0
        view = await manager.fleet.uncordon("a")
        assert (view.cordoned, view.draining) == (False, False)
        assert (await manager.instances.create(wish("s-4", "boxed", node="a"))).node == "a"


async def test_what_is_drained_stays_drained_after_a_restart(data: Path) -> None:
    machines = Machines("a")
    async with open_fleet(data, None, machines) as manager:
        await manager.fleet.cordon("a")
        await manager.fleet.drain("local", NodeDrain(deadline_s=60))
    async with open_fleet(data, None, machines) as manager:
        local = await manager.fleet.view("local")
        assert local.draining
        with pytest.raises(NoCapacity, match="local: is drained"):
            await manager.instances.create(wish("s-1"))


async def test_nodes_are_added_changed_and_removed(data: Path) -> None:
    machines = Machines("a")
    new = NodeCreate(name="b", engine="unix:///b", places=1, cpus=1, memory_mb=512)
    async with open_fleet(data, None, machines) as manager:
        machines.spawners["b"] = machines.spawners["a"]
        assert (await manager.fleet.add(new)).status == "online"
        with pytest.raises(Conflict):
            await manager.fleet.add(new)
        assert (await manager.fleet.patch("b", NodePatch(labels={"gpu": "t4"}))).places == 1
        wanted = wish("s-1", "boxed", node_labels={"gpu": "t4"})
        placed = await manager.instances.create(wanted)
        assert placed.node == "b"
        await manager.until(placed.id, "running")
        with pytest.raises(Conflict, match="Drain it first"):
            await manager.fleet.remove("b")
        with pytest.raises(Conflict, match="settings"):
            await manager.fleet.patch("local", NodePatch(places=9))
        with pytest.raises(Conflict):
            await manager.fleet.remove("local")
        await manager.instances.abandon("b")
        await manager.fleet.remove("b")
        assert (await manager.until(placed.id, "ended")).reason == "node-removed"
        with pytest.raises(NotFound):
            await manager.fleet.view("b")
        with pytest.raises(InvalidField):
            await manager.instances.create(wanted.model_copy(update={"session_id": "s-2"}))


@pytest.mark.parametrize(
    ("manner", "reason"),
    [
        ("bad", "start-failed"),
        ("dies", "application-exited"),
        ("liar", "lost"),
    ],
)
async def test_S03_a_spawner_that_fails_or_lies_gives_its_place_back(
    data: Path, manner: Manner, reason: str
) -> None:
    machines = Machines(places=1)
    machines.spawners["local"].manner = manner
    async with open_fleet(data, None, machines) as manager:
        for number in range(3):
            placed = await manager.instances.create(wish(f"s-{number}"))
            ended = await manager.until(placed.id, "ended")
            assert ended.reason == reason
            assert ended.detail or manner == "dies"
            with anyio.fail_after(5):
                while manager.instances.living:
                    await anyio.sleep(0.01)
        assert (await manager.fleet.view("local")).instances == 0
        assert not machines.spawners["local"].instances


@pytest.mark.parametrize("manner", ["never", "zombie"])
async def test_S03_a_spawner_that_never_starts_or_never_ends_is_cut_off(
    data: Path, manner: Manner, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("downstage.manager.driver.CUT_S", 0.05)
    monkeypatch.setattr("downstage.manager.upkeep.KILL_S", 0.0)
    machines = Machines(places=1)
    machines.spawners["local"].manner = manner
    async with open_fleet(data, None, machines) as manager:
        placed = await manager.instances.create(wish("s-1"))
        with anyio.fail_after(5):
            while not machines.spawners["local"].started:
                await anyio.sleep(0.01)
        if manner == "zombie":
            await manager.until(placed.id, "running")
        await manager.instances.stop(placed.id)
        await manager.upkeep.end_by_force()
        assert (await manager.until(placed.id, "ended")).reason == "stopped"
        assert (await manager.fleet.view("local")).instances == 0
        machines.spawners["local"].manner = "good"
        again = await manager.instances.create(wish("s-2"))
        assert (await manager.until(again.id, "running")).node == "local"


async def test_S08_a_hundred_sessions_end_in_order_and_no_new_one_comes(
    data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("downstage.manager.instances.ORDERLY_S", 60)  # however busy the machine
    machines = Machines(places=100)
    async with open_fleet(data, None, machines) as manager:
        for number in range(100):
            await manager.instances.create(wish(f"s-{number}"))
        machines.spawners["local"].instances.popitem()  # whatever is wrong with one of them
        await manager.instances.close()
        assert not manager.instances.living
        views = await manager.instances.list()
        assert {view.state for view in views} == {"ended"}
        assert len(views) == 100
        with pytest.raises(Unavailable, match="shutting down"):
            await manager.instances.create(wish("s-100"))
    assert not machines.spawners["local"].instances
