"""Lists of instances, page by page, the newest first: there may be thousands."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, or_, select

from downstage.manager.moments import write_moment
from downstage.manager.tables import instances
from downstage.services.facilities.cursors import read_cursor

__all__ = ["Wanted", "page_query"]


@dataclass(frozen=True, slots=True)
class Wanted:
    """Which instances, and which part of them."""

    tenant: str | None = None
    """None: those of all tenants."""
    owner: str | None = None
    """None: everybody's."""
    living: bool = False
    """Only those that have not ended."""
    limit: int = 50
    after: str | None = None
    """The cursor that came with the page before."""


def page_query(wanted: Wanted) -> Select[Any]:
    """The rows of that page, and one more where others follow.

    Raises:
        InvalidField: *after* is no cursor of ours.
    """
    i = instances.c
    conditions: list[ColumnElement[bool]] = []
    if wanted.tenant is not None:
        conditions.append(i.tenant == wanted.tenant)
    if wanted.owner is not None:
        conditions.append(i.owner == wanted.owner)
    if wanted.living:
        conditions.append(i.state != "ended")
    if wanted.after is not None:
        moment, last = read_cursor(wanted.after)
        at = write_moment(moment)
        conditions.append(or_(i.created_at < at, and_(i.created_at == at, i.id < last)))
    query = select(instances).where(*conditions).order_by(i.created_at.desc(), i.id.desc())
    return query.limit(wanted.limit + 1)
