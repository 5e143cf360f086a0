"""An agent tells gateways that it is there: every few seconds, and when a place came free."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import anyio

from downstage.agent.bridge import OK, Bridge
from downstage.bus import Bus
from downstage.contracts.agent import Announcement, announced
from downstage.contracts.manager import INSTANCE_CHANGED
from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["Announcer", "free_of"]

AT_MOST_EVERY_S = 0.2
"""However much happens, it tells no more often."""
State = Literal["up", "no-manager", "leaving"]
log = get_logger(__name__)


def free_of(health: Mapping[str, Any]) -> tuple[int, int]:
    """Capacity and free places by what a manager says of its health."""
    capacity = int(health.get("capacity", 0))
    free = int(health.get("free", capacity - int(health.get("running", 0))))
    return max(capacity, 0), max(free, 0)


class Announcer:
    """Tells of one agent.

    Args:
        bridge: to its manager.
        bus: where gateways listen.
        clock: of the platform.
        interval_s: how often it tells.
    """

    def __init__(self, bridge: Bridge, bus: Bus, clock: Clock, interval_s: float) -> None:
        self._bridge = bridge
        self._bus = bus
        self._clock = clock
        self._interval_s = interval_s
        self._changed = anyio.Event()
        self._state: State | None = None

    async def run(self) -> None:
        """Tell until cancelled."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._listen)
            while True:
                self._changed = anyio.Event()
                await self._tell()
                await anyio.sleep(min(AT_MOST_EVERY_S, self._interval_s))
                with anyio.move_on_after(max(self._interval_s - AT_MOST_EVERY_S, 0)):
                    await self._changed.wait()

    def leave(self) -> None:
        """Tell that this agent is being stopped."""
        self._publish("leaving", 0, 0)

    async def _listen(self) -> None:
        async with self._bus.subscribe(INSTANCE_CHANGED) as hints:
            async for _ in hints:
                self._changed.set()

    async def _tell(self) -> None:
        health = await self._ask()
        if health is None:
            self._publish("no-manager", 0, 0)
        else:
            self._publish("up", *free_of(health))

    async def _ask(self) -> Mapping[str, Any] | None:
        """What the manager says of its health; None where it is not well, or does not answer."""
        try:
            reply = await self._bridge.health()
        except PlatformError as error:
            why = error.detail
        else:
            if reply.status == OK:
                return reply.body
            why = str(reply.body.get("detail", reply.status))
        if self._state != "no-manager":
            log.warning("agent.manager_silent", region=self._bridge.region, why=why)
        return None

    def _publish(self, state: State, capacity: int, free: int) -> None:
        self._state = state
        site = self._bridge.site
        told = Announcement(
            agent=self._bridge.agent,
            region=site.region,
            state=state,
            capacity=capacity,
            free=free,
            interval_s=self._interval_s,
            at=self._clock.now(),
            latitude=site.latitude,
            longitude=site.longitude,
            probe=site.probe,
        )
        self._bus.publish(announced(told.region), told.model_dump(mode="json"))
