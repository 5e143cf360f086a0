"""What is known of regions, from what their agents told: pure, the time comes in."""

from __future__ import annotations

import math
from dataclasses import dataclass, field

from downstage.contracts.agent import Announcement

__all__ = ["FORGET_S", "SILENT_AFTER", "Counts", "RegionFacts", "Sights"]

SILENT_AFTER = 3
"""Announcements that may be missing before an agent counts as unresponsive."""
FORGET_S = 3600.0
"""An agent that was not heard of for so long is gone; its region too, if it had no other."""
REPLACED_AFTER = 10
"""Announcements that a dead agent may miss while others of its region answer."""
MAX_AGENTS = 1024


@dataclass(frozen=True, slots=True)
class RegionFacts:
    """A region as it looks from here, at one moment."""

    name: str
    answering: bool
    free: int = 0
    capacity: int = 0
    latitude: float | None = None
    longitude: float | None = None
    probe: str | None = None
    why: str | None = None
    """Why it is not answering, for a person."""


@dataclass(frozen=True, slots=True)
class Counts:
    """Agents that are known, and those of them that give no sign of life."""

    total: int
    unresponsive: int


@dataclass(slots=True)
class _Sight:
    told: Announcement
    seen_at: float
    """On the monotonic clock."""

    @property
    def has_left(self) -> bool:
        return self.told.state == "leaving"

    def is_fresh(self, now: float) -> bool:
        return not self.has_left and now - self.seen_at <= SILENT_AFTER * self.told.interval_s

    def is_up(self, now: float) -> bool:
        return self.told.state == "up" and self.is_fresh(now)


@dataclass(slots=True)
class Sights:
    """Announcements by region and agent; agents of one region stand before one manager."""

    _regions: dict[str, dict[str, _Sight]] = field(default_factory=dict[str, dict[str, _Sight]])

    def names(self) -> set[str]:
        """Regions that are known."""
        return set(self._regions)

    def note(self, told: Announcement, now: float) -> bool:
        """Remember what an agent told; whether its region was not answering just before.

        An agent that was unknown counts as such news, too: what others had to say before it came
        may have been lost.
        """
        agents = self._regions.setdefault(told.region, {})
        known = agents.get(told.agent)
        agents[told.agent] = _Sight(told, now)
        self._tidy(now)
        was_well = known is not None and known.is_up(now)
        return told.state == "up" and not was_well

    def drop(self, region: str, agent: str) -> None:
        """Forget one agent; absent is fine."""
        self._regions.get(region, {}).pop(agent, None)

    def is_told_by_another(self, region: str, agent: str, now: float) -> bool:
        """Whether some agent of *region* other than *agent* is heard."""
        agents = self._regions.get(region, {})
        return any(item.is_fresh(now) for name, item in agents.items() if name != agent)

    def fill(self, region: str) -> None:
        """The region refused for want of room: believe that until its agent says otherwise."""
        for sight in self._regions.get(region, {}).values():
            sight.told = sight.told.model_copy(update={"free": 0})

    def facts(self, region: str, now: float) -> RegionFacts:
        """*region* at the moment *now*; one that was never seen is not answering."""
        sights = sorted(self._regions.get(region, {}).values(), key=lambda item: item.seen_at)
        if not sights:
            return RegionFacts(region, answering=False, why="none of its agents was ever seen")
        fresh = [item for item in sights if item.is_fresh(now)]
        up = [item for item in fresh if item.is_up(now)]
        told = (up or fresh or sights)[-1].told
        return RegionFacts(
            name=region,
            answering=bool(up),
            free=told.free if up else 0,
            capacity=told.capacity,
            latitude=told.latitude,
            longitude=told.longitude,
            probe=told.probe,
            why=None if up else _why(sights[-1], now),
        )

    def counts(self, now: float) -> Counts:
        """How many agents there are; one that was stopped in order is none."""
        sights = [item for agents in self._regions.values() for item in agents.values()]
        there = [item for item in sights if not item.has_left]
        return Counts(len(there), sum(not item.is_fresh(now) for item in there))

    def _tidy(self, now: float) -> None:
        """Forget who is gone for good, and, beyond all measure, who was longest away."""
        for agents in self._regions.values():
            is_served = any(item.is_fresh(now) for item in agents.values())
            for name, sight in list(agents.items()):
                # A restarted agent has another name: where a region answers, its dead are noise.
                rounds = REPLACED_AFTER if is_served else math.inf
                if now - sight.seen_at > min(FORGET_S, rounds * sight.told.interval_s):
                    del agents[name]
        everyone = [(s.seen_at, r, a) for r, on in self._regions.items() for a, s in on.items()]
        for _, region, agent in sorted(everyone)[: max(0, len(everyone) - MAX_AGENTS)]:
            del self._regions[region][agent]
        self._regions = {name: agents for name, agents in self._regions.items() if agents}


def _why(last: _Sight, now: float) -> str:
    if last.has_left:
        return "its agent was stopped"
    if last.is_fresh(now):
        return "its agent is there, but its manager does not answer"
    return f"its agents have said nothing for {now - last.seen_at:.0f} s"
