"""Which sessions this dialect lists, and for how long it remembers what has ended."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from downstage.auth.principal import Principal
from downstage.gateway.dialects.anbox.models import Status
from downstage.gateway.dialects.anbox.statuses import states_of
from downstage.gateway.listing import Listing, SortBy, Wanted
from downstage.gateway.models import Session

__all__ = ["KEPT", "ListQuery", "find", "is_hidden"]

KEPT = timedelta(days=1)
"""How long a session that failed, or that is not ephemeral, is still told after its end."""
MOST = 1000
COLUMNS: dict[str, SortBy] = {
    "id": "id",
    "app": "application",
    "region": "region",
    "status": "state",
    "created_at": "created_at",
    "updated_at": "updated_at",
}


class ListQuery(BaseModel):
    """The parameters of the list; unknown ones are not minded."""

    model_config = ConfigDict(extra="ignore", use_attribute_docstrings=True)

    status: Status | None = None
    recursion: bool = False
    """True: sessions; else their ids."""
    limit: int = Field(default=0, ge=0)
    """0: as many as there are, at most 1000."""
    offset: int = Field(default=0, ge=0, le=1 << 31)
    sort_by: Literal["id", "app", "region", "status", "created_at", "updated_at"] = "created_at"
    sort_order: Literal["asc", "desc"] = "asc"


async def find(
    listing: Listing, caller: Principal, query: ListQuery, now: datetime
) -> tuple[list[Session], int]:
    """What *caller* may see of what *query* asks for, and how many there are in all."""
    failed = {"error": True, "terminated": False}.get(query.status or "")
    wanted = Wanted(
        tenant=caller.tenant,
        owner=None if caller.may("sessions:admin") else caller.subject,
        since=now - KEPT,
        states=states_of(query.status) if query.status else None,
        failed=failed,
        by=COLUMNS[query.sort_by],
        descending=query.sort_order == "desc",
        limit=min(query.limit or MOST, MOST),
        offset=query.offset,
    )
    return await listing.page(wanted)


def is_hidden(session: Session, now: datetime) -> bool:
    """Whether the list leaves *session* out, the same for one."""
    extra = session.extra
    if extra.get("forced"):
        return True
    if session.life.state != "ended":
        return False
    is_kept = session.life.outcome == "failed" or bool(extra.get("kept"))
    return bool(extra.get("deleted")) or not is_kept or session.updated_at < now - KEPT
