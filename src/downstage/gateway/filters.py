"""Which sessions a list has, and in which order."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal

from sqlalchemy import ColumnElement, Select, and_, or_, select

from downstage.gateway.tables import sessions
from downstage.services.facilities.cursors import read_cursor

__all__ = ["Filter", "SortBy", "page_query", "sorted_query"]

SortBy = Literal["created_at", "username"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which sessions: of a tenant, of an owner (None: everybody's), and how they stand."""

    tenant: str
    owner: str | None = None
    username: str | None = None
    ended_since: datetime | None = None
    """None: ended ones too; else only those that ended by themselves after it."""


def page_query(wanted: Filter, limit: int, after: str | None) -> Select[Any]:
    """Rows, newest first, behind the cursor *after*; and one more where others follow.

    Raises:
        InvalidField: *after* is no cursor of ours.
    """
    query = select(sessions).where(*_conditions(wanted))
    if after is not None:
        moment, last = read_cursor(after)
        query = query.where(
            or_(
                sessions.c.created_at < moment,
                and_(sessions.c.created_at == moment, sessions.c.id < last),
            )
        )
    order = (sessions.c.created_at.desc(), sessions.c.id.desc())
    return query.order_by(*order).limit(limit + 1)


def sorted_query(wanted: Filter, by: SortBy, *, descending: bool) -> Select[Any]:
    """All rows in that order."""
    order = [c.desc() if descending else c.asc() for c in (sessions.c[by], sessions.c.id)]
    return select(sessions).where(*_conditions(wanted)).order_by(*order)


def _conditions(wanted: Filter) -> list[ColumnElement[bool]]:
    found = [sessions.c.tenant == wanted.tenant]
    if wanted.owner is not None:
        found.append(sessions.c.owner == wanted.owner)
    if wanted.username is not None:
        found.append(sessions.c.username == wanted.username)
    if wanted.ended_since is not None:
        recent = and_(sessions.c.outcome != "stopped", sessions.c.updated_at >= wanted.ended_since)
        found.append(or_(sessions.c.state != "ended", recent))
    return found
