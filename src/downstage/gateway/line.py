"""Where everybody in the queue stands, as this gateway last saw it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import anyio

from downstage.gateway.models import Session
from downstage.gateway.orders import Order
from downstage.gateway.queue import (
    Lengths,
    Waiting,
    arrange,
    eta_s,
    is_anybody_ahead,
    positions,
)
from downstage.kernel.clock import Clock

__all__ = ["Line", "waiting_of"]


def waiting_of(session: Session) -> Waiting:
    """A session that waits, as the queue sees it."""
    order = session.order or {}
    return Waiting(
        id=session.id,
        home=session.home,
        priority=session.priority,
        since=session.queued_at or session.created_at,
        region=order.get("region"),
        shape=order.get("shape", ""),
    )


class Line:
    """A picture of the queue for whoever asks; `downstage.gateway.waiting` keeps it fresh.

    Args:
        clock: of the platform.
    """

    def __init__(self, clock: Clock) -> None:
        self.arranged: list[Waiting] = []
        self.lengths = Lengths()
        self._clock = clock
        self._positions: dict[str, int] = {}
        self._regions: dict[str, str | None] = {}
        self._capacities: dict[str, int] = {}
        self._asked: dict[str, float] = {}
        self._woken = anyio.Event()

    def show(self, waiting: Iterable[Waiting], capacities: Mapping[str, int]) -> set[str]:
        """The queue is so now; whose position has changed.

        Args:
            waiting: all of them, in any order.
            capacities: places of each region, the taken ones too.
        """
        before = self._positions
        self._capacities = dict(capacities)
        self._arrange(waiting)
        self._asked = {key: at for key, at in self._asked.items() if key in self._positions}
        return {key for key, place in self._positions.items() if before.get(key) != place}

    def add(self, waiting: Waiting) -> None:
        """One more, before the next look at all of them."""
        self._arrange([*(item for item in self.arranged if item.id != waiting.id), waiting])
        self.wake()

    def position(self, session_id: str) -> int | None:
        """1 is next; None: it is not known to wait."""
        return self._positions.get(session_id)

    def eta_s(self, session_id: str) -> float | None:
        """Seconds until it is served, as far as can be told."""
        position = self._positions.get(session_id)
        if position is None:
            return None
        region = self._regions[session_id]
        places = sum(self._capacities.values()) if region is None else self._capacities.get(region)
        found = eta_s(position, self.lengths.typical(), places or 0)
        return None if found is None else round(found, 1)

    def is_ahead(self, order: Order) -> bool:
        """Whether somebody waits who is to be served before *order*.

        Who does not want to wait passes those who need something else.
        """
        ahead = [item for item in self.arranged if item.priority >= order.priority]
        shape = None if order.wait else order.shape()
        return is_anybody_ahead(ahead, order.where.region, shape=shape)

    def note_asked(self, session_id: str) -> None:
        """Somebody asks how it stands."""
        self._asked[session_id] = self._clock.monotonic()

    def asked_ago(self, session_id: str) -> float | None:
        """Seconds since that; None: nobody has, here."""
        at = self._asked.get(session_id)
        return None if at is None else self._clock.monotonic() - at

    def wake(self) -> None:
        """A place may have become free, or somebody has come."""
        self._woken.set()

    async def woken(self) -> None:
        """Wait for that; what came before the last return counts as well."""
        await self._woken.wait()
        self._woken = anyio.Event()

    def _arrange(self, waiting: Iterable[Waiting]) -> None:
        self.arranged = arrange(waiting)
        self._positions = positions(self.arranged)
        self._regions = {item.id: item.region for item in self.arranged}
