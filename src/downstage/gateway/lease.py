"""Leases: until when, on clocks that nobody sets; and how long each kind lasts."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

__all__ = ["Lease", "LeaseKind", "Now", "Policy"]

LeaseKind = Literal["start", "connect", "resume", "idle", "maximum", "end", "hold", "queue"]


@dataclass(frozen=True, slots=True)
class Now:
    """One moment on every clock that counts."""

    wall: datetime
    monotonic: float
    boot_id: str


@dataclass(frozen=True, slots=True)
class Policy:
    """How long each lease lasts."""

    start: timedelta = timedelta(seconds=60)
    connect: timedelta = timedelta(seconds=120)
    resume: timedelta = timedelta(seconds=60)
    idle: timedelta = timedelta(minutes=30)
    maximum: timedelta = timedelta(hours=8)
    end: timedelta = timedelta(seconds=20)
    hold: timedelta = timedelta(seconds=120)
    """For how long a place in the queue is held for somebody who does not ask after it."""
    queue: timedelta = timedelta(minutes=30)

    def grant(self, kind: LeaseKind, now: Now, *, used: timedelta = timedelta()) -> Lease:
        """A lease of *kind* from *now*, of which *used* has passed already."""
        left: timedelta = getattr(self, kind) - used
        return Lease(kind, now.wall + left, now.monotonic + left.total_seconds(), now.boot_id)


@dataclass(frozen=True, slots=True)
class Lease:
    """Until when. The wall time is for people, the monotonic one decides within its boot."""

    kind: LeaseKind
    ends_at: datetime
    ends_monotonic: float
    boot_id: str

    def left(self, now: Now) -> float:
        """Seconds until its end by the clock that nobody sets; after a reboot by the wall's."""
        if self.boot_id == now.boot_id:
            return self.ends_monotonic - now.monotonic
        return (self.ends_at - now.wall).total_seconds()

    def due(self, now: Now) -> float:
        """Its end on the monotonic clock of this boot."""
        return (
            self.ends_monotonic if self.boot_id == now.boot_id else now.monotonic + self.left(now)
        )
