"""Follows a stage that others edit: what moved is moved, what else changed is read again."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

from downstage.apps.usd_viewer.scene.model import Change
from downstage.apps.usd_viewer.scene.pxr import Tf, Usd
from downstage.apps.usd_viewer.scene.reader import Scene

__all__ = ["Arrival", "Followed", "Follower", "Update"]


class Followed(Protocol):
    """A live stage, as the client opens it."""

    stage: Any

    def process(self) -> int:
        """Apply what others did."""
        ...

    def close(self) -> None:
        """Leave."""
        ...


@dataclass(slots=True)
class Update:
    """What there is to show."""

    changes: list[Change] = field(default_factory=list[Change])
    scene: Scene | None = None
    """The stage read again; None: `changes` are all."""


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

    def looked(self) -> None:
        """The viewer looks now."""
        with self._lock:
            self._is_told = False


class Follower:
    """Keeps a scene in step with a live stage. All calls on one thread.

    Args:
        live: the stage.
        scene: as it was read.
        arrival: that woke the viewer.
    """

    def __init__(self, live: Followed, scene: Scene, arrival: Arrival) -> None:
        self._live = live
        self._scene = scene
        self._arrival = arrival
        self._moved = set[str]()
        self._is_other = False
        self._key: Any = Tf.Notice.Register(Usd.Notice.ObjectsChanged, self._on_change, live.stage)

    def process(self, code: float) -> Update:
        """Apply what others did; what of it is to be shown at time *code*."""
        self._arrival.looked()
        self._live.process()
        moved, is_other = self._moved, self._is_other
        self._moved, self._is_other = set[str](), False
        if is_other:
            self._scene = Scene(self._live.stage, self._scene.info.name)
            return Update(scene=self._scene)
        return Update(list(self._scene.moved(moved, code)) if moved else [])

    def close(self) -> None:
        """Leave the stage."""
        self._key.Revoke()
        self._live.close()

    def _on_change(self, notice: Any, _stage: Any) -> None:
        for path in (*notice.GetResyncedPaths(), *notice.GetChangedInfoOnlyPaths()):
            if path.IsPropertyPath() and str(path.name).startswith("xformOp"):
                self._moved.add(str(path.GetPrimPath()))
            else:
                self._is_other = True
