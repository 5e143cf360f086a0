"""Figures of streams for metrics, as this process sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

__all__ = ["MOST", "Figures", "StreamFigures", "Totals"]

MOST = 4096
"""Streams of which figures are kept; those that were idle longest are forgotten first."""
SPAN_S = 5.0
"""Over about how many seconds rates are taken."""
SAMPLE_LEAST_S = 0.5
SAMPLE_MOST_S = 60.0


@dataclass(slots=True, eq=False)
class StreamFigures:
    """Figures of one stream; counters only grow."""

    tenant: str
    stream: str
    entries_in: int = 0
    bytes_in: int = 0
    entries_seen: int = 0
    """Entries that came by for live subscribers, whoever pushed them."""
    bytes_seen: int = 0
    entries_elsewhere: int = 0
    """Entries that workers stored, for the rates alone."""
    bytes_elsewhere: int = 0
    entries_out: int = 0
    """Entries that subscribers were offered; each counts as often as it has subscribers."""
    bytes_out: int = 0
    skipped: int = 0
    """Entries that subscribers were not given, by their own wish."""
    refused: int = 0
    """Entries that were pushed and not stored."""
    subscribers: int = 0
    lag: int = 0
    """Entries that are stored and wait for its subscribers, all of them together, about."""
    rate: float = 0.0
    """Entries a second, over the last seconds."""
    byte_rate: float = 0.0
    used_at: float = 0.0
    sample: tuple[float, int, float] = (0.0, 0, 0.0)
    """When the engine was asked last how many were ever added, how many, and the rate since."""
    before: tuple[int, int] = (0, 0)

    def tick(self, seconds: float, now: float) -> None:
        """Bring the rates up to date after *seconds*."""
        entries = max(self.entries_in + self.entries_elsewhere, self.entries_seen)
        size = max(self.bytes_in + self.bytes_elsewhere, self.bytes_seen)
        weight = 1.0 - math.exp(-seconds / SPAN_S)
        self.rate += weight * ((entries - self.before[0]) / seconds - self.rate)
        self.byte_rate += weight * ((size - self.before[1]) / seconds - self.byte_rate)
        if (entries, size) != self.before or self.subscribers:
            self.used_at = now
        self.before = (entries, size)

    def sampled(self, added: int, now: float) -> float:
        """The rate, now that the engine says that *added* entries were ever added."""
        at, before, rate = self.sample
        seconds = now - at
        if seconds >= SAMPLE_LEAST_S:
            rate = max(0, added - before) / seconds if seconds <= SAMPLE_MOST_S else 0.0
            self.sample = (now, added, rate)
        return max(self.rate, rate)


@dataclass(slots=True)
class Totals:
    """Figures of this process; counters only grow."""

    entries_in: int = 0
    bytes_in: int = 0
    entries_out: int = 0
    bytes_out: int = 0
    refused: int = 0
    unknown: int = 0
    """Entries of unacknowledged pushes whose fate a broken connection left open."""
    repeated: int = 0
    """Pushes that had been stored before, under their key."""
    skipped: int = 0
    lagged: int = 0
    """Subscriptions that ended because they were too slow."""
    gaps: int = 0
    """Times that subscribers were told of entries that an engine lost."""
    slow: int = 0
    """Times that a subscriber left live mode."""
    producers: int = 0
    subscriptions: int = 0
    live: int = 0
    in_flight: int = 0
    """Bytes that engines have not answered yet."""


@dataclass(slots=True)
class Figures:
    """Figures of the streams that were used here lately, and of all together."""

    totals: Totals = field(default_factory=Totals)
    _kept: dict[tuple[str, str], StreamFigures] = field(
        default_factory=dict[tuple[str, str], StreamFigures]
    )

    def of(self, tenant: str, stream: str) -> StreamFigures:
        """Those of one stream; made where there are none."""
        found = self._kept.get((tenant, stream))
        if found is None:
            found = self._kept[tenant, stream] = StreamFigures(tenant, stream)
        return found

    def all(self) -> list[StreamFigures]:
        """Of every stream that is kept."""
        return list(self._kept.values())

    def tick(self, seconds: float, now: float) -> None:
        """Bring rates up to date; forget what was idle longest, where there are too many."""
        for figures in self._kept.values():
            figures.tick(seconds, now)
        extra = len(self._kept) - MOST
        if extra > 0:
            idle = sorted(self._kept.items(), key=lambda item: item[1].used_at)
            for key, _ in idle[:extra]:
                del self._kept[key]
