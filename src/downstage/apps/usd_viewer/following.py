"""Follows a stage that others edit: what they touched is read again, at worst the whole stage."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from downstage.apps.usd_viewer.scene.model import Change
from downstage.apps.usd_viewer.scene.reader import Scene
from downstage.apps.usd_viewer.scene.refreshing import Refresher, TooMuch
from downstage.apps.usd_viewer.scene.touching import Touched, Watch

__all__ = ["Arrival", "Follower", "Link", "LiveStage", "Update"]

_PAUSE_S = 0.25
"""Between two readings of the whole stage, at least."""
_SHARE = 3
"""Times as long as a reading took: so much is between it and the next."""


class LiveStage(Protocol):
    """A live stage, as the client opens it."""

    stage: Any

    @property
    def link(self) -> Link:
        """How it stands."""
        ...

    def process(self) -> None:
        """Apply what others did."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


@dataclass(frozen=True, slots=True)
class Link:
    """How the way to the others stands."""

    people: int = 0
    """Who is there, this viewer among them; 0: the server is away."""
    problem: str = ""
    """Why nothing comes any more, for good."""


@dataclass(slots=True)
class Update:
    """What there is to show."""

    changes: list[Change] = field(default_factory=list[Change])
    scene: Scene | None = None
    """The stage read again; None: `changes` are all."""
    is_told: bool = False
    """`Follower.notice` or `Follower.people` says something else."""


class Arrival:
    """Tells once that something came, until it was looked at; from any thread.

    Args:
        tell: wakes the viewer.
    """

    def __init__(self, tell: Callable[[], None]) -> None:
        self._tell = tell
        self._lock = threading.Lock()
        self._is_told = False

    def __call__(self) -> None:
        """Something came."""
        with self._lock:
            if self._is_told:
                return
            self._is_told = True
        self._tell()

    @property
    def is_waiting(self) -> bool:
        """Something came that was not looked at."""
        return self._is_told

    def looked(self) -> None:
        """The viewer looks now."""
        with self._lock:
            self._is_told = False


class Follower:
    """Keeps a scene in step with a live stage. All calls on one thread, between two pictures.

    Args:
        live: the stage.
        scene: as it was read.
        arrival: that woke the viewer.
        missing: what the stage refers to and is not there.
        clock: seconds, for the pace of readings.
    """

    def __init__(
        self,
        live: LiveStage,
        scene: Scene,
        arrival: Arrival,
        *,
        missing: Sequence[str] = (),
        clock: Callable[[], float] = time.perf_counter,
    ) -> None:
        self.link = live.link
        self.missing = missing
        self.problem = ""
        """Of an edit, in words."""
        self.is_stale = False
        """The scene shows prims that may be gone: nothing of it may be read until the next one."""
        self._live = live
        self._scene = scene
        self._refresher = Refresher(scene)
        self._arrival = arrival
        self._watch = Watch(live.stage)
        self._clock = clock
        self._next_reading = 0.0
        self._is_wanted = False

    @property
    def notice(self) -> str:
        """What a person should know; empty: nothing."""
        if self.link.problem:
            return self.link.problem
        if not self.link.people:
            return "Offline, showing the last state"
        if self.problem:
            return self.problem
        if self.missing:
            more = f" and {len(self.missing) - 1} more" if len(self.missing) > 1 else ""
            return f"Not there: {self.missing[0]}{more}"
        return ""

    @property
    def people(self) -> str:
        """Who is there."""
        others = self.link.people - 1
        return "" if others < 0 else f"live, {others} more here" if others else "live"

    def patience(self) -> float | None:
        """Seconds until `process` has something to do; None: not before something comes."""
        if self._arrival.is_waiting:
            return 0.0
        return max(0.0, self._next_reading - self._clock()) if self._is_wanted else None

    def process(self) -> Update:
        """Apply what others did; what of it is to be shown."""
        self._arrival.looked()
        before, update = (self.link, self.problem), Update()
        try:
            self._live.process()
            update.changes = self._refresh(self._watch.take())
        except TooMuch:
            self.is_stale = self._is_wanted = True
        except Exception as error:  # noqa: BLE001 - the edge: whatever somebody edits, it is told
            self.is_stale = self._is_wanted = True
            self.problem = _words(error)
        if self._is_wanted and self._clock() >= self._next_reading:
            update.scene = self._read()
        self.link = self._live.link
        update.is_told = before != (self.link, self.problem)
        return update

    def close(self) -> None:
        """Leave the stage."""
        self._watch.close()
        self._live.close()

    def _refresh(self, touched: Touched) -> list[Change]:
        if touched and self.is_stale:
            raise TooMuch
        return self._refresher.refresh(touched) if touched else []

    def _read(self) -> Scene | None:
        began, self._is_wanted = self._clock(), False
        try:
            self._scene = Scene(self._live.stage, self._scene.info.name)
            self._refresher = Refresher(self._scene)
        except Exception as error:  # noqa: BLE001 - the edge: whatever somebody edits, it is told
            self.problem = _words(error)
            return None  # until the next edit
        finally:
            now = self._clock()
            self._next_reading = now + max(_PAUSE_S, _SHARE * (now - began))
        self.is_stale, self.problem = False, ""
        return self._scene


def _words(error: Exception) -> str:
    return f"An edit cannot be shown: {type(error).__name__}: {error}"[:200]
