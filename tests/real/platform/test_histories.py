"""What really happened under earlier releases happens again: recorded histories, replayed (S07).

``tests/data/histories/record.py`` made them of running platforms. Every step that a state machine
took then it takes now, and the rows on the way say the same on SQLite as on PostgreSQL.
"""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr, TypeAdapter
from sqlalchemy import func, select

from downstage.contracts.manager import Display
from downstage.gateway import states as session_states
from downstage.gateway.lease import Now, Policy
from downstage.gateway.models import Session
from downstage.gateway.queue import Waiting, arrange, positions
from downstage.gateway.states import Life, step
from downstage.gateway.store import Store as Sessions
from downstage.gateway.tables import sessions
from downstage.kernel.clock import SystemClock
from downstage.manager import states as instance_states
from downstage.manager.nodes.model import Node
from downstage.manager.nodes.rows import put_node, read_usage
from downstage.manager.scheduler import Choice
from downstage.manager.states import STATES, Instance
from downstage.manager.store import NewInstance, Record
from downstage.manager.store import Store as Instances
from downstage.manager.tables import instances
from downstage.services.facilities.database import Database, open_database
from downstage.spawners.plan import Report

pytestmark = [pytest.mark.real, pytest.mark.anyio]

HISTORIES = sorted((Path(__file__).parents[2] / "data" / "histories").glob("*.json"))
HOME = "http://127.0.0.1:8600"
ORDER = ("queued", "starting", "ready", "active", "ending", "ended")
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
each = pytest.mark.parametrize("path", HISTORIES, ids=[path.stem for path in HISTORIES])


@dataclass
class SessionStep:
    """One step of a session."""

    of: str
    before: Life
    after: Life
    effects: list[str]
    done: session_states.Step


@dataclass
class InstanceStep:
    """One step of an instance."""

    of: str
    before: Instance
    after: Instance
    done: Instance


Step = SessionStep | InstanceStep


def session_step(one: dict[str, Any]) -> SessionStep:
    """Take the recorded step again."""
    kind = getattr(session_states, one["event"].pop("event"))
    life = TypeAdapter(Life).validate_python(one["before"])
    happened = TypeAdapter(kind).validate_python(one["event"])
    now = TypeAdapter(Now).validate_python(one["now"])
    policy = TypeAdapter(Policy).validate_python(one["policy"])
    after = TypeAdapter(Life).validate_python(one["after"])
    return SessionStep(one["of"], life, after, one["effects"], step(life, happened, now, policy))


def instance_step(one: dict[str, Any]) -> InstanceStep:
    """Take the recorded step again."""
    before = TypeAdapter(Instance).validate_python(one["before"])
    after = TypeAdapter(Instance).validate_python(one["after"])
    given = [Report(**item) if isinstance(item, dict) else item for item in one["given"]]
    done = getattr(instance_states, one["event"]["event"])(before, *given)
    return InstanceStep(one["of"], before, after, done)


def steps(path: Path) -> Iterator[Step]:
    """All steps of both machines, in the order in which they were taken."""
    for one in json.loads(path.read_text(encoding="utf-8"))["steps"]:
        if one["machine"] == "session":
            yield session_step(one)
        elif one["machine"] == "instance":
            yield instance_step(one)


def test_S07_there_are_histories_of_all_kinds() -> None:
    seen = [part.after for path in HISTORIES for part in steps(path)]
    lives = [after for after in seen if isinstance(after, Life)]
    assert {life.state for life in lives} >= {*ORDER, "disconnected"}
    assert {life.outcome for life in lives} >= {"stopped", "expired", "failed"}
    assert any(life.waits for life in lives)
    assert {after.state for after in seen if isinstance(after, Instance)} == set(STATES)


@each
def test_S07_machines_take_the_steps_that_they_took(path: Path) -> None:
    for number, part in enumerate(steps(path)):
        if isinstance(part, SessionStep):
            assert part.done.life == part.after, number
            assert [effect.value for effect in part.done.effects] == part.effects, number
        else:
            assert part.done == part.after, number


@each
def test_S07_the_queue_is_in_the_order_that_it_was_in(path: Path) -> None:
    for one in json.loads(path.read_text(encoding="utf-8"))["steps"]:
        if one["machine"] == "queue":
            waiting = [TypeAdapter(Waiting).validate_python(item) for item in one["waiting"]]
            found = arrange(waiting)
            assert [item.id for item in found] == one["order"]
            assert sorted(positions(found).values()) == list(range(1, len(found) + 1))


