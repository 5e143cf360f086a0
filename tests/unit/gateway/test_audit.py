"""Sessions and instances are compared as wholes, and what does not fit is put right."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from types import SimpleNamespace
from typing import Any, cast

import anyio
import pytest

from downstage.contracts.manager import InstanceState
from downstage.gateway.audit import Audit
from downstage.gateway.region import Counted
from downstage.gateway.sessions import Sessions
from downstage.kernel.errors import Unavailable

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class World:
    """Sessions by id with their state, and a region's instances."""

    def __init__(self, sessions: dict[str, str], instances: list[Counted]) -> None:
        self.rows = {
            name: SimpleNamespace(
                id=name,
                region="eu",
                application="card",
                ports=(),
                warnings=(),
                life=SimpleNamespace(state=state, instance_id="i" + name[1:], progress="display"),
            )
            for name, state in sessions.items()
        }
        self.instances = instances
        self.stopped = list[str]()
        self.marked = set[str]()
        self.on_back = list[Any]()
        self.silent = set[str]()
        self.regions: Any = self
        self.store: Any = self
        self.restored = anyio.Event()
        self.restored.set()
        self.audit = Audit(cast("Sessions", self), self.marked.add)
        self.asked = "eu"

    def of(self, region: str) -> Any:
        self.asked = region
        return self

    def names(self) -> list[str]:
        return ["eu"]

    async def census(self) -> list[Counted]:
        if self.asked in self.silent:
            raise Unavailable("nobody")
        return self.instances

    async def stop(self, instance_id: str) -> None:
        self.stopped.append(instance_id)

    async def batches(self) -> AsyncIterator[list[Any]]:
        yield [row for row in self.rows.values() if row.life.state != "ended"]

    async def ended_among(self, ids: Sequence[str]) -> set[str]:
        return {name for name in ids if name in self.rows and self.rows[name].life.state == "ended"}


def counted(name: str, session: str | None, state: str, **more: Any) -> Counted:
    facts: dict[str, Any] = {"stage": "display", "application": "card", **more}
    return Counted(name, session, cast("InstanceState", state), **facts)


async def test_what_does_not_fit_is_marked_and_what_does_is_not() -> None:
    world = World(
        {
            "s-fits": "active",
            "s-over": "active",
            "s-lost": "ready",
            "s-ending": "ending",
            "s-queued": "queued",
            "s-starting": "starting",
        },
        [
            counted("i-fits", "s-fits", "running"),
            counted("i-over", "s-over", "ended"),
            counted("i-ending", "s-ending", "running"),
            counted("i-starting", "s-starting", "starting"),
        ],
    )
    await world.audit.compare("eu")
    assert world.marked == {"s-over", "s-lost", "s-ending"}
    assert world.stopped == []


@pytest.mark.parametrize(
    ("state", "facts"),
    [
        ("starting", {"stage": "running"}),
        ("active", {"application": "another"}),
        ("active", {"isolated": False}),
        ("ready", {"ports": ({"name": "http"},)}),
    ],
)
async def test_what_a_hint_would_have_told_of_a_session_has_it_looked_at(
    state: str, facts: dict[str, Any]
) -> None:
    world = World({"s-1": state}, [counted("i-1", "s-1", "running", **facts)])
    await world.audit.compare("eu")
    assert world.marked == {"s-1"}


async def test_nothing_is_compared_before_all_is_taken_up_and_lost_hints_compare_all() -> None:
    world = World({"s-1": "active"}, [])
    world.restored = anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.audit.run)
        world.audit.ask_all()
        await anyio.wait_all_tasks_blocked()
        assert world.marked == set()
        world.restored.set()
        await anyio.wait_all_tasks_blocked()
        assert world.marked == {"s-1"}
        tasks.cancel_scope.cancel()


async def test_an_instance_without_a_session_is_ended_where_the_session_was_ours() -> None:
    world = World(
        {"s-given-up": "ended"},
        [
            counted("i-given-up", "s-given-up", "running"),
            counted("i-warm", None, "running"),
            counted("i-of-another-platform", "s-unknown", "running"),
            counted("i-on-its-way", "s-given-up", "ending"),
        ],
    )
    await world.audit.compare("eu")
    assert world.stopped == ["i-given-up"]
    assert world.marked == set()


async def test_sessions_of_other_regions_are_left_alone() -> None:
    world = World({"s-1": "active"}, [])
    await world.audit.compare("us")
    assert world.marked == set()


async def test_a_region_that_comes_back_is_compared_and_a_silent_one_waits_for_nobody() -> None:
    world = World({"s-1": "active"}, [])
    world.silent.add("us")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(world.audit.run)
        await anyio.wait_all_tasks_blocked()
        for listener in world.on_back:
            listener("us")
            listener("eu")
        await anyio.wait_all_tasks_blocked()
        assert world.marked == {"s-1"}
        tasks.cancel_scope.cancel()
