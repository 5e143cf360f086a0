"""Cancellation in the middle of a transaction leaves nothing behind."""

from __future__ import annotations

from pathlib import Path

import anyio
import pytest
from sqlalchemy import text

from downstage.services.facilities.database import Database, open_database

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_a_cancelled_task_ends_its_transaction_first(data: Path) -> None:
    # The driver's own clean-up of a cancelled statement is a task that nobody waits for.
    database = await open_database(
        data / "x.db", name="identity", migrations="downstage.identity.migrations"
    )
    for step in range(20):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(_work, database)
            with anyio.CancelScope() as pause:
                pause.deadline = anyio.current_time() + step / 1000
                await anyio.sleep_forever()
            tasks.cancel_scope.cancel()
        async with database.read() as connection:
            assert (await connection.execute(text("SELECT count(*) FROM state"))).scalar() == 0
    assert len([task for task in anyio.get_running_tasks() if "aiosqlite" in str(task)]) == 0
    await database.close()


async def _work(database: Database) -> None:
    row = {"name": "a"}
    while True:
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO state VALUES (:name, 'm', 'o', 'v')"), row)
            await connection.execute(text("DELETE FROM state"))
