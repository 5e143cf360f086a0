"""All that is particular to SQLite: pragmas, immediate transactions, copies before upgrades."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import Any

from sqlalchemy import event
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from downstage.kernel.errors import OutOfSpace, PlatformError, Unavailable

__all__ = ["copy_database", "create_sqlite_engine", "translate"]

BUSY_S = 10
"""How long a writer waits for another process's transaction before it fails."""


def create_sqlite_engine(path: Path, *, pool_size: int = 4) -> AsyncEngine:
    """An engine on *path* (made with mode 0600): WAL, foreign keys, immediate writes."""
    _make_private(path)
    engine = create_async_engine(
        f"sqlite+aiosqlite:///{path}",
        connect_args={"timeout": BUSY_S},
        pool_size=pool_size,
        hide_parameters=True,  # errors are logged, and values are people's
        max_overflow=4,
    )

    @event.listens_for(engine.sync_engine, "connect")
    def on_connect(connection: Any, _record: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        # The driver's own transaction handling begins too late for IMMEDIATE: we say BEGIN.
        connection.isolation_level = None
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=NORMAL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        is_write = connection.get_execution_options().get("writes", False)
        connection.exec_driver_sql("BEGIN IMMEDIATE" if is_write else "BEGIN")

    return engine


def translate(error: Exception) -> PlatformError | None:
    """What a failed transaction means to who asked; None: a mistake of ours."""
    if isinstance(error, PoolTimeout):
        return Unavailable("The database is busy.", retry_after_s=2)
    code = getattr(getattr(error, "orig", None), "sqlite_errorcode", 0) & 0xFF
    if not isinstance(error, OperationalError):
        return None
    if code in (sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED):
        return Unavailable("The database is busy.", retry_after_s=2)
    if code == sqlite3.SQLITE_FULL:
        return OutOfSpace("The disk is full; nothing was written.")
    return None


def copy_database(path: Path, target: Path) -> None:
    """A consistent copy of the database at *path*, also while it is in use."""
    _make_private(target)
    with closing(sqlite3.connect(path)) as source, closing(sqlite3.connect(target)) as copy:
        source.backup(copy)


def _make_private(path: Path) -> None:
    """Make the file for its owner alone, before anything is in it."""
    if not path.exists():
        path.touch(mode=0o600)
    elif path.stat().st_mode & 0o077:
        path.chmod(0o600)
