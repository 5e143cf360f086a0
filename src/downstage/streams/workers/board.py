"""Figures of all processes as one: what metrics tell must not depend on who served a socket."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import fields, replace
from typing import Final

from downstage.streams.stats import MOST, StreamFigures, Totals
from downstage.streams.workers.messages import COUNTS, Row, Told, totals_of

__all__ = ["Board"]

GAUGES: Final = ("producers", "subscriptions", "live", "in_flight")
"""Of `Totals`: they end with their process, counters stay."""
NAMES: Final = tuple(field.name for field in fields(Totals))
COUNTERS: Final = tuple(name for name in NAMES if name not in GAUGES)
ENTRIES_IN, BYTES_IN = COUNTS.index("entries_in"), COUNTS.index("bytes_in")
FIRST_GAUGE = COUNTS.index("subscribers")
Key = tuple[str, str]
Stored = Callable[[str, str, int, int], None]


class Board:
    """Adds up what workers tell. Counters never fall, whoever dies.

    Args:
        stored: told of each stream how many entries and bytes workers stored since the last time.
    """

    def __init__(self, stored: Stored) -> None:
        self._stored = stored
        self._totals: dict[int, Totals] = {}
        self._counts: dict[int, dict[Key, tuple[int, ...]]] = {}
        self._past = Totals()
        """Of workers that are gone."""
        self._past_counts: dict[Key, tuple[int, ...]] = {}

    def told(self, worker: int, told: Told) -> None:
        """What *worker* has done since it began."""
        self._totals[worker] = totals_of(told.totals)
        known = self._counts.setdefault(worker, {})
        for row in told.rows:
            self._take(known, row)

    def _take(self, known: dict[Key, tuple[int, ...]], row: Row) -> None:
        tenant, stream, counts = row
        before = known.get((tenant, stream), (0,) * len(COUNTS))
        if any(now < was for now, was in zip(counts[:FIRST_GAUGE], before, strict=False)):
            # It had forgotten a stream that was idle for long, and began anew.
            self._keep((tenant, stream), before)
            before = (0,) * len(COUNTS)
        known[tenant, stream] = counts
        entries = counts[ENTRIES_IN] - before[ENTRIES_IN]
        if entries:
            self._stored(tenant, stream, entries, counts[BYTES_IN] - before[BYTES_IN])

    def gone(self, worker: int) -> None:
        """*worker* is no more: what it did counts, what it held does not."""
        totals = self._totals.pop(worker, None)
        if totals is not None:
            self._past = _sum([self._past, totals], COUNTERS)
        for key, counts in self._counts.pop(worker, {}).items():
            self._keep(key, counts)

    def _keep(self, key: Key, counts: tuple[int, ...]) -> None:
        before = self._past_counts.pop(key, None)
        kept = list(counts if before is None else map(sum, zip(before, counts, strict=True)))
        kept[FIRST_GAUGE:] = [0] * (len(COUNTS) - FIRST_GAUGE)
        self._past_counts[key] = tuple(kept)
        if len(self._past_counts) > MOST:
            del self._past_counts[next(iter(self._past_counts))]

    def totals(self, own: Totals) -> Totals:
        """Of this process, which are *own*, and all workers."""
        return _sum([own, self._past, *self._totals.values()], NAMES)

    def figures(self, own: Iterable[StreamFigures]) -> list[StreamFigures]:
        """The same of each stream; the rates are those of *own*, which know of the workers."""
        found = {(item.tenant, item.stream): replace(item) for item in own}
        for counts in (self._past_counts, *self._counts.values()):
            for key, values in counts.items():
                item = found.get(key)
                if item is None:
                    item = found[key] = StreamFigures(*key)
                for name, value in zip(COUNTS, values, strict=True):
                    setattr(item, name, getattr(item, name) + value)
        return list(found.values())


def _sum(parts: Sequence[Totals], names: Sequence[str]) -> Totals:
    return Totals(**{name: sum(getattr(part, name) for part in parts) for name in names})
