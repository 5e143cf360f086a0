"""A database that is held up by somebody: callers are told to come again, and never its words."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.services.facilities import postgres as postgres_product
from downstage.services.facilities import sqlite as sqlite_product
from downstage.testing.postgres import PostgresServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]


@contextmanager
def held_sqlite(data: Path) -> Iterator[None]:
    """Another process writes, and does not come to an end."""
    with closing(sqlite3.connect(data / "gateway.db", isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        yield
        other.execute("ROLLBACK")


async def check_told(house: Any) -> None:
    body = {"application": "test-card"}
    status, problem, headers = await house.call(
        "POST", "/v1/sessions", await house.token(), json=body
    )
    assert (status, problem["code"]) == (503, "unavailable")
    assert int(headers["retry-after"]) > 0
    assert not {"locked", "sqlite", "lock", "postgres"} & set(str(problem).lower().split())
    assert house.manager.requests == []
    _, page, _ = await house.call("GET", "/v1/sessions", await house.token())
    assert page["items"] == []


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long for a lock."""
    monkeypatch.setattr(sqlite_product, "BUSY_S", 0.1)
    monkeypatch.setattr(postgres_product, "LOCK_S", 0.1)


async def test_S05_a_locked_file_never_reaches_a_client(
    quick: None, start: Any, data: Path
) -> None:
    async with start() as house:
        await house.token()
        with held_sqlite(data):
            await check_told(house)
        await house.create()


async def test_S05_a_locked_table_never_reaches_a_client(
    quick: None, start: Any, postgres: PostgresServer, database: str | None
) -> None:
    url = postgres.database()
    async with start(platform__database=url) as house:
        await house.token()
        hold = "BEGIN; LOCK TABLE downstage_gateway.sessions IN SHARE MODE; SELECT pg_sleep(60)"
        name = url.rsplit("/", 1)[1]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, ignore_end, postgres, hold, name)
            asleep = f"SELECT count(*) FROM pg_stat_activity WHERE datname='{name}' AND query LIKE "
            with anyio.fail_after(20):
                while (
                    postgres.run(asleep + "'BEGIN; LOCK%' AND wait_event = 'PgSleep'", name) != "1"
                ):
                    await anyio.sleep(0.02)
            await check_told(house)
            cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE "
            postgres.run(cut + "query LIKE 'BEGIN; LOCK%'", "postgres")
        await house.create()


def ignore_end(postgres: PostgresServer, statement: str, database: str) -> None:
    """Run it until it is cut off."""
    with pytest.raises(RuntimeError):
        postgres.run(statement, database)
