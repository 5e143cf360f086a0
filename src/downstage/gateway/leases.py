"""The lease keeper: one task that sleeps until the next lease ends."""

from __future__ import annotations

import heapq
from collections.abc import Awaitable, Callable, Iterable
from typing import cast

import anyio

from downstage.gateway.states import Lease, LeaseKind, Now
from downstage.kernel.clock import Clock

__all__ = ["LeaseKeeper", "read_clock"]

Ring = Callable[[str, LeaseKind], Awaitable[None]]


def read_clock(clock: Clock) -> Now:
    """This moment on every clock."""
    return Now(clock.now(), clock.monotonic(), clock.boot_id())


class LeaseKeeper:
    """Rings when a lease has run out; setting the wall clock moves nothing.

    Args:
        clock: of the platform.
        ring: called with the session and the kind of lease; it judges by itself.
    """

    def __init__(self, clock: Clock, ring: Ring) -> None:
        self._clock = clock
        self._ring = ring
        self._due: dict[str, dict[LeaseKind, float]] = {}
        self._heap: list[tuple[float, str, str]] = []
        self._changed = anyio.Event()

    def keep(self, session_id: str, leases: Iterable[Lease]) -> None:
        """Watch *leases* of a session instead of those told before; none: forget it."""
        now = read_clock(self._clock)
        due: dict[LeaseKind, float] = {lease.kind: lease.due(now) for lease in leases}
        if due:
            self._due[session_id] = due
        else:
            self._due.pop(session_id, None)
        for kind, moment in due.items():
            heapq.heappush(self._heap, (moment, session_id, kind))
        if len(self._heap) > 64 + 8 * len(self._due):
            self._rebuild()
        self._changed.set()

    async def run(self) -> None:
        """Ring for ever."""
        while True:
            self._changed = anyio.Event()
            with anyio.move_on_after(self._pause()):
                await self._changed.wait()
            await self.ring_due()

    async def ring_due(self) -> None:
        """Ring for every lease that is over by now."""
        now = self._clock.monotonic()
        while self._heap and self._heap[0][0] <= now:
            moment, session_id, kind = heapq.heappop(self._heap)
            lease = cast("LeaseKind", kind)
            if self._due.get(session_id, {}).get(lease) != moment:
                continue
            try:
                await self._ring(session_id, lease)
            except BaseException:
                heapq.heappush(self._heap, (moment, session_id, kind))
                raise

    def _pause(self) -> float | None:
        """Seconds until something is due; None: nothing ever."""
        if not self._heap:
            return None
        return max(self._heap[0][0] - self._clock.monotonic(), 0.0)

    def _rebuild(self) -> None:
        """Drop the entries of leases that were replaced."""
        self._heap = [
            (moment, session_id, kind)
            for session_id, due in self._due.items()
            for kind, moment in due.items()
        ]
        heapq.heapify(self._heap)
