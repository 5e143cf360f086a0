"""What the catalogue asks of instances: `downstage.manager.catalogue.service.InstancesOf`."""

from __future__ import annotations

from collections.abc import Sequence

import anyio

from downstage.bus import Bus
from downstage.contracts.manager import INSTANCE_CHANGED
from downstage.kernel.errors import NotFound
from downstage.manager.instances import Instances

__all__ = ["RunningInstances"]

END_S = 20.0
"""How long a removal by force waits for instances to end."""
REASON = "application-removed"


class RunningInstances:
    """Instances by application; ends them and waits.

    Args:
        instances: all of them.
        bus: where their changes are told.
    """

    def __init__(self, instances: Instances, bus: Bus) -> None:
        self._instances, self._bus = instances, bus

    async def running(self, application: str | None, version: int | None) -> list[str]:
        """Ids of instances of *application* that have not ended; None means any."""
        return [
            record.fixed.id
            for record in self._instances.living
            if record.instance.state != "ended"
            and application in (None, record.fixed.application)
            and version in (None, record.fixed.version)
        ]

    async def end(self, ids: Sequence[str]) -> None:
        """End them and wait, at most `END_S`, until they have."""
        async with self._bus.subscribe(INSTANCE_CHANGED) as hints:
            for instance_id in ids:
                await self._instances.stop(instance_id, REASON)
            with anyio.move_on_after(END_S):
                while await self._some_live(ids):
                    await anext(hints)

    async def _some_live(self, ids: Sequence[str]) -> bool:
        for instance_id in ids:
            try:
                if (await self._instances.get(instance_id)).state != "ended":
                    return True
            except NotFound:
                continue
        return False
