"""Figures of streams for metrics, as this process sees them."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["StreamFigures", "Totals"]


@dataclass(slots=True)
class StreamFigures:
    """Figures of one stream; counters only grow."""

    tenant: str
    stream: str
    entries_in: int = 0
    bytes_in: int = 0
    entries_out: int = 0
    bytes_out: int = 0
    skipped: int = 0
    """Entries that subscribers were not given, by their own wish."""
    refused: int = 0
    """Entries that were pushed and not stored."""
    subscribers: int = 0
    rate: float = 0.0
    """Entries a second, over the last seconds."""
    byte_rate: float = 0.0


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
