"""Databases of an extension: its own, those of the settings, statements with named values."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import anyio
import pytest
from sqlalchemy import column, insert, select, table
from sqlalchemy.exc import IntegrityError, OperationalError
from structlog.testing import capture_logs

from downstage.kernel.errors import DeadlineExceeded, NotFound, SetupError, TooLarge, Unavailable
from downstage.services.facilities import DatabaseFacility, FacilitySet, queries
from downstage.services.facilities.queries import Queries

pytestmark = [pytest.mark.real, pytest.mark.anyio]

THINGS = "CREATE TABLE things (id INTEGER PRIMARY KEY, name TEXT UNIQUE)"
ADD = "INSERT INTO things (name) VALUES (:name)"
FOREVER = "WITH RECURSIVE n(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM n) SELECT count(*) FROM n"


@asynccontextmanager
async def opened(
    data: Path | None, **databases: dict[str, Any]
) -> AsyncGenerator[DatabaseFacility]:
    found = FacilitySet("shop-1", data=data, databases=databases)
    try:
        yield found.find(DatabaseFacility)
    finally:
        await found.close()


@pytest.fixture
async def db(data: Path) -> AsyncGenerator[Queries]:
    async with opened(data) as facility, facility.get() as db:
        await db.execute(query=THINGS)
        yield db


async def test_statements_and_what_they_return(db: Queries) -> None:
    assert await db.execute(query=ADD, values={"name": "plum"}) == 1
    assert await db.execute(query=ADD, values={"name": "pear"}) == 2
    await db.execute_many(query=ADD, values=[{"name": "fig"}, {"name": "nut"}])
    await db.execute_many(query=ADD, values=[])
    assert await db.execute("UPDATE things SET name = name || '!' WHERE id > 2") == 2
    rows = await db.fetch_all(query="SELECT * FROM things ORDER BY id")
    assert rows[0] == {"id": 1, "name": "plum"}
    assert [row["name"] for row in rows] == ["plum", "pear", "fig!", "nut!"]
    assert await db.fetch_one("SELECT name FROM things WHERE id = :id", {"id": 2}) == {
        "name": "pear"
    }
    assert await db.fetch_one("SELECT name FROM things WHERE id = 99") is None
    assert await db.fetch_val("SELECT count(*) FROM things") == 4
    assert await db.fetch_val("SELECT * FROM things WHERE id = 1", column="name") == "plum"
    assert await db.fetch_val("SELECT * FROM things WHERE id = 99") is None
    assert await db.execute("SELECT name FROM things WHERE id = 1") == "plum"
    assert [row["id"] async for row in db.iterate("SELECT id FROM things")] == [1, 2, 3, 4]
    new = await db.fetch_one(ADD + " RETURNING id", {"name": "kiwi"})
    assert new == {"id": 5}


async def test_values_are_never_part_of_the_statement(db: Queries) -> None:
    name = "x'); DROP TABLE things; --"
    await db.execute(ADD, {"name": name})
    assert await db.fetch_val("SELECT name FROM things") == name


async def test_expressions_are_taken_too(db: Queries) -> None:
    things = table("things", column("id"), column("name"))
    assert await db.execute(insert(things), {"name": "plum"}) == 1
    assert await db.fetch_all(select(things)) == [{"id": 1, "name": "plum"}]


async def test_a_transaction_is_whole_or_not_at_all(db: Queries) -> None:
    async def change_my_mind() -> None:
        async with db.transaction():
            await db.execute(ADD, {"name": "plum"})
            raise ValueError("changed my mind")

    async def add_again() -> None:
        async with db.transaction():
            await db.execute(ADD, {"name": "fig"})
            await db.execute(ADD, {"name": "plum"})

    with pytest.raises(ValueError, match="changed my mind"):
        await change_my_mind()
    assert await db.fetch_val("SELECT count(*) FROM things") == 0
    async with db.transaction():
        await db.execute(ADD, {"name": "plum"})
        with pytest.raises(IntegrityError):
            await add_again()
        assert await db.fetch_val("SELECT count(*) FROM things") == 1
    assert await db.fetch_val("SELECT count(*) FROM things") == 1


async def test_many_are_taken_together_or_not_at_all(db: Queries) -> None:
    with pytest.raises(IntegrityError):
        await db.execute_many(ADD, [{"name": "plum"}, {"name": "plum"}])
    assert await db.fetch_val("SELECT count(*) FROM things") == 0


async def test_many_tasks_write_at_once(data: Path) -> None:
    async with opened(data) as facility:
        async with facility.get() as db:
            await db.execute(THINGS)

        async def add(number: int) -> None:
            async with facility.get() as db:
                await db.execute(ADD, {"name": str(number)})

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(add, number)
        async with facility.get() as db:
            assert await db.fetch_val("SELECT count(*) FROM things") == 50


async def test_a_database_of_the_settings_lies_in_the_folder(data: Path) -> None:
    settings = {"connection_string": "sqlite:///deep/orders.db", "pool_size": 2}
    async with opened(data, orders=settings) as facility:
        assert facility.handles() == ["orders"]
        async with facility.get("orders") as db:
            await db.execute(THINGS)
        with pytest.raises(NotFound, match=r"dbs\.sales \(known: orders\)"):
            async with facility.get("sales"):
                pass
    path = data / "deep" / "orders.db"
    assert path.stat().st_mode & 0o777 == 0o600
    with closing(sqlite3.connect(path)) as connection:
        assert connection.execute("SELECT count(*) FROM things").fetchone() == (0,)


async def test_a_database_may_lie_in_memory(data: Path) -> None:
    async with opened(None, scratch={"connection_string": "sqlite://"}) as facility:
        async with facility.get("scratch") as db:
            await db.execute(THINGS)
        async with facility.get("scratch") as db:
            assert await db.execute(ADD, {"name": "plum"}) == 1
    assert list(data.iterdir()) == []


async def test_a_statement_has_a_deadline_and_the_database_goes_on(data: Path) -> None:
    settings = {"connection_string": "sqlite:///orders.db", "timeout": 0.5}
    async with opened(data, orders=settings) as facility, facility.get("orders") as db:
        await db.execute(THINGS)
        for _ in range(3):
            with anyio.fail_after(20), pytest.raises(DeadlineExceeded, match=r"0\.5 s"):
                await db.fetch_val("SELECT count(*) FROM (" + FOREVER + ")")
        assert await db.execute(ADD, {"name": "plum"}) == 1


async def test_cancelling_leaves_no_connection_behind(data: Path) -> None:
    settings = {"connection_string": "sqlite:///orders.db", "timeout": 0.5, "pool_size": 1}
    async with opened(data, orders=settings) as facility, facility.get("orders") as db:
        for _ in range(3):
            # The driver cannot stop in the middle: the deadline ends it, not the cancellation.
            with anyio.move_on_after(0.01), pytest.raises(DeadlineExceeded):
                await db.fetch_val("SELECT * FROM (" + FOREVER + ")")
        assert await db.fetch_val("SELECT 7") == 7


async def test_an_answer_is_bounded(db: Queries, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(queries, "MAX_ROWS", 10)
    monkeypatch.setattr(queries, "BATCH", 4)
    await db.execute_many(ADD, [{"name": str(number)} for number in range(11)])
    with pytest.raises(TooLarge, match="more than 10 rows"):
        await db.fetch_all("SELECT * FROM things")
    assert len(await db.fetch_all("SELECT * FROM things LIMIT 10")) == 10


async def test_errors_of_statements_come_as_they_are(db: Queries) -> None:
    with pytest.raises(OperationalError, match="no such table"):
        await db.fetch_all("SELECT * FROM nowhere")
    assert await db.fetch_val("SELECT 1") == 1


async def test_after_the_stop_nothing_opens(data: Path) -> None:
    async with opened(data) as facility, facility.get() as db:
        await db.execute(THINGS)
    with pytest.raises(Unavailable):
        await db.fetch_val("SELECT 1")
    with pytest.raises(Unavailable):
        async with facility.get():
            pass


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({}, r"dbs\.orders\.connection_string is wrong: Field required"),
        ({"connection_string": "x:///y", "pool_size": 0}, r"dbs\.orders\.pool_size is wrong"),
    ],
)
async def test_wrong_settings_are_named(settings: dict[str, Any], message: str) -> None:
    with pytest.raises(SetupError, match=message):
        DatabaseFacility({"orders": settings})


@pytest.mark.parametrize(
    ("address", "message"),
    [
        ("postgresql://anna:hunter2@db/x", "pip install asyncpg"),
        ("postgres://anna:hunter2@db/x", "pip install asyncpg"),
        ("mysql://anna:hunter2@db/x", "pip install aiomysql"),
        ("oracle://anna:hunter2@db/x", "known: mariadb, mysql"),
        ("sqlite+pysqlite:///hunter2", "known: mariadb"),
        ("hunter2", "no address"),
    ],
)
async def test_what_cannot_be_opened_is_said_without_the_password(
    data: Path, address: str, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    from downstage.services.facilities import databases

    monkeypatch.setattr(databases, "find_spec", lambda _: None)
    with capture_logs() as logs:
        async with opened(data, orders={"connection_string": address}) as facility:
            with pytest.raises(SetupError, match=message) as caught:
                async with facility.get("orders"):
                    pass
    assert "hunter2" not in f"{caught.value} {caught.value.__cause__} {logs}"


async def test_names_of_own_databases_stay_in_the_folder(data: Path) -> None:
    async with opened(data) as facility:
        for name in ("../x", "", "a/b", "x" * 65):
            with pytest.raises(SetupError, match="name of a database file"):
                await facility.own(migrations="downstage.identity.migrations", name=name)


async def test_an_own_database_is_migrated(data: Path) -> None:
    async with opened(data) as facility:
        one = await facility.own(migrations="downstage.identity.migrations")
        assert await facility.own(migrations="downstage.identity.migrations") is one
        async with one.read() as connection:
            found = await connection.exec_driver_sql("SELECT count(*) FROM alembic_version")
            assert found.scalar_one() == 1
    async with opened(None) as facility:
        with pytest.raises(SetupError, match="no folder"):
            await facility.own(migrations="downstage.identity.migrations")


@pytest.mark.parametrize("address", ["sqlite:///own.db", "sqlite://"])
async def test_an_error_shows_the_statement_and_not_its_values(data: Path, address: str) -> None:
    async with opened(data, own={"connection_string": address}) as facility:
        async with facility.get("own") as db:
            await db.execute(query=THINGS)
            await db.execute(query=ADD, values={"name": "hunter2"})
            with pytest.raises(IntegrityError) as caught:
                await db.execute(query=ADD, values={"name": "hunter2"})
        assert "INSERT INTO things" in str(caught.value)
        assert "hunter2" not in str(caught.value)
