"""What there is beside sessions: status, applications, regions, configuration."""

from __future__ import annotations

from typing import Any

from fastapi import Request

from downstage.gateway.dialects.anbox.auth import Operator, Reader, identify
from downstage.gateway.dialects.anbox.envelope import Envelope
from downstage.gateway.dialects.anbox.models import Agents, AgentStatus, Named, Setting
from downstage.gateway.dialects.anbox.settings import Items
from downstage.gateway.sessions import Sessions

__all__ = ["PlaceRoutes"]

DATABASES = 1
"""However many gateways there are, they share one."""


class PlaceRoutes:
    """Handlers.

    Args:
        sessions: of this gateway.
        items: what was set for this dialect.
    """

    def __init__(self, sessions: Sessions, items: Items) -> None:
        self._sessions = sessions
        self._items = items

    async def status(self, request: Request) -> Envelope[Agents | AgentStatus]:
        """Whether sessions can be hosted, as the gateway knows at once; more to who signs in."""
        counts = self._sessions.regions.counts()
        answering = counts.total - counts.unresponsive
        word = "healthy" if answering > 0 else "unhealthy"
        if "authorization" not in request.headers and "api_token" not in request.query_params:
            return Envelope(metadata=AgentStatus(status=word))
        await identify(request)
        return Envelope(metadata=Agents(agents=answering, database_nodes=DATABASES, status=word))

    async def applications(self, caller: Reader) -> Envelope[list[Named]]:
        """Applications that can be streamed."""
        del caller
        page = await self._sessions.regions.applications()
        names = [Named(name=item.name) for item in page.items if item.unavailable is None]
        return Envelope(metadata=names, total_size=len(names))

    async def regions(self, caller: Reader) -> Envelope[list[Named]]:
        """Regions that answer."""
        del caller
        views = await self._sessions.regions.views()
        names = [Named(name=view.name) for view in views if view.answering]
        return Envelope(metadata=names, total_size=len(names))

    async def config(self, caller: Reader) -> Envelope[dict[str, Any]]:
        """What can be set here."""
        del caller
        return Envelope(metadata=(await self._items.all()).told())

    async def set_config(self, caller: Operator, body: Setting) -> Envelope[dict[str, Any]]:
        """Set one item, for every gateway."""
        del caller
        return Envelope(metadata=(await self._items.put(body.name, body.value)).told())
