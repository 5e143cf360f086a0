"""Single facts that identity keeps beside its tables of things."""

from __future__ import annotations

from sqlalchemy import insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from downstage.identity.tables import state

__all__ = ["read_state", "write_state"]


async def read_state(connection: AsyncConnection, name: str) -> str | None:
    """The fact called *name*, or None."""
    return await connection.scalar(select(state.c.value).where(state.c.name == name))


async def write_state(connection: AsyncConnection, name: str, value: str) -> None:
    """Put *value* for *name*; inside a write transaction."""
    changed = await connection.execute(
        update(state).where(state.c.name == name).values(value=value)
    )
    if changed.rowcount == 0:
        await connection.execute(
            insert(state).values(name=name, value=value, tenant="main", owner="service:identity")
        )