def new_session(of: str, life: Life) -> Session:
    """The row of a session whose instance is called *of*."""
    now = SystemClock().now()
    return Session(
        id=f"session-of-{of}",
        tenant="main",
        owner="anna",
        username="anna",
        application="test-card",
        stage=None,
        region="local",
        home=HOME,
        display=Display(),
        life=life,
        created_at=now,
        updated_at=now,
    )


@dataclass
class House:
    """Both databases, and what they must say."""

    gateway: Database
    manager: Database
    sessions: Sessions
    instances: Instances
    lives: dict[str, Session] = field(default_factory=dict[str, Session])
    records: dict[str, Record] = field(default_factory=dict[str, Record])

    async def take(self, part: Step) -> None:
        if isinstance(part, SessionStep):
            await self._session(part)
        else:
            await self._instance(part)

    async def _session(self, part: SessionStep) -> None:
        known = self.lives.get(part.of)
        if known is None:
            known = new_session(part.of, part.before)
            assert await self.sessions.insert(known, None)
        assert known.life.state != "ended" or part.after == known.life, "it came back"
        if part.after != known.life:
            changed = replace(known.with_life(part.after), revision=known.revision + 1)
            assert await self.sessions.replace(changed, known.revision)
            assert not await self.sessions.replace(changed, known.revision), "two may write"
            known = changed
        self.lives[part.of] = known
        found = await self.sessions.fresh(known.id)
        assert found is not None
        assert found.life == part.after
        assert found.revision == known.revision
        if part.after.state == "ended":
            self._ended(part)

    def _ended(self, part: SessionStep) -> None:
        """A session is over only when nothing of its instance runs."""
        assert part.after.lease is None
        assert part.after.outcome is not None
        assert part.after.reason
        record = self.records.get(part.of)
        assert record is None or record.instance.state == "ended", part.of

    async def _instance(self, part: InstanceStep) -> None:
        known = self.records.get(part.of)
        if known is None:
            new = NewInstance(part.of, f"session-of-{part.of}", "main", "anna", "test-card")
            made = await self.instances.create(new, lambda _nodes, _usage: Choice("local", "-"))
            assert made.is_new
            again = await self.instances.create(new, lambda _nodes, _usage: Choice("local", "-"))
            assert not again.is_new, "two places for one session"
            known = made.record
        before, after = known.instance, part.after
        assert STATES.index(after.state) >= STATES.index(before.state), "it went back"
        assert after.reason == before.reason or before.reason is None, "another reason"
        assert after.revision - part.before.revision in (0, 1)
        self.records[part.of] = await self.instances.change(known, after, None)
        found = await self.instances.get(part.of)
        assert found is not None
        assert found.instance == after

    async def agree(self) -> None:
        """Places taken are instances that have not ended; no session outlives its instance."""
        running = [one for one in self.records.values() if one.instance.state != "ended"]
        async with self.manager.read() as connection:
            usage = await read_usage(connection)
            left = select(func.count()).where(instances.c.state != "ended")
            assert (await connection.execute(left)).scalar_one() == len(running)
        assert (usage["local"].places if "local" in usage else 0) == len(running)
        going = {one.id for one in self.lives.values() if one.life.state != "ended"}
        async with self.gateway.read() as connection:
            query = select(sessions.c.id).where(sessions.c.state != "ended")
            assert set((await connection.execute(query)).scalars()) == going


@pytest.fixture
async def house(data: Path, database: str | None) -> AsyncIterator[House]:
    """Empty databases, with one node."""
    async with AsyncExitStack() as stack:
        opened = dict[str, Database]()
        for name in ("gateway", "manager"):
            opened[name] = await open_database(
                data / f"{name}.db",
                name=name,
                migrations=f"downstage.{name}.migrations",
                url=SecretStr(database) if database else None,
            )
            stack.push_async_callback(opened[name].close)
        async with opened["manager"].write() as connection:
            await put_node(connection, Node("local", 100, 16.0, 65536))
        gateway, manager = opened["gateway"], opened["manager"]
        clock = SystemClock()
        yield House(gateway, manager, Sessions(gateway, HOME), Instances(manager, clock))


@both
@each
async def test_S07_rows_follow_what_happened(house: House, path: Path) -> None:
    for part in steps(path):
        await house.take(part)
    await house.agree()
    assert house.lives
    assert house.records
