"""What an edit of a stage touches, as far as a picture can show it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from downstage.apps.usd_viewer.scene.pxr import Tf, Usd

__all__ = ["Touched", "Watch", "sort_out"]

_FORMS = {"points", "normals", "orientation", "doubleSided", "subdivisionScheme"}
_FACES = {"faceVertexCounts", "faceVertexIndices", "holeIndices"}
_SIZES = {"radius", "height", "size", "width", "length", "axis"}
_COPIES = {"positions", "orientations", "scales", "protoIndices", "invisibleIds", "ids"}
_SHAPES = frozenset(_FORMS | _FACES | _SIZES | _COPIES)
_LENSES = {"focalLength", "focusDistance", "fStop", "clippingRange", "projection", "exposure"}
_FILMS = {f"{way}Aperture{what}" for way in ("horizontal", "vertical") for what in ("", "Offset")}
_OTHERS = {"extent", "extentsHint", "velocities", "accelerations", "angularVelocities", "proxyPrim"}
_UNSEEN = frozenset(_LENSES | _FILMS | _OTHERS)
_UNSEEN_SPACES = ("userProperties:", "ui:", "collection:", "physics:", "shutter:")
_CLOCK = {"startTimeCode", "endTimeCode", "timeCodesPerSecond", "framesPerSecond"}
_OF_STAGE = frozenset(_CLOCK | {"upAxis", "metersPerUnit"})


@dataclass(slots=True)
class Touched:
    """Paths of prims, by what of them is another one."""

    moved: set[str] = field(default_factory=set[str])
    """Their place, and that of all below."""
    shown: set[str] = field(default_factory=set[str])
    """Whether they are visible, with all below."""
    shaped: set[str] = field(default_factory=set[str])
    """Their form or their colours."""
    is_structural: bool = False
    """What there is, or what it is made of."""

    def __bool__(self) -> bool:
        return bool(self.is_structural or self.moved or self.shown or self.shaped)


class Watch:
    """Collects what is touched in *stage*; its notices come on the thread that edits."""

    def __init__(self, stage: Any) -> None:
        self._touched = Touched()
        self._key = Tf.Notice.Register(Usd.Notice.ObjectsChanged, self._hear, stage)

    def take(self) -> Touched:
        """All since the last call."""
        touched, self._touched = self._touched, Touched()
        return touched

    def close(self) -> None:
        """Hear nothing more."""
        self._key.Revoke()

    def _hear(self, notice: Any, _stage: Any) -> None:
        resynced = (str(path) for path in notice.GetResyncedPaths())
        changed = (
            (str(path), notice.GetChangedFields(path)) for path in notice.GetChangedInfoOnlyPaths()
        )
        sort_out(self._touched, resynced, changed)


def sort_out(
    touched: Touched, resynced: Iterable[str], changed: Iterable[tuple[str, Iterable[str]]]
) -> None:
    """Add to *touched* what USD told: paths made anew, and paths with the fields that changed."""
    for path in resynced:
        prim, _, name = path.partition(".")
        if name:
            _sort_property(touched, prim, name)
        else:
            touched.is_structural = True
    for path, fields in changed:
        prim, _, name = path.partition(".")
        if name:
            _sort_property(touched, prim, name)
        elif "inactiveIds" in fields:
            touched.shaped.add(prim)
        elif prim == "/" and not _OF_STAGE.isdisjoint(fields):
            touched.is_structural = True


def _sort_property(touched: Touched, prim: str, name: str) -> None:
    if name.startswith("xformOp") or name == "!resetXformStack!":
        touched.moved.add(prim)
    elif name == "visibility":
        touched.shown.add(prim)
    elif name in _SHAPES or name.startswith("primvars:"):
        touched.shaped.add(prim)
    elif name not in _UNSEEN and not name.startswith(_UNSEEN_SPACES):
        touched.is_structural = True
