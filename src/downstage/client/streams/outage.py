"""How long to wait between attempts to reach a server, and when to give up."""

from __future__ import annotations

import asyncio
import random

from downstage.client.logs import log
from downstage.client.types import LogLevel
from downstage.kernel.errors import PlatformError, Unavailable

__all__ = ["Outage"]

FIRST_S, MOST_S = 0.05, 3.0


class Outage:
    """Counts failures in a row.

    Args:
        patience_s: how long an outage may last.
    """

    def __init__(self, patience_s: float) -> None:
        self._patience_s = patience_s
        self._failures = 0
        self._since = 0.0

    def over(self) -> None:
        """The server answers."""
        self._failures = 0

    async def pause(self, error: PlatformError) -> None:
        """Wait before the next attempt, longer each time.

        Raises:
            Unavailable: it has lasted too long.
        """
        now = asyncio.get_running_loop().time()
        if not self._failures:
            self._since = now
            log(LogLevel.INFO, "streams.connection_lost", why=error.detail)
        left = self._since + self._patience_s - now
        if left <= 0:
            raise Unavailable(
                f"{error.detail} It has been away for {self._patience_s:g} s."
            ) from error
        pause = min(FIRST_S * 2**self._failures, MOST_S)
        self._failures += 1
        # Spread, so that not all who lost a server come back to it in the same moment.
        await asyncio.sleep(min(pause * random.uniform(0.5, 1.0), left))  # noqa: S311
