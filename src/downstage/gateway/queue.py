"""The queue as pure data: who is next, where everybody stands, and how long it may take.

Order: the higher priority first, then who has waited longer. Who would be served by other regions
is not in one's way. Nothing here waits, stores or calls anybody; `downstage.gateway.waiting` does.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from statistics import median

__all__ = ["Lengths", "Round", "Waiting", "arrange", "eta_s", "is_anybody_ahead", "positions"]

REMEMBERED = 50
"""Sessions whose lengths count for the estimate."""


@dataclass(frozen=True, slots=True)
class Waiting:
    """A session in the queue."""

    id: str
    home: str
    """Address of the gateway that may place it."""
    priority: int
    since: datetime
    region: str | None
    """That one alone; None: any."""
    shape: str
    """The same for all that fit into the same places."""


def arrange(waiting: Iterable[Waiting]) -> list[Waiting]:
    """Who comes first, first; the same order at every gateway."""
    return sorted(waiting, key=lambda item: (-item.priority, item.since, item.id))


def positions(arranged: Iterable[Waiting]) -> dict[str, int]:
    """1 for who is next: those ahead who may be given the same place, and oneself."""
    ahead, found = Counter[str | None](), dict[str, int]()
    for item in arranged:
        before = ahead.total() if item.region is None else ahead[None] + ahead[item.region]
        found[item.id] = before + 1
        ahead[item.region] += 1
    return found


def eta_s(position: int, length_s: float | None, places: int) -> float | None:
    """Seconds until the one at *position* is served, were *places* left one after another.

    Args:
        position: 1 is next.
        length_s: how long a session lasts; None: not known.
        places: that become free, each after that time.
    """
    if length_s is None or places < 1:
        return None
    return position * length_s / places


class Lengths:
    """How long sessions lasted of late; the median, which one that ran all night does not move."""

    def __init__(self) -> None:
        self._recent: deque[float] = deque(maxlen=REMEMBERED)

    def note(self, seconds: float) -> None:
        """One has ended."""
        self._recent.append(max(seconds, 0.0))

    def typical(self) -> float | None:
        """None as long as none has ended."""
        return median(self._recent) if self._recent else None


class Round:
    """One pass through the queue: where each may still be tried, given what was refused.

    A region that has no place for one has none for any behind it that needs the same; whoever
    needs something else is not held up. Where the one in front is at home at another gateway, it
    is that gateway's turn.

    Args:
        home: address of this gateway.
        regions: all that are known.
    """

    def __init__(self, home: str, regions: Sequence[str]) -> None:
        self._home = home
        self._regions = regions
        self._closed: set[tuple[str, str]] = set()
        self._others_turn: set[tuple[str | None, str]] = set()

    def refuse(self, item: Waiting, region: str) -> None:
        """*region* has no place for *item*."""
        self._closed.add((region, item.shape))

    def may_try(self, item: Waiting) -> bool:
        """Whether it may be this one's turn at all; to be asked of everybody in order."""
        if item.home != self._home:
            self._others_turn.add((item.region, item.shape))
            return False
        if not self.open_to(item, self._regions if item.region is None else [item.region]):
            return False
        turns = {(None, item.shape), (item.region, item.shape)}
        if item.region is None:
            is_ours = not any(shape == item.shape for _, shape in self._others_turn)
        else:
            is_ours = not turns & self._others_turn
        if not is_ours:
            # Whoever is behind and needs the same waits with this one.
            self._others_turn.add((item.region, item.shape))
        return is_ours

    def open_to(self, item: Waiting, regions: Sequence[str]) -> list[str]:
        """Those of *regions* that have refused nobody like *item* yet."""
        return [name for name in regions if (name, item.shape) not in self._closed]


def is_anybody_ahead(
    arranged: Collection[Waiting], region: str | None, *, shape: str | None = None
) -> bool:
    """Whether somebody waits already for a place that may be given in *region* (None: any)."""
    return any(
        (region is None or item.region in (None, region)) and shape in (None, item.shape)
        for item in arranged
    )
