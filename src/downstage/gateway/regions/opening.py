"""Regions as the settings ask for them."""

from __future__ import annotations

from functools import partial

from downstage.contracts.agent import address_of
from downstage.gateway.region import AgentClients, Region
from downstage.gateway.regions.locations import Locations
from downstage.gateway.regions.regions import Regions
from downstage.kernel.errors import SetupError
from downstage.services.client import AsyncClient
from downstage.services.context import ServiceContext
from downstage.services.errors import ServiceUnavailableError
from downstage.services.registry import find_app

__all__ = ["open_regions"]


async def open_regions(context: ServiceContext) -> Regions:
    """The regions of this gateway.

    Raises:
        SetupError: regions shall be discovered and there is no bus, or the file of locations
            cannot be used.
    """
    settings = context.settings.gateway
    if settings.discover and context.settings.bus.url is None:
        raise SetupError("gateway.discover hears of regions on the bus: it needs bus.url.")

    def client(at: str | None, person: str | None) -> AsyncClient:
        return context.client("agent", act=person, at=at)

    def reach(name: str) -> AgentClients:
        return partial(client, address_of(name))

    own = Region(settings.region, partial(client, None)) if _has_own(context) else None
    return Regions(
        own,
        reach if settings.discover else None,
        clock=context.clock,
        bus=context.bus,
        locations=await Locations.open(settings.locations),
    )


def _has_own(context: ServiceContext) -> bool:
    """Whether there is an agent besides those that are discovered."""
    if not context.settings.gateway.discover or context.settings.services.agent is not None:
        return True
    try:
        find_app("agent")
    except ServiceUnavailableError:
        return False
    return True
