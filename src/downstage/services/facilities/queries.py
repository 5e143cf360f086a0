"""Statements with named values, each in a transaction of its own or several in one."""

from __future__ import annotations

import re
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, TypeVar, cast

import anyio
from sqlalchemy import CursorResult, Executable, Select, text
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.kernel.errors import DeadlineExceeded, TooLarge, Unavailable
from downstage.services.facilities.database import Database

__all__ = ["MAX_ROWS", "Queries"]

MAX_ROWS = 100_000
"""Rows of one answer; ask in pages for more."""
BATCH = 1000
READS = re.compile(r"\s*(SELECT|VALUES|EXPLAIN|PRAGMA)\b", re.IGNORECASE)

Query = str | Executable
Values = Mapping[str, Any]
Row = dict[str, Any]
T = TypeVar("T")


class Queries:
    """A database to one task: statements with ``:named`` values, rows as dictionaries.

    Outside of `transaction` each call commits by itself. Not to be shared between tasks.
    """

    def __init__(self, database: Database, *, timeout_s: float) -> None:
        self._database = database
        self._timeout_s = timeout_s
        self._connection: AsyncConnection | None = None
        """Of the transaction that is open."""

    async def execute(self, query: Query, values: Values | None = None) -> Any:
        """Run one statement.

        Returns:
            The new row's id after INSERT where the database tells it, the first value after a
            query, else how many rows were touched.
        """

        async def run(connection: AsyncConnection) -> Any:
            result = await connection.execute(_statement(query), dict(values or {}))
            if result.returns_rows:
                row = result.first()
                return None if row is None else row[0]
            cursor = cast("CursorResult[Any]", result)
            is_insert = str(query).lstrip()[:6].upper() == "INSERT"
            return (is_insert and getattr(cursor, "lastrowid", None)) or cursor.rowcount

        return await self._run(query, run)

    async def execute_many(self, query: Query, values: Sequence[Values]) -> None:
        """Run one statement with each of *values*: all of them or none."""

        async def run(connection: AsyncConnection) -> None:
            if values:
                await connection.execute(_statement(query), [dict(item) for item in values])

        await self._run(query, run)

    async def fetch_all(self, query: Query, values: Values | None = None) -> list[Row]:
        """All rows.

        Raises:
            TooLarge: there are more than `MAX_ROWS`.
        """

        async def run(connection: AsyncConnection) -> list[Row]:
            rows = list[Row]()
            result = await connection.execute(_statement(query), dict(values or {}))
            mappings = result.mappings()
            while batch := mappings.fetchmany(BATCH):
                rows += [{str(k): v for k, v in row.items()} for row in batch]
                if len(rows) > MAX_ROWS:
                    result.close()
                    raise TooLarge(f"The answer has more than {MAX_ROWS} rows; ask in pages.")
            return rows

        return await self._run(query, run)

    async def fetch_one(self, query: Query, values: Values | None = None) -> Row | None:
        """The first row, None where there is none."""

        async def run(connection: AsyncConnection) -> Row | None:
            result = await connection.execute(_statement(query), dict(values or {}))
            row = result.mappings().first()
            return None if row is None else {str(k): v for k, v in row.items()}

        return await self._run(query, run)

    async def fetch_val(
        self, query: Query, values: Values | None = None, column: str | int = 0
    ) -> Any:
        """One value of the first row, None where there is none."""
        row = await self.fetch_one(query, values)
        if row is None:
            return None
        return row[column] if isinstance(column, str) else list(row.values())[column]

    async def iterate(self, query: Query, values: Values | None = None) -> AsyncGenerator[Row]:
        """Row by row; they are read first, so that no transaction waits for the caller.

        Raises:
            TooLarge: as `fetch_all`.
        """
        for row in await self.fetch_all(query, values):
            yield row

    @asynccontextmanager
    async def transaction(self) -> AsyncGenerator[None]:
        """All statements inside commit together at exit, or none; inner ones are savepoints."""
        if self._connection is not None:
            async with self._connection.begin_nested():
                yield
            return
        async with self._database.write() as connection:
            self._connection = connection
            try:
                yield
            finally:
                self._connection = None

    async def _run(self, query: Query, run: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        try:
            if self._connection is not None:
                return await self._timed(self._connection, run)
            enter = self._database.read if _only_reads(query) else self._database.write
            async with enter() as connection:
                return await self._timed(connection, run)
        except PoolTimeout as error:
            raise Unavailable("Every connection to the database is in use.") from error
        except (OSError, TimeoutError) as error:
            raise Unavailable("The database does not answer.") from error

    async def _timed(
        self, connection: AsyncConnection, run: Callable[[AsyncConnection], Awaitable[T]]
    ) -> T:
        """Run it; past the deadline the driver is asked to stop, which leaves all in order."""
        raw = await connection.get_raw_connection()
        interrupt = getattr(raw.driver_connection, "interrupt", None)
        if interrupt is None:  # drivers over a network have a time-out of their own
            return await run(connection)
        late = False

        async def watch() -> None:
            nonlocal late
            await anyio.sleep(self._timeout_s)
            late = True
            await interrupt()

        found = list[T]()
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(watch)
                found.append(await run(connection))
                tasks.cancel_scope.cancel()
        except BaseExceptionGroup as group:
            error = group.exceptions[0]
            if late:
                raise DeadlineExceeded(f"This took longer than {self._timeout_s:g} s.") from error
            raise error from error.__cause__
        return found[0]


def _statement(query: Query) -> Executable:
    return text(query) if isinstance(query, str) else query


def _only_reads(query: Query) -> bool:
    if isinstance(query, str):
        return READS.match(query) is not None
    return isinstance(query, Select)
