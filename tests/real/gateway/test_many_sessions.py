"""A gateway that starts again with hundreds of sessions: what it asks grows in batches."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import event
from tests.real.gateway.homes import Gateway, gateway

from downstage.bus import MemoryBus
from downstage.contracts.gateway import SESSION_CHANGED
from downstage.gateway.models import Session
from downstage.gateway.states import Lease, ViewersChanged
from downstage.gateway.store import BATCH, Store
from downstage.kernel.ids import new_id, new_uuid
from downstage.services.facilities.database import Database

pytestmark = [pytest.mark.real, pytest.mark.anyio]
BOTH = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)

HOME = "http://127.0.0.1:9"
"""The same at each start, as a platform's address is."""
MANY = 450
LOST = 3
DEADLINE_S = 60.0


@contextmanager
def statements(database: Database) -> Generator[list[str]]:
    """The verb of every statement on sessions that is sent to *database*."""
    sent = list[str]()
    engine = database._engine.sync_engine  # pyright: ignore[reportPrivateUsage]

    def note(_connection: Any, _cursor: Any, statement: str, *_: Any) -> None:
        if "sessions" in statement:
            sent.append(statement.split(maxsplit=1)[0].upper())

    event.listen(engine, "before_cursor_execute", note)
    try:
        yield sent
    finally:
        event.remove(engine, "before_cursor_execute", note)


async def fill(store: Store, first: Session, count: int) -> list[Session]:
    """*count* sessions that are as *first* is."""
    made = list[Session]()
    for _ in range(count):
        life = replace(first.life, instance_id=new_id("i"))
        made.append(replace(first, id=new_uuid(), life=life))
        assert await store.insert(made[-1], None)
    return made


async def ended(house: Any, session_id: str) -> dict[str, Any]:
    """The session, once it has ended."""
    with anyio.fail_after(DEADLINE_S):
        while (session := await house.get(session_id))["state"] != "ended":
            await anyio.sleep(0.05)
    return session


async def test_S04_after_a_restart_no_instance_is_asked_for_but_those_that_do_not_fit(
    start: Any, manager: Any
) -> None:
    manager.capacity = 2 * MANY
    async with start(gateway__url=HOME) as house, house.on_stage() as (session_id, streamer):
        await streamer.say(type="peer.connected", peer="nobody")
        store = house.gateway.sessions.store
        first = await store.get(session_id)
        assert first is not None
        one = manager.instances[first.life.instance_id]
        more = await fill(store, first, MANY)
        for session in more:
            facts = {"id": session.life.instance_id, "session_id": session.id}
            manager.instances[session.life.instance_id] = {**one, **facts, "state": "running"}
    for session in more[:LOST]:
        del manager.instances[session.life.instance_id]
    manager.asked.clear()
    async with start(gateway__url=HOME) as house:
        for session in more[:LOST]:
            assert (await ended(house, session.id))["reason"] == "instance-lost"
        with anyio.fail_after(DEADLINE_S):
            await house.gateway.sessions.restored.wait()
        kept = house.gateway.sessions.store.kept()
        assert len(kept) == MANY + 1 - LOST
        assert manager.asked["page"] <= 3 * (1 + MANY // BATCH)
        assert manager.asked["one"] < MANY / 4
        # What was not looked at is true all the same, and goes on being followed.
        manager.end(more[-1].life.instance_id, "application-exited", exit_code=0)
        assert (await ended(house, more[-1].id))["outcome"] == "stopped"


@pytest.fixture
async def alone(data: Path, database: str | None) -> Any:
    async with gateway(data / "gateway.db", database, alone=True) as found:
        yield found


async def put_away(found: Gateway, count: int) -> list[Session]:
    """Sessions as they stood before a boot: their leases are to be granted anew."""
    first = await found.put()
    lease = first.life.maximum
    assert lease is not None
    of_before = Lease(lease.kind, lease.ends_at, lease.ends_monotonic, "an earlier boot")
    before = replace(first, life=replace(first.life, maximum=of_before))
    made = await fill(found.store, before, count)
    for session in [first, *made]:
        found.store.drop(session.id)
    return made


@BOTH
async def test_restoring_takes_a_handful_of_statements_for_each_batch(alone: Gateway) -> None:
    made = await put_away(alone, MANY)
    with statements(alone.database) as sent:
        restored = [session async for session in alone.sessions.restore()]
    assert {session.id for session in restored} >= {session.id for session in made}
    boots = {s.life.maximum.boot_id for s in restored if s.life.maximum is not None}
    assert "an earlier boot" not in boots
    batches = 1 + MANY // BATCH
    assert sent.count("UPDATE") <= batches
    assert sent.count("SELECT") <= 1 + 2 * batches
    with statements(alone.database) as sent:
        found = [session async for batch in alone.store.batches() for session in batch]
    assert len(found) == MANY + 1
    assert sent.count("SELECT") == 1, "what is kept in memory is not read again"


@BOTH
async def test_only_what_nobody_changed_meanwhile_is_stored(alone: Gateway) -> None:
    one, two, gone = await put_away(alone, 3)
    assert await alone.store.replace(replace(two, revision=two.revision + 1), two.revision)
    await alone.store.forget(gone.id)
    changed = [replace(s, revision=s.revision + 1, stage="file:///new") for s in (one, two, gone)]
    assert await alone.store.replace_all(changed) == {one.id}
    stages = [(await alone.store.fresh(s.id)) for s in (one, two, gone)]
    assert [s and s.stage for s in stages] == ["file:///new", None, None]


async def test_S04_viewers_whose_streamer_dials_in_first_are_not_taken_for_gone(
    alone: Gateway,
) -> None:
    session = await alone.put()
    await alone.sessions.apply(session.id, ViewersChanged(0))
    ready = replace(session, life=replace(session.life, state="active"), revision=9)
    assert await alone.store.replace(ready, session.revision)
    alone.sessions.viewers = lambda session_id: int(session_id == session.id)
    (restored,) = [item async for item in alone.sessions.restore()]
    assert (restored.life.state, restored.life.lease and restored.life.lease.kind) == (
        "active",
        "idle",
    )


async def test_what_restoring_left_as_it_was_is_told_to_nobody(
    data: Path, database: str | None
) -> None:
    bus = MemoryBus()
    async with gateway(data / "gateway.db", database, bus, alone=True) as found:
        session = await found.put()
        found.store.drop(session.id)
        async with bus.subscribe(SESSION_CHANGED) as hints:
            restored = [item async for item in found.sessions.restore()]
            assert [item.id for item in restored] == [session.id]
            assert found.store.peek(session.id) == restored[0]
            with anyio.move_on_after(0):
                await anext(hints)
                pytest.fail("a hint came of a session that had not changed")


async def test_a_create_writes_its_session_three_times_at_most(start: Any) -> None:
    async with start(gateway__url=HOME) as house:
        await house.create()
        database = house.gateway._database
        assert database is not None
        with statements(database) as sent:
            created = await house.create()
            house.manager.change(house.instance_of(created["id"]), state="running", stage="running")
            with anyio.fail_after(DEADLINE_S):
                while (await house.get(created["id"]))["progress"] != "running":
                    await anyio.sleep(0.01)
        assert sent.count("INSERT") == 1
        assert sent.count("UPDATE") <= 2, "placed, and how far its start has come"
