"""What is done again and again: nodes emptied, strangers ended, old leftovers removed.

A stranger is something that runs on a node and that no row tells of: its manager was killed at
the wrong moment, or its data were put back from a copy. Nothing runs without a row.
"""

from __future__ import annotations

import anyio

from downstage.kernel.clock import Clock
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.manager.instances import Instances
from downstage.manager.nodes.fleet import Fleet
from downstage.manager.nodes.model import Node
from downstage.spawners.spawner import Spawner

__all__ = ["Upkeep"]

LOOK_S = 1.0
"""Between two looks at nodes that are emptied."""
SWEEP_S = 30.0
"""Between two looks for strangers; also when a node comes back."""
KILL_S = 15.0
"""How long an end may take before it is made one by force; keepers are much quicker."""
END_S = 10.0
"""How long a stranger may take to end before it is left for the next look."""
log = get_logger(__name__)


class Upkeep:
    """Looks after nodes and what runs there.

    Args:
        instances: those that have a row.
        fleet: the nodes.
        clock: of the platform.
    """

    def __init__(self, instances: Instances, fleet: Fleet, clock: Clock) -> None:
        self._instances, self._fleet, self._clock = instances, fleet, clock
        self._sweep_at = 0.0
        fleet.listeners.append(self._changed)

    async def run(self) -> None:
        """Go on until cancelled."""
        while True:
            await self.empty_nodes()
            await self.end_by_force()
            if self._clock.monotonic() >= self._sweep_at:
                self._sweep_at = self._clock.monotonic() + SWEEP_S
                await self.sweep()
            await anyio.sleep(LOOK_S)

    async def empty_nodes(self) -> None:
        """End what waits on nodes that take nothing more, and all on those whose time is over."""
        now = self._clock.now()
        closed = {node.name: node for node in self._fleet.nodes if not node.takes_more}
        if not closed:
            return
        for record in self._instances.living:
            node = closed.get(record.node)
            if node is None or record.instance.state in ("ending", "ended"):
                continue
            is_over = node.drain_by is not None and now >= node.drain_by
            waits = record.fixed.pool is not None and node.status == "online"
            if is_over or waits:
                await self._instances.stop(record.fixed.id, "node-drained")

    async def end_by_force(self) -> None:
        """Kill what was asked to end long ago."""
        now = self._clock.now()
        ending = [r for r in self._instances.living if r.instance.state == "ending"]
        for record in ending:
            most = KILL_S + self._instances.patience(record.fixed.id)
            if (now - record.updated_at).total_seconds() > most:
                log.warning("instance.does_not_end", instance_id=record.fixed.id)
                await self._instances.kill(record.fixed.id)

    async def sweep(self) -> None:
        """End strangers on every node that answers, each by itself; forget what ended long ago."""
        await self._instances.prune()
        async with anyio.create_task_group() as tasks:
            for node, spawners in self._fleet.online():
                for spawner in spawners:
                    tasks.start_soon(self._sweep, node, spawner)

    async def _sweep(self, node: Node, spawner: Spawner) -> None:
        try:
            with anyio.fail_after(END_S):
                found = await spawner.known()
            # Asked only now: what was found and had no row then, has one by now.
            # What was moved away from a node of its own machine is a stranger there.
            here = self._fleet.elsewhere(node.engine) if node.is_elsewhere else None
            living = self._instances.living
            ours = {r.runs_as for r in living if here is None or r.node in here}
            for instance_id in (one for one in found if one not in ours):
                log.warning("instance.stranger", instance_id=instance_id, node=node.name)
                with anyio.fail_after(END_S):
                    await _end(spawner, instance_id)
        except (PlatformError, TimeoutError) as error:
            detail = error.detail if isinstance(error, PlatformError) else "It took too long."
            log.warning("node.not_swept", node=node.name, detail=detail)

    def _changed(self, node: Node) -> None:
        if node.status == "online":
            self._sweep_at = 0.0


async def _end(spawner: Spawner, instance_id: str) -> None:
    handle = await spawner.attach(instance_id)
    if handle is not None:
        try:
            await handle.kill()
            async for _ in handle.reports():
                pass
        finally:
            with anyio.CancelScope(shield=True):
                await handle.close()
    await spawner.clean(instance_id)
    await spawner.forget(instance_id)
