"""Whether an instance that waits can be taken, and what it then gets of its session. Pure."""

from __future__ import annotations

from downstage.contracts.manager import InstanceCreate
from downstage.manager.driver import Live
from downstage.manager.planning import Planned
from downstage.manager.store import NewInstance
from downstage.spawners.spawner import Adoption

__all__ = ["adoption_of", "can_be_taken"]


def can_be_taken(live: Live, pool: str) -> bool:
    """It runs, waits in *pool*, and nobody has it."""
    record = live.record
    return (
        record.fixed.pool == pool
        and record.instance.state == "running"
        and live.handle is not None
        and not live.is_claimed
    )


def adoption_of(new: NewInstance, request: InstanceCreate, planned: Planned) -> Adoption | None:
    """What is handed over; None: the request is of no session."""
    token, url = request.instance_token, request.link_url
    if new.session_id is None or token is None or url is None:
        return None
    return Adoption(
        instance_id=new.id,
        session_id=new.session_id,
        instance_token=token,
        link_url=url,
        link_urls=tuple(request.link_urls),
        display=planned.spec.display,
        ice_servers=tuple(request.ice_servers),
        access_token=request.access_token,
        user_data=request.user_data,
    )
