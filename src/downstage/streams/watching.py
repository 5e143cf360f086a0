"""What the live readers of this process follow, and who is given what they read.

Subscribers that want the same are one group: a delivery is made once and given to all of them.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING

from downstage.kernel.logging import get_logger
from downstage.streams.reading import Delivery, Row
from downstage.streams.stats import StreamFigures

if TYPE_CHECKING:
    from downstage.streams.part import Part
    from downstage.streams.subscription import Subscription

__all__ = ["Group", "Watch", "cut", "id_key"]


RECENT = 1024
log = get_logger(__name__)


def id_key(id_: bytes) -> tuple[int, int]:
    """*id_* as something that can be compared."""
    ms, _, seq = id_.partition(b"-")
    return int(ms), int(seq or 0)


class Watch:
    """One stream that a live reader follows."""

    __slots__ = (
        "begin",
        "figures",
        "groups",
        "key",
        "name",
        "ordinal",
        "part",
        "position",
        "recent",
        "singles",
        "tenant",
        "users",
    )

    def __init__(self, part: Part, key: bytes, position: bytes, figures: StreamFigures) -> None:
        self.part = part
        self.key = key
        self.begin = position
        """Where it began to be followed."""
        self.position = position
        """Id of the last entry that was read."""
        self.ordinal = 0
        """Entries that were read since it is followed."""
        self.recent: deque[bytes] = deque(maxlen=RECENT)
        """Ids that were read last, to see after a failover which of them are gone."""
        self.figures = figures
        self.tenant = figures.tenant
        self.name = figures.stream
        self.groups: set[Group] = set()
        self.singles: set[Subscription] = set()
        """Subscriptions that filter for themselves."""
        self.users: set[Subscription] = set()
        """All that need it, live or not."""


class Group:
    """Live subscribers that want the same: the same streams, as many at once.

    Args:
        watches: their streams.
        count: entries of each stream in one delivery.
        one_by_one: one stream in each delivery.
    """

    __slots__ = ("count", "members", "one_by_one", "watches")

    def __init__(self, watches: Sequence[Watch], count: int, *, one_by_one: bool) -> None:
        self.watches = tuple(watches)
        self.count = count
        self.one_by_one = one_by_one
        self.members: dict[Subscription, None] = {}

    def deliver(self, fresh: list[list[Row]]) -> None:
        """Give *fresh*, the new rows of some of the streams, to every member."""
        deliveries = cut(fresh, self.count, one_by_one=self.one_by_one)
        size = sum(delivery.size for delivery in deliveries)
        for member in tuple(self.members):
            try:
                member.take(deliveries, size)
            except Exception:  # one sink's defect is not the others'
                log.exception("streams.sink_failed")
                member.crashed()


def cut(fresh: list[list[Row]], count: int, *, one_by_one: bool) -> list[Delivery]:
    """Rows of streams as deliveries, each with at most *count* of a stream, sorted by stream."""
    if len(fresh) > 1:
        fresh.sort(key=lambda rows: rows[0][0])
    if one_by_one or len(fresh) == 1:
        return [
            Delivery(tuple(rows[at : at + count]))
            for rows in fresh
            for at in range(0, len(rows), count)
        ]
    longest = max(len(rows) for rows in fresh)
    return [
        Delivery(tuple(_flat(rows[at : at + count] for rows in fresh)))
        for at in range(0, longest, count)
    ]


def _flat(parts: Iterable[Sequence[Row]]) -> Iterable[Row]:
    for part in parts:
        yield from part
