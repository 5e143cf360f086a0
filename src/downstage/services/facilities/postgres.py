"""All that is particular to PostgreSQL: schemas, the write lock, snapshots, deadlines, its errors.

Each service has a schema of its own in the one database. `Database.write` holds an advisory
lock of that schema for its transaction, so that writers take turns in all processes as they do
with SQLite; `Database.read` sees one snapshot.
"""

from __future__ import annotations

from hashlib import blake2b
from typing import Any

import asyncpg
from pydantic import SecretStr
from sqlalchemy import URL, event, make_url, text
from sqlalchemy.exc import ArgumentError, DataError, DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from downstage.kernel.errors import InvalidInput, OutOfSpace, PlatformError, SetupError, Unavailable

__all__ = ["ERRORS", "create_postgres_engine", "explain", "make_schema", "schema_of", "translate"]

CONNECT_S = 10.0
"""How long a connection may take to come about, or to become free."""
LOCK_S = 10.0
"""How long a writer waits for those of other processes."""
STATEMENT_S = 15.0
IDLE_S = 10.0
"""How long a transaction may do nothing: whoever was stopped in one must not hold up the others."""
COMMAND_S = 20.0
"""When we give up on a server that says nothing at all."""
POOL = 4

ERRORS: tuple[type[Exception], ...] = (
    asyncpg.PostgresError,
    asyncpg.InterfaceError,
)
"""What the driver raises while it connects, before anything wraps it."""

PASSING = ("08", "25P", "40", "53", "55P03", "57")
"""Beginnings of SQLSTATEs that a later try may cure: connections, idle and failed transactions,
conflicts, resources, locks, the operator."""
FULL = "53100"
SETUP = {
    "28P01": "the user name or password is wrong",
    "28000": "this user may not connect from here (pg_hba.conf)",
    "3D000": "there is no such database; make it with createdb",
    "42501": "this user may not make a schema there: GRANT CREATE ON DATABASE … TO …",
    "57P03": "the server is starting up or shutting down",
    "53300": "the server has no connection left (max_connections)",
}


def schema_of(name: str) -> str:
    """The schema of the service *name*."""
    return f"downstage_{name}"


def create_postgres_engine(url: SecretStr, name: str) -> AsyncEngine:
    """An engine for the service *name* on the database at *url*.

    Raises:
        SetupError: *url* is no address of PostgreSQL. The text never holds it.
    """
    engine = create_async_engine(
        _address(url),
        connect_args={
            "timeout": CONNECT_S,
            "command_timeout": COMMAND_S,
            "server_settings": {
                "application_name": f"downstage {name}",
                "search_path": schema_of(name),
                "statement_timeout": _milliseconds(STATEMENT_S),
                "lock_timeout": _milliseconds(LOCK_S),
                "idle_in_transaction_session_timeout": _milliseconds(IDLE_S),
                "timezone": "UTC",
            },
        },
        isolation_level="REPEATABLE READ",
        hide_parameters=True,  # errors are logged, and values are people's
        pool_size=POOL,
        max_overflow=POOL,
        pool_timeout=CONNECT_S,
        pool_pre_ping=True,  # a server that was started again is not noticed by anybody
    )
    lock = int.from_bytes(
        blake2b(schema_of(name).encode(), digest_size=8).digest(), "big", signed=True
    )

    @event.listens_for(engine.sync_engine, "set_connection_execution_options")
    def on_options(_connection: Any, options: dict[str, Any]) -> None:  # pyright: ignore[reportUnusedFunction]
        # With the lock held nobody else writes: each statement must see what was committed
        # while we waited, and a snapshot from before the lock would not.
        if options.get("writes"):
            options["isolation_level"] = "READ COMMITTED"

    @event.listens_for(engine.sync_engine, "begin")
    def on_begin(connection: Any) -> None:  # pyright: ignore[reportUnusedFunction]
        if connection.get_execution_options().get("writes", False):
            connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({lock})")

    return engine


async def make_schema(connection: AsyncConnection, name: str) -> None:
    """Make the schema of *name* where there is none; under the write lock."""
    schema = schema_of(name)
    known = text("SELECT 1 FROM pg_namespace WHERE nspname = :name")
    if (await connection.execute(known, {"name": schema})).first() is None:
        await connection.execute(text(f'CREATE SCHEMA "{schema}"'))


def translate(error: Exception) -> PlatformError | None:
    """What a failed transaction means to who asked; None: a mistake of ours."""
    if isinstance(error, PoolTimeout):
        return Unavailable("The database is busy.", retry_after_s=2)
    state = _state(error)
    if state == FULL:
        return OutOfSpace("The database has no space left; nothing was written.")
    if state.startswith(PASSING) or (isinstance(error, DBAPIError) and _is_cut_off(error)):
        return Unavailable("The database is busy or was started again.", retry_after_s=2)
    if isinstance(error, (OSError, TimeoutError)):
        return Unavailable("The database does not answer.", retry_after_s=2)
    if isinstance(error, DataError) or state.startswith("22"):
        return InvalidInput("A text is longer than can be kept, or holds a NUL character.")
    return Unavailable("The database does not answer.") if isinstance(error, ERRORS) else None


def explain(error: Exception, name: str, url: SecretStr) -> SetupError:
    """Why the database cannot be opened; host and database are named, the password never."""
    address = _address(url)
    state = _state(error)
    host = address.host or str(address.query.get("host", "this machine"))
    where = f"{host}:{address.port or 5432}/{address.database or ''}"
    why = SETUP.get(state) or "nothing answers there; is the server running?"
    if state and state not in SETUP:
        why = f"it answered {type(error).__name__} ({state})"
    return SetupError(
        f"The {name} database at {where} cannot be opened: {why} (setting platform.database)"
    )


def _address(url: SecretStr) -> URL:
    try:
        address = make_url(url.get_secret_value())
    except (ArgumentError, ValueError):
        address = None
    if address is None or address.get_backend_name() not in ("postgresql", "postgres"):
        raise SetupError(
            "The setting platform.database is no address such as "
            "postgresql://user:password@host/name."
        )
    # The spelling of libpq, which administrators know, is not this driver's.
    query = {"ssl" if key == "sslmode" else key: value for key, value in address.query.items()}
    return address.set(drivername="postgresql+asyncpg", query=query)


def _state(error: Exception) -> str:
    found = getattr(getattr(error, "orig", error), "sqlstate", None)
    return found if isinstance(found, str) else ""


def _is_cut_off(error: DBAPIError) -> bool:
    return error.connection_invalidated or "connection" in str(error.orig).lower()


def _milliseconds(seconds: float) -> str:
    return str(round(seconds * 1000))
