"""The agent as the service host starts it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from downstage.agent.bridge import Bridge
from downstage.agent.routes import create_router
from downstage.services.extension import IExt

__all__ = ["Extension"]


class Extension(IExt):
    """Stands for one region."""

    requires: ClassVar[Mapping[str, str]] = {"identity": "?", "manager": "?"}

    async def on_startup(self, ext_id: str) -> None:
        """Wire the bridge to its manager."""
        del ext_id
        context = self.context
        bridge = Bridge(
            context.settings.agent.region,
            lambda person: context.client("manager", act=person),
            context.bus,
        )
        context.internal(create_router(bridge))
        context.start(bridge.relay_hints, name="hints")
