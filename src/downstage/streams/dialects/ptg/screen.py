"""What waits to be shown to one reader of pictures: never more than one delivery."""

from __future__ import annotations

from collections.abc import Callable

import anyio

from downstage.kernel.errors import PlatformError
from downstage.streams.model import EntryId
from downstage.streams.reading import Delivery

__all__ = ["Screen"]


class Screen:
    """Holds what is to be shown next: a `Sink` of one delivery.

    Args:
        latest: a newer one takes the place of one that waits; otherwise it must wait for it.
    """

    def __init__(self, *, latest: bool) -> None:
        self.on_drained: Callable[[], None] | None = None
        self._latest = latest
        self._waiting: Delivery | None = None
        self._error: PlatformError | None = None
        self._came = anyio.Event()

    def deliver(self, delivery: Delivery) -> None:
        """Show this next, in place of what was not shown yet."""
        self._waiting = delivery
        self._came.set()

    def buffered(self) -> int:
        """Bytes of what waits."""
        return 0 if self._waiting is None else self._waiting.size

    def ready(self) -> bool:
        """Whether more may come: one that is to show all takes one at a time."""
        return self._latest or self._waiting is None

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        """A picture more or less is nothing to tell a browser."""

    def failed(self, error: PlatformError) -> None:
        """There is nothing more to show."""
        self._error = error
        self._came.set()

    async def take(self, wait_s: float) -> Delivery | None:
        """What came; None: nothing did within *wait_s*.

        Raises:
            PlatformError: the subscription has ended.
        """
        with anyio.move_on_after(wait_s):
            await self._came.wait()
        self._came = anyio.Event()
        found, self._waiting = self._waiting, None
        if found is None and self._error is not None:
            raise self._error
        if found is not None and self.on_drained is not None:
            self.on_drained()
        return found
