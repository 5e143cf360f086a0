"""The database of a service: private, upgraded, never half, never locked; some on both kinds."""

from __future__ import annotations

import contextlib
import sqlite3
import subprocess
import sys
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr
from sqlalchemy import text

from downstage.kernel.errors import SetupError
from downstage.services.facilities.database import Database, open_database

pytestmark = [pytest.mark.real, pytest.mark.anyio]

both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
FIRST = '''
"""Start."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0001", None
def upgrade():
    key = sa.Column("id", sa.Integer, primary_key=True)
    op.create_table("things", key, sa.Column("n", sa.Integer))
'''
SECOND = '''
"""Give things a name."""
import sqlalchemy as sa
from alembic import op
revision, down_revision = "0002", "0001"
def upgrade():
    op.add_column("things", sa.Column("name", sa.String, server_default="unnamed"))
    op.execute("UPDATE things SET name = 'old'")
'''
BROKEN = SECOND + "    raise RuntimeError('in the middle')\n"
KILLED = SECOND + "    import os, signal; os.kill(os.getpid(), signal.SIGKILL)\n"


class Program:
    """A service of some version: a package of migrations."""

    def __init__(self, folder: Path, name: str, *sources: str, url: str | None = None) -> None:
        self.url = SecretStr(url) if url else None
        self.package = f"migrations_{folder.name.replace('-', '_')}_{name}"
        path = folder / self.package
        path.mkdir()
        (path / "__init__.py").write_text("")
        for number, source in enumerate(sources, 1):
            (path / f"{number:04}_step.py").write_text(source)

    async def open(self, path: Path) -> Database:
        return await open_database(path, name="test", migrations=self.package, url=self.url)


@pytest.fixture
def old(data: Path, database: str | None, monkeypatch: pytest.MonkeyPatch) -> Program:
    monkeypatch.syspath_prepend(str(data))
    monkeypatch.setattr(sys, "dont_write_bytecode", True)
    return Program(data, "old", FIRST, url=database)


@pytest.fixture
def new(data: Path, database: str | None, old: Program) -> Program:
    return Program(data, "new", FIRST, SECOND, url=database)


async def fill(database: Database, numbers: range) -> None:
    async with database.write() as connection:
        for n in numbers:
            await connection.execute(text("INSERT INTO things (n) VALUES (:n)"), {"n": n})


