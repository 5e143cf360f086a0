"""What the dialect notes of instances goes with their records, and where there never was one."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import delete, func, insert, select

from downstage.kernel.clock import SystemClock
from downstage.manager import store as records
from downstage.manager.dialects.ams import store as kept
from downstage.manager.dialects.ams.store import AmsStore, Note
from downstage.manager.moments import write_moment
from downstage.manager.tables import instances
from downstage.services.facilities.database import Database, open_database

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)

ROW = {
    "tenant": "main",
    "owner": "anna",
    "application": "test-card",
    "tags": [],
    "labels": {},
    "needs": {},
    "cpus": 0.0,
    "memory_mb": 0,
    "gpu_slots": 0,
    "spawner": "process",
    "node": "local",
    "holds": True,
    "ports": [],
    "state": "ended",
    "stage": "placed",
    "isolated": True,
    "revision": 1,
    "created_at": kept.now(),
    "updated_at": kept.now(),
}


@pytest.fixture
async def opened(data: Path, database: str | None) -> AsyncIterator[Database]:
    """The manager's database."""
    found = await open_database(
        data / "manager.db",
        name="manager",
        migrations="downstage.manager.migrations",
        url=SecretStr(database) if database else None,
    )
    yield found
    await found.close()


async def put_on_record(opened: Database, *ids: str) -> None:
    async with opened.write() as connection:
        rows = [{**ROW, "id": one, "runs_as": one} for one in ids]
        await connection.execute(insert(instances), rows)


async def counted(opened: Database) -> int:
    async with opened.read() as connection:
        return int(
            (await connection.execute(select(func.count()).select_from(kept.notes))).scalar_one()
        )


@both
async def test_a_note_goes_with_the_record_of_its_instance(opened: Database) -> None:
    store = AmsStore(opened)
    await put_on_record(opened, "i-1", "i-2")
    await store.note("i-1", Note({"platform": "webrtc"}, protected=True))
    await store.note("i-2", Note({}, deleted=True))
    again = AmsStore(opened)  # which has noted nothing yet
    await again.prune()
    assert (await again.notes()).keys() == {"i-1", "i-2"}
    async with opened.write() as connection:
        await connection.execute(delete(instances).where(instances.c.id == "i-2"))
    await again.prune()
    assert await again.notes() == {"i-1": Note({"platform": "webrtc"}, protected=True)}


@both
async def test_what_was_refused_is_forgotten_and_what_is_about_to_be_is_not(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = AmsStore(opened)
    for number in range(3 * kept.BATCH):
        await store.note(f"i-{number}", Note({}, deleted=True))
    await store.prune()
    assert await counted(opened) == 3 * kept.BATCH, "each may be about to be"
    monkeypatch.setattr(kept, "MOST_YOUNG", 5)
    await store.note("i-last", Note({}))
    monkeypatch.setattr(kept, "YOUNG_S", 0.0)
    await store.prune()
    assert await counted(opened) == 0


@both
async def test_it_is_done_again_and_again(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "PRUNE_S", 0.01)
    monkeypatch.setattr(kept, "YOUNG_S", 0.0)
    store = AmsStore(opened)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.keep_short)
        with anyio.fail_after(20):
            for number in range(3):
                await store.note(f"i-{number}", Note({}))
                while await counted(opened):
                    await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()


@both
async def test_records_of_what_ended_are_bounded_by_age_and_number(
    opened: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(records, "MOST_ENDED", 3)
    clock = SystemClock()
    ago = {f"i-{days}": clock.now() - timedelta(days=days) for days in range(10)}
    async with opened.write() as connection:
        rows = [
            {**ROW, "id": one, "runs_as": one, "updated_at": write_moment(moment)}
            for one, moment in ago.items()
        ]
        rows += [{**ROW, "id": "lives", "runs_as": "lives", "state": "running"}]
        await connection.execute(insert(instances), rows)
    store = records.Store(opened, clock)
    for most, left in ((3, {"i-0", "i-1", "i-2"}), (2, {"i-0", "i-1"})):
        monkeypatch.setattr(records, "MOST_ENDED", most)
        await store.prune()
        async with opened.read() as connection:
            found = set((await connection.execute(select(instances.c.id))).scalars())
        assert found == {*left, "lives"}
    monkeypatch.setattr(records, "MOST_ENDED", 100)
    monkeypatch.setattr(records, "KEPT", timedelta(hours=12))
    await store.prune()
    assert await store.get("i-0") is not None
    assert await store.get("i-1") is None
