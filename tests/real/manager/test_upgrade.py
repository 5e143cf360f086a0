"""A database of the release before: its rows are kept, and what was unique still is."""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from pydantic import SecretStr
from sqlalchemy import Connection, text
from sqlalchemy.exc import IntegrityError

from downstage.kernel.clock import SystemClock
from downstage.manager.store import Store
from downstage.services.facilities.database import open_database
from downstage.services.facilities.postgres import create_postgres_engine, make_schema
from downstage.services.facilities.sqlite import create_sqlite_engine

pytestmark = [pytest.mark.real, pytest.mark.anyio]
ROW = """
INSERT INTO instances (id, session_id, tenant, owner, application, state, stage, isolated,
    media_socket, revision, created_at, updated_at)
VALUES ('i-old', 's-old', 'main', 'u-1', 'test-card', 'running', 'running', true, '/m.sock', 7,
    '2026-11-01T00:00:00.000000+00:00', '2026-11-01T00:00:00.000000+00:00')
"""


def build_first(connection: Connection) -> None:
    """The schema that 0.4 left, with one instance."""
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        module: Any = import_module("downstage.manager.migrations.0001_start")
        module.upgrade()
    context._ensure_version_table()
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES ('0001')"))
    connection.execute(text(ROW))


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
async def test_S07_rows_of_the_release_before_are_kept(data: Path, database: str | None) -> None:
    path = data / "manager.db"
    url = SecretStr(database) if database else None
    engine = create_postgres_engine(url, "manager") if url else create_sqlite_engine(path)
    async with engine.connect() as connection:
        await connection.execution_options(writes=True)
        async with connection.begin():
            if url is not None:
                await make_schema(connection, "manager")
            await connection.run_sync(build_first)
    await engine.dispose()
    opened = await open_database(
        path, name="manager", migrations="downstage.manager.migrations", url=url
    )
    try:
        ((record,),) = [batch async for batch in Store(opened, SystemClock()).living()]
        view = record.view()
        assert (view.id, view.session_id, view.state, view.revision) == (
            "i-old",
            "s-old",
            "running",
            7,
        )
        assert (view.node, view.pool, view.tags) == ("local", None, ["session=s-old"])
        assert (record.runs_as, record.fixed.spawner) == ("i-old", "process")
        columns = "id, tenant, owner, application, state, stage, isolated, revision, created_at"
        taken = f"INSERT INTO instances ({columns}, updated_at, session_id) VALUES"
        rest = "'main', 'u', 'a', 'running', 'running', true, 1, '', ''"
        async with opened.write() as connection:  # as many without a session as there may be
            for name in ("i-1", "i-2"):
                await connection.execute(text(f"{taken} ('{name}', {rest}, NULL)"))
        with pytest.raises(IntegrityError):
            async with opened.write() as connection:
                await connection.execute(text(f"{taken} ('i-3', {rest}, 's-old')"))
    finally:
        await opened.close()
