"""A sink that only tells that something came."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from downstage.kernel.errors import PlatformError
from downstage.streams.model import EntryId
from downstage.streams.reading import Delivery

__all__ = ["Bell"]


class Bell:
    """Rings for every delivery, and keeps none."""

    def __init__(self) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._rung = asyncio.Event()

    async def wait(self) -> None:
        """Return once something came since the last time."""
        await self._rung.wait()
        self._rung.clear()

    def deliver(self, delivery: Delivery) -> None:
        """Ring."""
        del delivery
        self._rung.set()

    def buffered(self) -> int:
        """Nothing is kept."""
        return 0

    def ready(self) -> bool:
        """Always."""
        return True

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        """Ring."""
        del stream, lost, after
        self._rung.set()

    def failed(self, error: PlatformError) -> None:
        """Ring: who waits looks for itself and finds out."""
        del error
        self._rung.set()