async def count(database: Database) -> int:
    async with database.read() as connection:
        return (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one()


def dump(path: Path) -> list[str]:
    with contextlib.closing(sqlite3.connect(path)) as connection:
        return list(connection.iterdump())


async def test_a_fresh_one_is_made_private_and_up_to_date(data: Path, new: Program) -> None:
    path = data / "test.db"
    database = await new.open(path)
    await fill(database, range(3))
    assert await count(database) == 3
    for file in data.glob("test.db*"):
        assert file.stat().st_mode & 0o777 == 0o600, file
    async with database.read() as connection:
        assert (await connection.execute(text("PRAGMA journal_mode"))).scalar_one() == "wal"
        assert (await connection.execute(text("PRAGMA foreign_keys"))).scalar_one() == 1
    await database.close()
    await database.close()
    assert [file.name for file in data.glob("*.bak")] == []


@both
async def test_it_is_found_again(data: Path, old: Program) -> None:
    for expected in (3, 6):
        database = await old.open(data / "test.db")
        await fill(database, range(3))
        assert await count(database) == expected
        await database.close()


async def test_an_open_mode_is_closed(data: Path, old: Program) -> None:
    path = data / "test.db"
    await (await old.open(path)).close()
    path.chmod(0o644)
    await (await old.open(path)).close()
    assert path.stat().st_mode & 0o777 == 0o600


async def test_an_older_one_is_copied_and_upgraded(data: Path, old: Program, new: Program) -> None:
    path = data / "test.db"
    database = await old.open(path)
    await fill(database, range(3))
    await database.close()
    before = dump(path)
    database = await new.open(path)
    async with database.read() as connection:
        names = (await connection.execute(text("SELECT name FROM things"))).scalars().all()
    assert names == ["old"] * 3
    await database.close()
    copy = data / "test.db.0001.bak"
    assert dump(copy) == before
    assert copy.stat().st_mode & 0o777 == 0o600


async def test_a_newer_one_is_refused_and_not_touched(
    data: Path, old: Program, new: Program
) -> None:
    path = data / "test.db"
    await (await new.open(path)).close()
    before = (path.read_bytes(), path.stat().st_mtime_ns)
    names = sorted(file.name for file in data.iterdir())
    with pytest.raises(SetupError, match=r"newer Downstage \(revision 0002\)"):
        await old.open(path)
    assert (path.read_bytes(), path.stat().st_mtime_ns) == before
    assert sorted(file.name for file in data.iterdir()) == names


async def test_a_migration_that_fails_leaves_the_old(
    data: Path, old: Program, new: Program
) -> None:
    path = data / "test.db"
    database = await old.open(path)
    await fill(database, range(3))
    await database.close()
    before = dump(path)
    with pytest.raises(RuntimeError, match="in the middle"):
        await Program(data, "broken", FIRST, BROKEN).open(path)
    assert dump(path) == before
    await (await new.open(path)).close()
    assert dump(path) != before


async def test_a_process_killed_in_a_migration_leaves_the_old(
    data: Path, old: Program, new: Program
) -> None:
    path = data / "test.db"
    database = await old.open(path)
    await fill(database, range(3))
    await database.close()
    before = dump(path)
    killed = Program(data, "killed", FIRST, KILLED)
    code = (
        "import sys, anyio; from pathlib import Path; "
        "from downstage.services.facilities.database import open_database as o; "
        f"sys.path.insert(0, {str(data)!r}); "
        f"anyio.run(lambda: o(Path({str(path)!r}), name='t', migrations={killed.package!r}))"
    )
    ended = await anyio.to_thread.run_sync(
        lambda: subprocess.run([sys.executable, "-c", code], check=False, timeout=50)
    )
    assert ended.returncode == -9
    assert dump(path) == before
    await (await new.open(path)).close()


@both
async def test_two_that_upgrade_at_once_do_it_once(data: Path, old: Program, new: Program) -> None:
    path = data / "test.db"
    await (await old.open(path)).close()

    async def one() -> None:
        await (await new.open(path)).close()

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for _ in range(4):
                tasks.start_soon(one)


@both
async def test_many_writers_take_turns(data: Path, old: Program) -> None:
    database = await old.open(data / "test.db")
    most = 0

    async def write(n: int) -> None:
        nonlocal most
        async with database.write() as connection:
            before = (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one()
            await connection.execute(text("INSERT INTO things (n) VALUES (:n)"), {"n": n})
            after = (await connection.execute(text("SELECT count(*) FROM things"))).scalar_one()
            assert after == before + 1
        most = max(most, await count(database))

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for n in range(50):
                tasks.start_soon(write, n)
    assert await count(database) == most == 50
    await database.close()


@both
async def test_writers_of_two_processes_wait_for_each_other(data: Path, old: Program) -> None:
    path = data / "test.db"
    first, second = await old.open(path), await old.open(path)
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(fill, first if n % 2 else second, range(3))
    assert await count(first) == await count(second) == 60
    await first.close()
    await second.close()


@both
async def test_readers_see_one_moment_while_others_write(data: Path, old: Program) -> None:
    database = await old.open(data / "test.db")
    async with database.read() as connection:
        look = text("SELECT count(*) FROM things")
        assert (await connection.execute(look)).scalar_one() == 0
        await fill(database, range(5))
        assert (await connection.execute(look)).scalar_one() == 0
    assert await count(database) == 5
    await database.close()


@both
async def test_a_failed_write_leaves_nothing(data: Path, old: Program) -> None:
    database = await old.open(data / "test.db")
    with contextlib.suppress(KeyError):
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO things (n) VALUES (1)"))
            raise KeyError
    assert await count(database) == 0
    await fill(database, range(1))
    await database.close()


@both
async def test_cancelled_writers_leave_no_lock(data: Path, old: Program) -> None:
    database = await old.open(data / "test.db")
    done = 0

    async def write(n: int) -> None:
        nonlocal done
        with anyio.move_on_after(n * 0.0005):
            async with database.write() as connection:
                await connection.execute(text("INSERT INTO things (n) VALUES (:n)"), {"n": n})
                await anyio.lowlevel.checkpoint()
            done += 1

    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            for n in range(60):
                tasks.start_soon(write, n)
        await fill(database, range(1))
    rows = await count(database)
    assert rows - 1 >= done  # who was told of the end is in; a cancelled commit may be in, too
    await database.close()
