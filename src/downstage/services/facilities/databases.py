"""Databases of an extension: one of its own, and those that the settings name.

::

    async with self.context.facilities.find(DatabaseFacility).get("orders") as db:
        await db.execute(query="INSERT INTO orders (what) VALUES (:what)", values={"what": what})
        rows = await db.fetch_all(query="SELECT * FROM orders")
"""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Self

import anyio
import anyio.to_thread
from pydantic import BaseModel, ConfigDict, Field, SecretStr, ValidationError

from downstage.kernel.errors import NotFound, SetupError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.facilities.injection import Facility, FacilityParts

if TYPE_CHECKING:
    from sqlalchemy import URL

    from downstage.services.facilities.database import Database
    from downstage.services.facilities.queries import Queries

__all__ = ["DatabaseFacility", "DatabaseSettings"]

OWN = "database"
"""File name of an extension's own database."""
ASYNC_DRIVERS = {
    "sqlite": "aiosqlite",
    "postgresql": "asyncpg",
    "postgres": "asyncpg",
    "mysql": "aiomysql",
    "mariadb": "aiomysql",
}
FILE = re.compile(r"[A-Za-z0-9_-]{1,64}")
CONNECT_S = 10.0
log = get_logger(__name__)


class DatabaseSettings(BaseModel):
    """One table ``dbs.<handle>``; keys that are not named here go to the driver."""

    model_config = ConfigDict(extra="allow", frozen=True)

    connection_string: SecretStr
    """Such as ``sqlite:///orders.db`` (below the extension's folder) or ``postgresql://…``."""
    pool_size: int = Field(default=4, ge=1, le=64)
    """Connections at most."""
    timeout: float = Field(default=30.0, gt=0, le=3600)
    """Seconds that one statement may take."""


class DatabaseFacility(Facility):
    """Opens each database at its first use, closes all when the extension stops.

    Args:
        settings: ``dbs.<handle>`` of the extension.
        data: its own folder.
        owner: its id.
    """

    facility_name: ClassVar[str] = "database"

    def __init__(
        self,
        settings: Mapping[str, Mapping[str, Any]] | None = None,
        *,
        data: Path | None = None,
        owner: str = "",
    ) -> None:
        self._settings = {
            name: _checked(name, table) for name, table in dict(settings or {}).items()
        }
        self._data = data
        self._owner = owner
        self._open: dict[str, tuple[Database, float]] = {}
        self._lock = anyio.Lock()
        self._is_stopped = False

    @classmethod
    def make(cls, parts: FacilityParts) -> Self:
        """By the extension's settings, in its folder."""
        return cls(parts.databases, data=parts.data, owner=parts.owner)

    def handles(self) -> list[str]:
        """What the settings name."""
        return sorted(self._settings)

    async def own(self, *, migrations: str, name: str = OWN) -> Database:
        """The extension's own SQLite database, upgraded by the Alembic revisions in *migrations*.

        Args:
            migrations: the package that holds the revision modules.
            name: where it has several.

        Raises:
            SetupError: there is no folder for it, or a newer program wrote it.
            Unavailable: the extension has stopped.
        """
        from downstage.services.facilities.database import open_database

        async with self._lock:
            key = f"own {name}"
            if key not in self._open:
                path = await self._own_path(name)
                made = await open_database(path, name=self._owner, migrations=migrations)
                self._keep(key, made, DatabaseSettings.model_fields["timeout"].default)
            return self._open[key][0]

    @asynccontextmanager
    async def get(self, handle: str = "") -> AsyncGenerator[Queries]:
        """Queries on the database *handle* of the settings; "" is the extension's own.

        Raises:
            NotFound: the settings name no such database.
            SetupError: its driver is not installed, or its address is out of form.
            Unavailable: the extension has stopped.
        """
        from downstage.services.facilities.queries import Queries

        async with self._lock:
            if handle not in self._open:
                await self._connect(handle)
            database, timeout = self._open[handle]
        yield Queries(database, timeout_s=timeout)

    async def stop(self) -> None:
        """Let transactions end, close everything."""
        self._is_stopped = True
        while self._open:
            _, (database, _) = self._open.popitem()
            await database.close()

    async def _connect(self, handle: str) -> None:
        from downstage.services.facilities.database import Database
        from downstage.services.facilities.sqlite import create_sqlite_engine

        if handle == "":
            engine = create_sqlite_engine(await self._own_path(OWN))
            timeout = DatabaseSettings.model_fields["timeout"].default
            self._keep(handle, Database(engine), timeout)
            return
        settings = self._settings.get(handle)
        if settings is None:
            known = ", ".join(self.handles()) or "none"
            raise NotFound(f"No database named {handle} is set: dbs.{handle} (known: {known}).")
        url = _address(handle, settings)
        if url.get_backend_name() == "sqlite" and url.database not in (None, "", ":memory:"):
            path = await self._path(str(url.database))
            made = Database(create_sqlite_engine(path, pool_size=settings.pool_size))
        else:
            is_shared = url.get_backend_name() != "sqlite"
            made = Database(_engine(url, settings), single_writer=not is_shared)
        self._keep(handle, made, settings.timeout)

    def _keep(self, key: str, database: Database, timeout: float) -> None:
        self._open[key] = database, timeout
        log.info("database.opened", owner=self._owner, handle=key)

    async def _own_path(self, name: str) -> Path:
        if not FILE.fullmatch(name):
            raise SetupError(f"{name!r} cannot be the name of a database file.")
        return await self._path(f"{name}.db")

    async def _path(self, name: str) -> Path:
        if self._is_stopped:
            raise Unavailable(f"{self._owner} has stopped.")
        if self._data is None:
            if Path(name).is_absolute():
                return Path(name)
            raise SetupError(f"{self._owner} has no folder that a database could lie in.")
        path = self._data / name
        await anyio.to_thread.run_sync(lambda: path.parent.mkdir(0o700, True, True))
        return path


