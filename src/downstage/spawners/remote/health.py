"""Whether a node's engine is there: looked at again and again, so that nobody waits for the answer.

A busy engine takes seconds to answer, and who asks after a node has less.
"""

from __future__ import annotations

import anyio

from downstage.kernel.errors import PlatformError
from downstage.spawners.spawner import NodeUnreachable, Spawner

__all__ = ["Health"]

LOOK_S = 3.0
PATIENCE_S = 15.0


class Health:
    """What is known of the engine."""

    def __init__(self) -> None:
        self._known = anyio.Event()
        self._fault: str | None = None

    async def watch(self, spawner: Spawner) -> None:
        """Look after it, until cancelled."""
        while True:
            try:
                with anyio.fail_after(PATIENCE_S):
                    await spawner.check()
                self._fault = None
            except TimeoutError:
                self._fault = f"The node's engine did not answer within {PATIENCE_S:g} s."
            except PlatformError as error:
                self._fault = error.detail
            self._known.set()
            await anyio.sleep(LOOK_S)

    async def told(self) -> None:
        """Return if it answered when it was last asked.

        Raises:
            NodeUnreachable: it did not; the detail says why.
        """
        await self._known.wait()
        if self._fault is not None:
            raise NodeUnreachable(self._fault)
