"""Spawners that are slow, refuse, never answer, keep zombies and lie: places are what runs."""

from __future__ import annotations

from collections import Counter

import anyio
import pytest

from downstage.contracts.manager import InstanceCreate
from downstage.kernel.errors import NoCapacity
from downstage.manager import driver, instances
from downstage.spawners.spawner import Spawner
from downstage.testing.spawners import (
    BadSpawner,
    LiarSpawner,
    NeverSpawner,
    PaperSpawner,
    SlowSpawner,
    ZombieSpawner,
)

from .conftest import Manager, Run, request_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]
"""Nothing here starts a process."""


def asked(number: int) -> InstanceCreate:
    return request_of(f"s-{number}")


async def settle(manager: Manager, spawner: PaperSpawner) -> None:
    """Wait until as many places are taken as instances run."""
    with anyio.fail_after(20):
        while manager.instances.running or spawner.living:
            await anyio.sleep(0.01)


@pytest.mark.parametrize(
    "spawner",
    [PaperSpawner(), SlowSpawner(), BadSpawner(), ZombieSpawner(), LiarSpawner(), NeverSpawner()],
    ids=lambda spawner: type(spawner).__name__,
)
def test_each_is_a_spawner(spawner: Spawner) -> None:
    assert callable(spawner.start)


async def test_S06_two_hundred_at_once_on_ten_places_start_ten(run: Run) -> None:
    spawner, outcomes = PaperSpawner(), Counter[str]()
    async with run(capacity=10, spawner=spawner) as manager:

        async def create(number: int) -> None:
            try:
                await manager.instances.create(asked(number))
                outcomes["placed"] += 1
            except NoCapacity as error:
                outcomes["refused"] += error.retry_after_s > 0

        async with anyio.create_task_group() as tasks:
            for number in range(200):
                tasks.start_soon(create, number)
        assert outcomes == {"placed": 10, "refused": 190}
        for view in await manager.instances.list():
            await manager.until(view.id, "running")
        assert len(spawner.started) == len(spawner.living) == manager.instances.running == 10


async def test_S06_fifty_deletes_during_slow_starts_leave_nothing(run: Run) -> None:
    spawner = SlowSpawner()
    async with run(capacity=50, spawner=spawner) as manager:
        views = [await manager.instances.create(asked(number)) for number in range(50)]
        for view in views:
            assert (await manager.instances.stop(view.id)).state in ("ending", "ended")
        spawner.gate.set()
        await settle(manager, spawner)
        for view in views:
            assert (await manager.instances.get(view.id)).state == "ended"


async def test_S03_a_start_that_is_refused_frees_its_place_and_says_why(run: Run) -> None:
    spawner = BadSpawner(times=1)
    async with run(capacity=1, spawner=spawner) as manager:
        view = await manager.instances.create(asked(1))
        ended = await manager.until(view.id, "ended")
        assert (ended.reason, ended.detail) == ("start-failed", "There is no display server.")
        second = await manager.instances.create(asked(2))
        await manager.until(second.id, "running")


async def test_S03_a_start_that_never_answers_ends_by_its_deadline(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "START_S", 0.2)
    spawner = NeverSpawner()
    async with run(capacity=1, spawner=spawner) as manager:
        view = await manager.instances.create(asked(1))
        ended = await manager.until(view.id, "ended")
        assert ended.reason == "start-failed"
        await settle(manager, spawner)


async def test_S03_one_that_ignores_its_end_keeps_its_place_until_it_is_gone(
    run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(instances, "ORDERLY_S", 0.1)
    monkeypatch.setattr(instances, "FORCED_S", 0.1)
    spawner = ZombieSpawner()
    async with run(capacity=1, spawner=spawner) as manager:
        view = await manager.instances.create(asked(1))
        await manager.until(view.id, "running")
        assert (await manager.instances.stop(view.id)).state == "ending"
        with pytest.raises(NoCapacity):
            await manager.instances.create(asked(2))
        spawner.handles[view.id].abandon()
        ended = await manager.until(view.id, "ended")
        assert ended.reason is not None
        await settle(manager, spawner)
        await manager.instances.create(asked(2))


async def test_S03_who_was_said_to_run_and_is_gone_holds_no_place(run: Run) -> None:
    spawner = LiarSpawner()
    async with run(capacity=1, spawner=spawner) as manager:
        for number in range(5):
            view = await manager.instances.create(asked(number))
            ended = await manager.until(view.id, "ended")
            assert (ended.reason, ended.exit_code) == ("application-exited", 0)
        await settle(manager, spawner)
