"""A pool is looked after when something of it has changed, not whenever a session starts."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from downstage.kernel.clock import ManualClock
from downstage.manager.instances import Instances
from downstage.manager.planning import Planner
from downstage.manager.pools import keeper as module
from downstage.manager.pools.keeper import PoolKeeper

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def changed(state: str, pool: str | None = None) -> Any:
    instance = SimpleNamespace(state=state, reason="stopped")
    return SimpleNamespace(fixed=SimpleNamespace(pool=pool), instance=instance)


async def test_only_what_concerns_a_pool_has_it_looked_at(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "REST_S", 0)
    monkeypatch.setattr(module, "LOOK_S", 3600)
    looks = 0
    told = list[Any]()
    placed = {"warm": 0}
    instances = cast("Instances", SimpleNamespace(listeners=told, living=[], placed=placed))

    async def wanted() -> list[Any]:
        nonlocal looks
        looks += 1
        return []

    async def looked() -> int:
        await anyio.wait_all_tasks_blocked()
        return looks

    keeper = PoolKeeper(instances, cast("Planner", None), wanted, ManualClock())
    (tell,) = told
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(keeper.run)
        assert await looked() == 1
        for state in ("starting", "running", "ending"):
            tell(changed(state))
        assert await looked() == 1
        tell(changed("ended"))
        assert await looked() == 2, "its place is free"
        tell(changed("running", "pool"))
        assert await looked() == 3
        placed["warm"] += 1
        tell(changed("running"))
        assert await looked() == 4, "it was taken from a pool"
        tasks.cancel_scope.cancel()
