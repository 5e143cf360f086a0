"""Time of entries that come and go, and jobs that end together."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable

import anyio

from downstage.kernel.errors import PlatformError

__all__ = ["WallClock", "first_of"]

FRESH_MS = 2000
"""An entry's id is taken as its time where it is so close to now."""


class WallClock:
    """Entries' ids as a clock that only goes forward, also while nothing comes."""

    def __init__(self) -> None:
        self._at_ms = 0

    def of(self, id_ms: int) -> tuple[int, int]:
        """Microseconds and milliseconds of an entry, by its id where that is about now."""
        now_ms = int(time.time() * 1000)
        return self._step(id_ms if abs(id_ms - now_ms) < FRESH_MS else now_ms)

    def now(self) -> tuple[int, int]:
        """The same of this moment."""
        return self._step(int(time.time() * 1000))

    def _step(self, at_ms: int) -> tuple[int, int]:
        self._at_ms = max(at_ms, self._at_ms + 1)
        return self._at_ms * 1000, self._at_ms


async def first_of(*jobs: Callable[[], Awaitable[None]]) -> None:
    """Run *jobs* until one returns, or fails: then its error is raised."""
    errors = list[PlatformError]()
    async with anyio.create_task_group() as tasks:

        async def one(job: Callable[[], Awaitable[None]]) -> None:
            try:
                await job()
            except PlatformError as error:
                errors.append(error)
            tasks.cancel_scope.cancel()

        for job in jobs:
            tasks.start_soon(one, job)
    if errors:
        raise errors[0]
