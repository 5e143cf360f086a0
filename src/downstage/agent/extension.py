"""The agent as the service host starts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

import anyio.lowlevel

from downstage.agent.announcer import Announcer
from downstage.agent.bridge import Bridge, Site
from downstage.agent.catalogue import catalogue_router
from downstage.agent.routes import create_router
from downstage.agent.sessions import SessionDoor
from downstage.contracts.agent import address_of, is_region
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Agent as AgentSettings
from downstage.services.client import AsyncClient
from downstage.services.extension import IExt

__all__ = ["Extension"]


class Extension(IExt):
    """Stands for one region."""

    requires: ClassVar[Mapping[str, str]] = {"identity": "?", "manager": "?"}

    _announcer: Announcer | None = None

    async def on_startup(self, ext_id: str) -> None:
        """Wire the bridge to its manager."""
        del ext_id
        context = self.context
        settings = context.settings.agent
        site = Site(settings.region, settings.latitude, settings.longitude, settings.probe)

        def managers(person: str | None) -> AsyncClient:
            return context.client("manager", act=person)

        bridge = Bridge(site, managers, context.bus)
        door = SessionDoor(settings.region, lambda person: context.client("gateway", act=person))
        context.internal(create_router(bridge, door))
        context.internal(catalogue_router(managers))
        context.start(bridge.relay_hints, name="hints")
        if settings.announce:
            _check(settings, has_bus=context.settings.bus.url is not None)
            interval_s = settings.announce_interval.total_seconds()
            self._announcer = Announcer(bridge, context.bus, context.clock, interval_s)
            context.on_ready(self._begin)

    async def _begin(self) -> None:
        self.context.start(self._serve, name="serve")

    async def _serve(self) -> None:
        """Take calls over the bus, and tell of it only while they are taken."""
        from downstage.services.nats_service import serve_nats

        context, announcer = self.context, self._announcer
        assert announcer is not None  # noqa: S101 - made before this was started
        uri = address_of(context.settings.agent.region)
        concurrency = context.settings.bus.concurrency
        async with serve_nats(context.app, uri, concurrency=concurrency):
            await announcer.run()

    async def on_shutdown(self) -> None:
        """Tell gateways at once that this agent goes."""
        if self._announcer is not None:
            self._announcer.leave()
            await anyio.lowlevel.checkpoint()  # the bus sends it


def _check(settings: AgentSettings, *, has_bus: bool) -> None:
    if not has_bus:
        raise SetupError("agent.announce tells gateways on the bus: it needs bus.url.")
    if not is_region(settings.region):
        raise SetupError(
            "agent.region is announced: it takes 1 to 56 letters, digits, - and _, "
            f"not {settings.region[:80]!r}."
        )
    if settings.announce_interval.total_seconds() <= 0:
        raise SetupError("agent.announce_interval is longer than 0.")
