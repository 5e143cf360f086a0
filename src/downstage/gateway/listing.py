"""Lists of sessions for interfaces that page by offset, sort, and say how many there are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, and_, func, or_, select

from downstage.contracts.gateway import SessionState
from downstage.gateway.models import Session
from downstage.gateway.rows import read_session
from downstage.gateway.tables import sessions
from downstage.services.facilities.database import Database

__all__ = ["Listing", "SortBy", "Wanted"]

SortBy = Literal["created_at", "updated_at", "application", "region", "state", "id"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which sessions, in which order, and which part of them.

    One that was deleted is left out once it has ended, or at once where that was by force; one
    that is forgotten when it is over, where it did not fail; and whatever ended before `since`.
    """

    tenant: str
    owner: str | None
    """None: everybody's."""
    since: datetime
    states: Sequence[SessionState] | None = None
    failed: bool | None = None
    """Of those that have ended: only such that failed, or only such that did not."""
    by: SortBy = "created_at"
    descending: bool = False
    limit: int = 100
    offset: int = 0


class Listing:
    """Reads lists.

    Args:
        database: of the gateways.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    async def page(self, wanted: Wanted) -> tuple[list[Session], int]:
        """That part of the list, and how long all of it is."""
        conditions = _conditions(wanted)
        first = sessions.c[wanted.by]
        order = [c.desc() if wanted.descending else c.asc() for c in (first, sessions.c.id)]
        query = select(sessions).where(*conditions).order_by(*order)
        count = select(func.count()).select_from(sessions).where(*conditions)
        async with self._database.read() as connection:
            total = (await connection.execute(count)).scalar_one()
            rows = await connection.execute(query.limit(wanted.limit).offset(wanted.offset))
            return [read_session(row) for row in rows], total


def _conditions(wanted: Wanted) -> list[ColumnElement[bool]]:
    table = sessions.c
    found: list[ColumnElement[bool]] = [table.tenant == wanted.tenant]
    if wanted.owner is not None:
        found.append(table.owner == wanted.owner)
    if wanted.states is not None:
        found.append(table.state.in_(wanted.states))
    if wanted.failed is not None:
        found.append(table.outcome == "failed" if wanted.failed else table.outcome != "failed")
    deleted, forced = _flag("deleted"), _flag("forced")
    kept = or_(table.outcome == "failed", func.coalesce(_flag("kept"), False))
    recent = and_(table.updated_at >= wanted.since, kept, ~func.coalesce(deleted, False))
    found += [~func.coalesce(forced, False), or_(table.state != "ended", recent)]
    return found


def _flag(name: str) -> Any:
    return sessions.c.extra[name].as_boolean()
