"""Which region is best for a caller: pure figures in, an order and its reason out.

The score is in milliseconds; the lowest wins, among regions that answer and have a free place::

    score = latency + load - nearness

=========  =====================================================================================
latency    what the caller measured to the region's probe; else what the distance makes likely,
           5 ms and 1.5 ms for each 100 km; else, where neither is known, 150 ms
load       up to 10 ms by the part of the region's places that is taken, for callers who
           measured: the nearest region with a free place is what everybody else gets
nearness   20 ms for the region that the caller names in `near`
=========  =====================================================================================

Equal scores are settled by free places, then by name. Where no region has a free place the same
order holds among the full ones: there the caller waits, or is refused.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from downstage.gateway.regions.sights import RegionFacts

__all__ = ["Place", "Ranking", "Scored", "Wish", "distance_km", "latency_by_distance", "rank"]

EARTH_KM = 6371.0
FIRST_MS, MS_A_KM = 5.0, 0.015
UNKNOWN_MS = 150.0
LOAD_MS = 10.0
NEAR_MS = 20.0
LONGEST_MS = 60_000.0
SHOWN = 8
"""Regions that a reason names."""


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere on earth, in degrees north and east."""

    latitude: float
    longitude: float


@dataclass(frozen=True, slots=True)
class Wish:
    """What a caller says, and what is known, about where to be served."""

    region: str | None = None
    """This one and no other."""
    rtt_ms: Mapping[str, float] = field(default_factory=dict[str, float])
    near: str | None = None
    address: str | None = None
    """Of the caller's network."""


@dataclass(frozen=True, slots=True)
class Scored:
    """One region, and how it compares."""

    facts: RegionFacts
    score: float
    latency_ms: float
    how: str
    """Where the latency is from: ``measured``, ``by 1,234 km`` or ``distance unknown``."""
    is_near: bool = False

    @property
    def is_free(self) -> bool:
        """Whether it answers and has room."""
        return self.facts.answering and self.facts.free > 0

    def text(self) -> str:
        """The figures for a person."""
        facts = self.facts
        if not facts.answering:
            return f"{facts.name}: {facts.why or 'does not answer'}"
        room = f"{facts.free} of {facts.capacity} free" if facts.free else "full"
        near = ", asked for as near" if self.is_near else ""
        latency = f"{self.latency_ms:.0f} ms {self.how}"
        return f"{facts.name}: {latency}, {room}{near}, score {self.score:.0f}"


@dataclass(frozen=True, slots=True)
class Ranking:
    """Regions, best first, and why."""

    regions: tuple[str, ...]
    """That may be tried, in this order: all that have room, else the best full one."""
    reason: str
    scored: tuple[Scored, ...] = ()

    @property
    def best(self) -> str:
        """The first of them."""
        return self.regions[0]


def distance_km(one: Place, other: Place) -> float:
    """Along the surface (haversine)."""
    north, south = math.radians(one.latitude), math.radians(other.latitude)
    half_turn = math.radians(other.longitude - one.longitude) / 2
    chord = math.sin((south - north) / 2) ** 2
    chord += math.cos(north) * math.cos(south) * math.sin(half_turn) ** 2
    return 2 * EARTH_KM * math.asin(math.sqrt(min(1.0, max(0.0, chord))))


def latency_by_distance(km: float) -> float:
    """Round trip in milliseconds that is likely over *km*."""
    return FIRST_MS + MS_A_KM * km


def rank(regions: Sequence[RegionFacts], wish: Wish, place: Place | None) -> Ranking | None:
    """The order of *regions* for who wishes; None where none of them answers.

    Args:
        regions: as they look now.
        wish: `Wish.region` is not looked at: who names one gets it or nothing.
        place: where the caller is, as far as is known.
    """
    measured = {
        facts.name: min(rtt, LONGEST_MS)
        for facts in regions
        if (rtt := wish.rtt_ms.get(facts.name)) is not None and math.isfinite(rtt) and rtt >= 0
    }
    scored = sorted((_score(facts, measured, wish, place) for facts in regions), key=_order)
    if not scored or not scored[0].facts.answering:
        return None
    free = tuple(item.facts.name for item in scored if item.is_free)
    tried = free or (scored[0].facts.name,)
    shown = "; ".join(item.text() for item in scored[:SHOWN])
    more = f"; and {len(scored) - SHOWN} more" if len(scored) > SHOWN else ""
    head = tried[0] if free else f"{tried[0]}, where all regions are full"
    return Ranking(tried, f"{head} ({shown}{more})", tuple(scored))


def _score(
    facts: RegionFacts, measured: Mapping[str, float], wish: Wish, place: Place | None
) -> Scored:
    latency, how = _latency(facts, measured, place)
    taken = 1 - min(facts.free / facts.capacity, 1.0) if facts.capacity > 0 else 1.0
    load = LOAD_MS * taken if measured else 0.0
    is_near = facts.name == wish.near
    return Scored(facts, latency + load - (NEAR_MS if is_near else 0), latency, how, is_near)


def _latency(
    facts: RegionFacts, measured: Mapping[str, float], place: Place | None
) -> tuple[float, str]:
    if facts.name in measured:
        return measured[facts.name], "measured"
    if place is not None and facts.latitude is not None and facts.longitude is not None:
        km = distance_km(place, Place(facts.latitude, facts.longitude))
        return latency_by_distance(km), f"by {km:,.0f} km"
    return UNKNOWN_MS, "assumed, distance unknown"


def _order(item: Scored) -> tuple[bool, bool, float, int, str]:
    facts = item.facts
    return (not item.is_free, not facts.answering, item.score, -facts.free, facts.name)
