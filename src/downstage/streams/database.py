"""Small files of SQLite: opened privately, made where there are none, refused where too new."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Sequence
from pathlib import Path
from typing import cast

from downstage.kernel.errors import SetupError

__all__ = ["open_database"]


def open_database(
    path: Path, statements: Sequence[str], version: int, *, busy_s: float
) -> sqlite3.Connection:
    """Open *path*; where it is new, run *statements*, which are version *version*. Blocks.

    *busy_s* is how long a statement waits for another process that writes.

    Raises:
        SetupError: it is of a newer version than this program knows.
    """
    os.close(os.open(path, os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(
        path, timeout=busy_s, isolation_level=None, check_same_thread=False
    )
    try:
        _prepare(connection, path, statements, version)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(
    connection: sqlite3.Connection, path: Path, statements: Sequence[str], version: int
) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute("BEGIN IMMEDIATE")
    found = cast("int", connection.execute("PRAGMA user_version").fetchone()[0])
    if found > version:
        raise SetupError(f"{path} is of a newer version ({found}) than this program knows.")
    if found == 0:
        for statement in statements:
            connection.execute(statement)
        connection.execute(f"PRAGMA user_version={version}")
    connection.execute("COMMIT")
