"""PostgreSQL under a service: schemas, deadlines, restarts, and what is said when it fails."""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from downstage.kernel.errors import InvalidInput, SetupError, Unavailable
from downstage.services.facilities import postgres as product
from downstage.services.facilities.database import Database, open_database
from downstage.testing.postgres import PostgresServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

STEPS = (
    """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    key = sa.Column("id", sa.Integer, primary_key=True)
    op.create_table("things", key, sa.Column("name", sa.String(8)))
""",
    """
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("things", sa.Column("more", sa.Integer))
""",
)


def write_steps(folder: Path, name: str, number: int) -> str:
    package = f"steps_{folder.name.replace('-', '_')}_{name}"
    (folder / package).mkdir()
    (folder / package / "__init__.py").write_text("")
    for index, source in enumerate(STEPS[:number]):
        (folder / package / f"{index}_step.py").write_text(source)
    return package


@pytest.fixture
def url(postgres: PostgresServer) -> str:
    return postgres.database()


@pytest.fixture
def steps(data: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.syspath_prepend(str(data))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return write_steps(data, "first", 1)


@pytest.fixture
async def things(url: str, steps: str) -> AsyncIterator[Database]:
    database = await reach(url, steps)
    yield database
    await database.close()


async def reach(url: str, steps: str, name: str = "test") -> Database:
    return await open_database(Path("/nowhere"), name=name, migrations=steps, url=SecretStr(url))


async def add(database: Database, name: str = "one") -> None:
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO things (name) VALUES (:name)"), {"name": name})


async def count(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one()


async def test_each_service_has_a_schema_of_its_own(url: str, steps: str) -> None:
    first, second = await reach(url, steps, "first"), await reach(url, steps, "second")
    await add(first)
    assert (await count(first), await count(second)) == (1, 0)
    for database in (first, second):
        await database.close()


async def test_a_newer_one_is_refused(url: str, steps: str, data: Path, things: Database) -> None:
    await add(things)
    await (await reach(url, write_steps(data, "second", 2))).close()
    with pytest.raises(SetupError, match=r"newer Downstage \(revision 0002\)"):
        await reach(url, steps)
    assert await count(things) == 1


@pytest.mark.parametrize(
    ("change", "why"),
    [
        (lambda s: s.url("test_1", password="hunter2-wrong"), "password is wrong"),
        (lambda s: s.url("nonsense"), "no such database"),
        (lambda s: f"postgresql://downstage:{s.password}@127.0.0.1:1/test", "nothing answers"),
        (lambda s: f"mysql://downstage:{s.password}@127.0.0.1/test", "no address such as"),
    ],
    ids=["password", "database", "server", "scheme"],
)
async def test_why_it_cannot_be_opened_is_said_without_the_password(
    postgres: PostgresServer, url: str, steps: str, change: object, why: str
) -> None:
    assert callable(change)
    with pytest.raises(SetupError, match=why) as refused:
        await reach(change(postgres), steps)
    chain = f"{refused.value!r} {refused.value.__cause__!r} {refused.value.context}"
    assert "hunter2" not in chain
    assert postgres.password not in chain
    assert postgres.password in url


async def test_a_role_that_may_not_make_schemas_is_named(
    postgres: PostgresServer, url: str, steps: str
) -> None:
    database = url.rsplit("/", 1)[1]
    postgres.run("CREATE ROLE weak LOGIN PASSWORD 'weak'", database)
    with pytest.raises(SetupError, match="GRANT CREATE ON DATABASE"):
        await reach(f"postgresql://weak:weak@127.0.0.1:{postgres.port}/{database}", steps)


async def test_a_restarted_server_is_found_again(
    postgres: PostgresServer, things: Database
) -> None:
    await add(things)
    await anyio.to_thread.run_sync(postgres.restart, "immediate")
    assert await count(things) == 1
    await add(things)
    assert await count(things) == 2


async def test_S05_a_transaction_cut_in_the_middle_is_told_as_503(
    postgres: PostgresServer, url: str, things: Database
) -> None:
    kill = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = '{}'"

    async def write() -> None:
        async with things.write() as connection:
            await connection.execute(text("INSERT INTO things (name) VALUES ('lost')"))
            name = url.rsplit("/", 1)[1]
            await anyio.to_thread.run_sync(postgres.run, kill.format(name), "postgres")
            await connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable, match="database"):
        await write()
    assert await count(things) == 0


async def test_S05_a_server_that_is_away_is_told_as_503(
    postgres: PostgresServer, things: Database
) -> None:
    postgres.stop("immediate")
    try:
        with pytest.raises(Unavailable):
            await count(things)
        with pytest.raises(Unavailable):
            await add(things)
    finally:
        postgres.start()
    await add(things)


async def test_S05_a_lock_is_waited_for_so_long_and_then_told_as_503(
    url: str, steps: str, things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "LOCK_S", 0.2)
    other = await reach(url, steps)
    async with things.write():
        with pytest.raises(Unavailable):
            await add(other)
    await add(other)
    await other.close()


async def test_S05_a_writer_that_was_stopped_does_not_hold_up_the_others(
    url: str, steps: str, things: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(product, "IDLE_S", 0.3)
    asleep = await reach(url, steps)

    async def write() -> None:
        async with asleep.write() as connection:
            await add(things)  # waits until the server has ended the other's transaction
            await connection.execute(text("SELECT 1"))

    with pytest.raises(Unavailable):
        await write()
    assert await count(things) == 1
    await asleep.close()


@pytest.mark.parametrize("name", ["longer than eight", "nul\0"])
async def test_what_cannot_be_kept_is_the_callers_mistake(things: Database, name: str) -> None:
    with pytest.raises(InvalidInput):
        await add(things, name)
    assert await count(things) == 0