def _checked(handle: str, table: Mapping[str, Any]) -> DatabaseSettings:
    try:
        return DatabaseSettings.model_validate(table)
    except ValidationError as error:
        first = error.errors(include_input=False)[0]
        key = ".".join(str(part) for part in first["loc"])
        raise SetupError(f"The setting dbs.{handle}.{key} is wrong: {first['msg']}.") from None


def _address(handle: str, settings: DatabaseSettings) -> URL:
    """The address with a driver that does not block.

    Raises:
        SetupError: it is none, or its driver is missing; says what to install.
    """
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        url = make_url(settings.connection_string.get_secret_value())
    except (ArgumentError, ValueError):
        raise SetupError(
            f"dbs.{handle}.connection_string is no address such as sqlite:///orders.db."
        ) from None
    backend, _, driver = url.drivername.partition("+")
    driver = driver or ASYNC_DRIVERS.get(backend, "")
    if driver not in ASYNC_DRIVERS.values():
        known = ", ".join(sorted(ASYNC_DRIVERS))
        raise SetupError(f"dbs.{handle}: {url.drivername} is not known here; known: {known}.")
    if find_spec(driver) is None:
        raise SetupError(
            f"dbs.{handle} needs the package {driver}. Install it: pip install {driver}"
        )
    backend = {"postgres": "postgresql"}.get(backend, backend)
    return url.set(drivername=f"{backend}+{driver}")


def _engine(url: URL, settings: DatabaseSettings) -> Any:
    from sqlalchemy.ext.asyncio import create_async_engine

    options = dict(settings.model_extra or {})
    if url.get_driver_name() == "asyncpg":
        options = {"timeout": CONNECT_S, "command_timeout": settings.timeout, **options}
    if url.get_backend_name() == "sqlite":  # in memory: one connection, or each has its own
        return create_async_engine(url, connect_args=options, hide_parameters=True)
    return create_async_engine(
        url,
        connect_args=options,
        hide_parameters=True,
        pool_size=settings.pool_size,
        max_overflow=0,
        pool_timeout=CONNECT_S,
        pool_pre_ping=True,
    )
