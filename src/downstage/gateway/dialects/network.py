"""What a page needs to try the network before it starts a session: ``GET /v1/network``."""

from __future__ import annotations

from typing import Annotated, Literal

from fastapi import APIRouter, Depends
from pydantic import Field

from downstage.auth.principal import Principal
from downstage.contracts.wire import Answer
from downstage.gateway.ice import IceServers
from downstage.services.facilities.principal import require
from downstage.services.routers import ServiceAPIRouter

__all__ = ["NetworkView", "network_router"]

Caller = Annotated[Principal, Depends(require("sessions:write"))]


class NetworkView(Answer):
    """Servers to look for a path with; relays' credentials count for a minute."""

    ice_servers: list[dict[str, str]] = Field(default_factory=list[dict[str, str]])
    ice_policy: Literal["all", "relay"] = "all"
    """``relay``: sessions here use nothing but the relay."""


def network_router(ice: IceServers) -> APIRouter:
    """The one route."""
    router = ServiceAPIRouter(tags=["network"])

    @router.get("/v1/network")
    async def show_network(caller: Caller) -> NetworkView:
        """STUN and TURN servers to try before a session is started."""
        return NetworkView(ice_servers=ice.to_check(caller.subject), ice_policy=ice.policy)

    _ = show_network
    return router
