"""A subscription as something to iterate over, for readers that wait for each delivery."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager

from downstage.kernel.errors import PlatformError
from downstage.streams.model import Caller, EntryId
from downstage.streams.reading import Delivery, Sink, Wish
from downstage.streams.subscription import Subscription

__all__ = ["Queue", "reading"]

Subscribe = Callable[[Caller, Wish, Sink], Subscription]


class Queue(AsyncIterator[Delivery]):
    """A sink that keeps what it is given until it is asked for."""

    def __init__(self) -> None:
        self.on_drained: Callable[[], None] | None = None
        self.gaps: deque[tuple[str, int | None, EntryId]] = deque(maxlen=64)
        """Of entries that an engine lost, so far: stream, how many, after which."""
        self._waiting: deque[Delivery] = deque()
        self._size = 0
        self._error: PlatformError | None = None
        self._filled = asyncio.Event()

    def deliver(self, delivery: Delivery) -> None:
        """Keep it."""
        self._waiting.append(delivery)
        self._size += delivery.size
        self._filled.set()

    def buffered(self) -> int:
        """Bytes that are kept."""
        return self._size

    def ready(self) -> bool:
        """Always."""
        return True

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        """Note it."""
        self.gaps.append((stream, lost, after))

    def failed(self, error: PlatformError) -> None:
        """Raise it once what is kept was taken."""
        self._error = error
        self._filled.set()

    async def __anext__(self) -> Delivery:
        while not self._waiting:
            if self._error is not None:
                raise self._error
            self._filled.clear()
            await self._filled.wait()
        delivery = self._waiting.popleft()
        self._size -= delivery.size
        if not self._waiting and self.on_drained is not None:
            self.on_drained()
        return delivery


@asynccontextmanager
async def reading(subscribe: Subscribe, caller: Caller, wish: Wish) -> AsyncGenerator[Queue]:
    """See `Streams.reading`."""
    queue = Queue()
    subscription = subscribe(caller, wish, queue)
    try:
        yield queue
    finally:
        await subscription.close()
