"""A deadline for many answers that come in the order in which they were asked for."""

from __future__ import annotations

import asyncio
import math
from collections import deque
from typing import Any

from downstage.kernel.errors import DeadlineExceeded

__all__ = ["Patience"]


class Patience:
    """Ends the waiting for answers that do not come; one timer for all of them.

    Belongs to the loop that it is made on.
    """

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._asked = deque[tuple[float, asyncio.Future[Any]]]()
        self._timer: asyncio.TimerHandle | None = None
        self._looks_at = math.inf

    def watch(self, future: asyncio.Future[Any], seconds: float) -> None:
        """From *seconds* on let *future* fail, unless it is done; the same seconds for each.

        It fails with `DeadlineExceeded`.
        """
        due = self._loop.time() + seconds
        self._asked.append((due, future))
        if due < self._looks_at:
            self._look_at(due)

    def drop_done(self) -> None:
        """Let go of what was answered."""
        while self._asked and self._asked[0][1].done():
            self._asked.popleft()

    def close(self) -> None:
        """Wait for nothing any more."""
        if self._timer is not None:
            self._timer.cancel()

    def _look(self) -> None:
        self._looks_at = math.inf
        now = self._loop.time()
        while self._asked and (self._asked[0][0] <= now or self._asked[0][1].done()):
            _, future = self._asked.popleft()
            if not future.done():
                told = "It takes too long, and may be done nevertheless."
                future.set_exception(DeadlineExceeded(told))
        if self._asked:
            self._look_at(self._asked[0][0])

    def _look_at(self, due: float) -> None:
        self.close()
        self._looks_at = due
        self._timer = self._loop.call_at(due, self._look)
