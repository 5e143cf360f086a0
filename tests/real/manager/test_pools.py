"""Warm pools: filled, claimed once, refilled, aged out, given up where sessions need the place."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.contracts.manager import Display, InstanceCreate, Needs
from downstage.contracts.nodes import NodeDrain
from downstage.kernel.errors import NoCapacity

from .fleet import Machines, open_fleet, wish

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@both
async def test_a_session_takes_one_that_waits_and_the_pool_is_filled_again(
    data: Path, database: str | None
) -> None:
    machines = Machines(places=4)
    async with open_fleet(data, database, machines, pool=2) as manager:
        await manager.waiting(2)
        before = {one.fixed.id for one in manager.instances.living}
        wanted = wish(
            "s-1",
            "pooled",
            instance_id=f"i-{'a' * 26}",
            user_data="hello",
            display=Display(width=1920, height=1080),
            labels={"team": "red"},
            name="mine",
        )
        taken = await manager.instances.create(wanted)
        assert (taken.id, taken.state, taken.stage) == (f"i-{'a' * 26}", "running", "running")
        assert (taken.pool, taken.session_id, taken.owner) == (None, "s-1", "u-1")
        assert (taken.tags, taken.labels, taken.name) == (["session=s-1"], {"team": "red"}, "mine")
        assert "pooled@1/main" in (taken.node_reason or "")
        (runs,) = [one for one in machines.spawners["local"].instances.values() if one.adopted]
        assert runs.spec.instance_id in before
        adopted = runs.adopted
        assert adopted is not None
        assert (adopted.instance_id, adopted.session_id) == (taken.id, "s-1")
        assert (adopted.display.width, adopted.user_data) == (1920, "hello")
        assert adopted.instance_token.get_secret_value() == "the-instance-token"
        again = await manager.instances.create(wanted)
        assert again.id == taken.id, "the same session, the same instance"
        await manager.waiting(2)
        assert manager.instances.placed == {"cold": 0, "warm": 1, "refused": 0}
        ended = await manager.instances.stop(taken.id)
        assert ended.session_id == "s-1"
        assert (await manager.until(taken.id, "ended")).reason == "stopped"
        assert runs.spec.instance_id in machines.spawners["local"].forgotten


@both
async def test_many_who_ask_at_once_take_each_one_once(data: Path, database: str | None) -> None:
    machines = Machines(places=20)
    async with open_fleet(data, database, machines, pool=3) as manager:
        await manager.waiting(3)

        async def create(number: int) -> None:
            await manager.instances.create(wish(f"s-{number}", "pooled"))

        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(create, number)
        assert manager.instances.placed == {"cold": 7, "warm": 3, "refused": 0}
        sessions = Counter(one.session_id for one in await manager.instances.list())
        assert sessions == {f"s-{number}": 1 for number in range(10)}
        told = [
            one.adopted.session_id
            for one in machines.spawners["local"].instances.values()
            if one.adopted
        ]
        assert len(told) == len(set(told)) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "https://example.org/a.usd"},
        {"arguments": ["--fast"]},
        {"environment": {"A": "b"}},
        {"ports": [{"name": "http", "number": 80}]},
        {"needs": Needs(cpus=1)},
        {"display": Display(width=7680, height=4320)},
        {"display": Display(fps=30)},
        {"session_id": None},
    ],
    ids=lambda changes: next(iter(changes)),
)
async def test_who_asks_for_more_than_waits_starts_anew(
    data: Path, changes: dict[str, Any]
) -> None:
    async with open_fleet(data, None, Machines(), pool=1) as manager:
        await manager.waiting(1)
        wanted = wish("s-1", "pooled")
        made = await manager.instances.create(InstanceCreate(**{**dict(wanted), **changes}))
        assert made.state == "starting"
        assert sum(one.fixed.pool is not None for one in manager.instances.living) == 1


async def test_who_was_given_one_has_the_machine_for_a_moment(data: Path) -> None:
    machines = Machines(places=6)
    async with open_fleet(data, None, machines, pool=2) as manager:
        await manager.waiting(2)
        for number in (1, 2):  # the second prolongs nothing
            await manager.instances.create(wish(f"s-{number}", "pooled"))
            for _ in range(3):
                await manager.pools.look()
            assert machines.spawners["local"].started == 2, "a first picture needs the cores"
        await manager.waiting(2)
        assert manager.instances.placed["warm"] == 2


@both
async def test_those_who_wait_give_way_to_a_session(data: Path, database: str | None) -> None:
    machines = Machines(places=3)
    async with open_fleet(data, database, machines, pool=2) as manager:
        await manager.waiting(2)
        oldest = min(manager.instances.living, key=lambda one: one.created_at).fixed.id
        assert manager.instances.capacity - manager.instances.running == 3, "they count as free"
        for number in (1, 2):
            await manager.until((await manager.instances.create(wish(f"s-{number}"))).id, "running")
        assert (await manager.until(oldest, "ended")).reason == "evicted"
        await manager.pools.look()
        assert sum(one.fixed.pool is not None for one in manager.instances.living) == 1
        await manager.until((await manager.instances.create(wish("s-3"))).id, "running")
        with pytest.raises(NoCapacity):
            await manager.instances.create(wish("s-4"))
        await manager.pools.look()
        assert (await manager.fleet.view("local")).waiting == 0, "sessions come first"


async def test_the_old_are_replaced_and_too_many_ended(data: Path) -> None:
    machines = Machines()
    async with open_fleet(data, None, machines, pool=1) as manager:
        await manager.waiting(1)
        (live,) = manager.instances._live.values()
        old = live.record.fixed.id
        live.record = replace(live.record, created_at=live.record.created_at - timedelta(hours=1))
        await manager.pools.look()
        assert (await manager.until(old, "ended")).reason == "pool-expired"
        await manager.waiting(1)
        (new,) = manager.instances.living
        assert new.fixed.id != old
        (data / "applications" / "pooled" / "application.toml").unlink()
        await manager.pools.look()
        assert (await manager.until(new.fixed.id, "ended")).reason == "pool-shrunk"


async def test_a_pool_whose_application_dies_is_tried_later_and_later(data: Path) -> None:
    machines = Machines()
    machines.spawners["local"].manner = "dies"
    async with open_fleet(data, None, machines, pool=2) as manager:
        for _ in range(20):
            await manager.pools.look()
            with anyio.fail_after(5):
                while manager.instances.living:
                    await anyio.sleep(0.01)
        assert machines.spawners["local"].started == 1, "it was not tried again at once"


async def test_one_that_waits_leaves_a_node_that_is_emptied(data: Path) -> None:
    machines = Machines()
    async with open_fleet(data, None, machines, pool=1) as manager:
        await manager.waiting(1)
        (waits,) = manager.instances.living
        await manager.fleet.drain("local", NodeDrain(deadline_s=3600))
        with pytest.raises(NoCapacity, match="drained"):
            await manager.instances.create(wish("s-1", "pooled"))
        await manager.upkeep.empty_nodes()
        assert (await manager.until(waits.fixed.id, "ended")).reason == "node-drained"


@both
async def test_one_whose_session_was_never_told_ends_after_a_restart(
    data: Path, database: str | None
) -> None:
    """The manager was killed between the row and the keeper: nobody has the session's token now."""
    machines = Machines()
    async with open_fleet(data, database, machines, pool=1) as manager:
        await manager.waiting(1)
        (waits,) = manager.instances.living
        taken = await manager.instances.create(wish("s-1", "pooled"))
        machines.spawners["local"].instances[waits.fixed.id].tell(waits=True)
        manager.crash()
    async with open_fleet(data, database, machines) as manager:
        assert (await manager.until(taken.id, "ended")).reason == "not-adopted"
