"""A service's database: SQLAlchemy Core on top, Alembic from the first migration on below.

A SQLite file, or a schema of a PostgreSQL database (`downstage.services.facilities.postgres`).
"""

from __future__ import annotations

from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from importlib import import_module
from pathlib import Path
from typing import Any, cast

import anyio
import anyio.to_thread
from alembic.migration import MigrationContext
from alembic.operations import Operations
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from pydantic import SecretStr
from sqlalchemy import Connection
from sqlalchemy.exc import SQLAlchemyError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

from downstage.kernel.errors import PlatformError, SetupError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.facilities.sqlite import copy_database, create_sqlite_engine
from downstage.services.facilities.sqlite import translate as translate_sqlite

__all__ = ["Database", "open_database"]

TURN_S = 15.0
"""How long a writer waits for those before it."""
CLOSE_S = 3.0
"""How long the closing waits for transactions that are open."""
Translate = Callable[[Exception], PlatformError | None]
"""What an error of the driver means to who asked; None: it stays what it is."""
log = get_logger(__name__)


class Database:
    """Short transactions on one database.

    A transaction that has begun is not cancelled: the driver cannot stop in the middle, and
    would leave a connection behind. Wait for nothing but the database inside one.

    Args:
        engine: of the database.
        single_writer: writers of this process take turns.
        translate: makes errors that a later try may cure ours: a lock, a lost connection.
        errors: further types that the driver raises.
    """

    def __init__(
        self,
        engine: AsyncEngine,
        *,
        single_writer: bool = True,
        translate: Translate = lambda _: None,
        errors: tuple[type[Exception], ...] = (),
    ) -> None:
        self._engine = engine
        self._translate = translate
        self._errors = (SQLAlchemyError, OSError, TimeoutError, *errors)
        self._turn = anyio.Lock() if single_writer else None
        """Writers of this process take turns here: SQLite's own waiting polls, and is not fair."""
        self._closed = False
        self._in_use = 0
        self._idle = anyio.Event()

    @asynccontextmanager
    async def read(self) -> AsyncGenerator[AsyncConnection]:
        """A connection whose reads all see the same moment."""
        async with self._open() as connection, connection.begin():
            yield connection

    @asynccontextmanager
    async def write(self) -> AsyncGenerator[AsyncConnection]:
        """A transaction that holds the write lock from its begin; commits at exit.

        Raises:
            Unavailable: the lock was not to be had in time.
        """
        await self._take_turn()
        try:
            async with self._open() as connection:
                await connection.execution_options(writes=True)
                async with connection.begin():
                    yield connection
        finally:
            if self._turn is not None:
                self._turn.release()

    async def _take_turn(self) -> None:
        if self._turn is None:
            return
        try:
            with anyio.fail_after(TURN_S):
                await self._turn.acquire()
        except TimeoutError as error:
            raise Unavailable("The database is busy.") from error

    async def close(self) -> None:
        """Let transactions end, refuse further ones, give all connections back; safe to repeat."""
        self._closed = True
        with anyio.CancelScope(shield=True):
            if self._in_use:
                # A connection that comes back after the disposal would never be closed.
                with anyio.move_on_after(CLOSE_S):
                    await self._idle.wait()
            await self._engine.dispose()

    @asynccontextmanager
    async def _open(self) -> AsyncGenerator[AsyncConnection]:
        if self._closed:
            raise Unavailable("The database is closed.")
        self._in_use += 1
        try:
            with anyio.CancelScope(shield=True):
                async with self._engine.connect() as connection:
                    yield connection
        except self._errors as error:
            if (ours := self._translate(error)) is None:
                raise
            log.warning("database.failed", kind=type(error).__name__, told=ours.detail)
            raise ours from error
        finally:
            self._in_use -= 1
            if self._closed and not self._in_use:
                self._idle.set()


async def open_database(
    path: Path, *, name: str, migrations: str, url: SecretStr | None = None
) -> Database:
    """Open *path*, or *url* where one is given, upgraded to what this program knows.

    Args:
        path: the SQLite file; made if absent.
        name: the service's name, for messages; with *url* its schema is called by it.
        migrations: the package that holds the Alembic revision modules.
        url: of a PostgreSQL database, ``postgresql://user:password@host/name``.

    Raises:
        SetupError: a newer program wrote it, and nothing was touched; or it cannot be reached.
    """
    scripts = _scripts(migrations)
    if url is not None:
        return await _open_postgres(url, scripts, name)
    engine = create_sqlite_engine(path)
    try:
        await _upgrade(engine, scripts, name, path)
    except BaseException:
        await engine.dispose()
        raise
    return Database(engine, translate=translate_sqlite)


async def _open_postgres(url: SecretStr, scripts: ScriptDirectory, name: str) -> Database:
    from downstage.services.facilities import postgres

    engine = postgres.create_postgres_engine(url, name)
    try:
        await _upgrade(engine, scripts, name, None)
    except (SQLAlchemyError, OSError, TimeoutError, *postgres.ERRORS) as error:
        await engine.dispose()
        raise postgres.explain(error, name, url) from None
    except BaseException:
        await engine.dispose()
        raise
    return Database(engine, translate=postgres.translate, errors=postgres.ERRORS)


def _scripts(package: str) -> ScriptDirectory:
    module = import_module(package)
    folder = Path(next(iter(module.__path__)))
    return ScriptDirectory(str(folder), version_locations=[str(folder)])


async def _upgrade(
    engine: AsyncEngine, scripts: ScriptDirectory, name: str, path: Path | None
) -> None:
    """To the newest revision; the SQLite file *path* is copied first."""
    head = scripts.get_current_head()
    async with engine.connect() as connection:
        current = await connection.run_sync(_revision)
        await connection.rollback()
    if current == head:
        return
    _refuse_newer(scripts, current, f"{name} database {path or ''}".rstrip())
    if current is not None and path is not None:
        target = path.with_name(f"{path.name}.{current}.bak")
        await anyio.to_thread.run_sync(copy_database, path, target)
        log.info("database.copied", service=name, revision=current, copy=str(target))
    async with engine.connect() as connection:
        await connection.execution_options(writes=True)
        async with connection.begin():
            if path is None:
                from downstage.services.facilities.postgres import make_schema

                await make_schema(connection, name)
            # Another process may have upgraded it since: the lock is ours only now.
            await connection.run_sync(_run, scripts)
    log.info("database.upgraded", service=name, before=current, after=head)


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_newer(scripts: ScriptDirectory, current: str | None, what: str) -> None:
    if current is None:
        return
    try:
        scripts.get_revision(current)
    except CommandError as error:
        raise SetupError(
            f"The {what} was written by a newer Downstage (revision {current}). "
            "Install that version, or restore a backup made with this one.",
            revision=current,
        ) from error


def _run(connection: Connection, scripts: ScriptDirectory) -> None:
    context = MigrationContext.configure(connection)
    current = context.get_current_revision()
    newest_first = list(scripts.iterate_revisions("head", current or "base"))
    with Operations.context(context):
        for revision in reversed(newest_first):
            cast("Any", revision.module).upgrade()
            context.stamp(scripts, revision.revision)
