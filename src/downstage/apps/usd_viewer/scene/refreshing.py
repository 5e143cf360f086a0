"""Brings a scene up to date after an edit: the parts that are touched, and no others."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Iterable

from downstage.apps.usd_viewer.scene.model import Change
from downstage.apps.usd_viewer.scene.pxr import UsdGeom
from downstage.apps.usd_viewer.scene.reader import Scene, drawables
from downstage.apps.usd_viewer.scene.touching import Touched

__all__ = ["Refresher", "TooMuch"]


class TooMuch(Exception):
    """More is different than single parts: the scene is to be read again."""


class Refresher:
    """Of one scene."""

    def __init__(self, scene: Scene) -> None:
        self._scene = scene
        places = sorted((part.path, number) for number, part in enumerate(scene.parts))
        self._paths = [path for path, _ in places]
        self._numbers = [number for _, number in places]

    def refresh(self, touched: Touched) -> list[Change]:
        """Read again what is touched; what that changes.

        Raises:
            TooMuch: single parts do not do. The scene may be half read.
        """
        if touched.is_structural or self._is_copied(touched.moved | touched.shown | touched.shaped):
            raise TooMuch
        self._scene.forget()
        changes = [change for path in touched.shaped for change in self._reshaped(path)]
        moved = {number for path in touched.moved for number in self._below(path)}
        for number in moved:
            part = self._scene.parts[number]
            self._scene.place(part)
            changes.append(Change(number, part.matrix, visible=self._is_visible(part.path)))
        changes += [change for path in touched.shown for change in self._shown(path)]
        return changes

    def _is_copied(self, paths: Iterable[str]) -> bool:
        """Whether one of *paths* shows as copies elsewhere."""
        prototypes = self._scene.prototypes
        for path in paths:
            if path.startswith("/__Prototype_"):
                return True
            if prototypes and any(f"{path}/".startswith(f"{root}/") for root in prototypes):
                return True
        return False

    def _at(self, path: str) -> list[int]:
        """Numbers of the parts of the prim at *path*."""
        start = bisect_left(self._paths, path)
        end = bisect_left(self._paths, f"{path}\0")
        return self._numbers[start:end]

    def _below(self, path: str) -> list[int]:
        """The same, with all that lies below it."""
        stem = path.rstrip("/")
        start, end = bisect_left(self._paths, f"{stem}/"), bisect_left(self._paths, f"{stem}0")
        return self._at(path) + self._numbers[start:end]

    def _reshaped(self, path: str) -> list[Change]:
        numbers, scene = self._at(path), self._scene
        if not numbers:
            if path in scene.drawables or self._below(path):
                raise TooMuch  # it had no surface so far, or what lies below inherits
            return []
        parts = list(scene.read(scene.stage.GetPrimAtPath(path)))
        if len(parts) != len(numbers):
            raise TooMuch
        for number, part in zip(numbers, parts, strict=True):
            scene.parts[number] = part
        visible = self._is_visible(path)
        return [Change(number, visible=visible, is_redrawn=True) for number in numbers]

    def _shown(self, path: str) -> list[Change]:
        scene, root = self._scene, self._scene.stage.GetPrimAtPath(path)
        found = drawables(root) if self._is_visible(path) else ()
        seen = {str(prim.GetPath()) for prim in found}
        if not seen <= scene.drawables:
            raise TooMuch  # it was hidden when the scene was read
        changes = list[Change]()
        for number in self._below(path):
            part = scene.parts[number]
            scene.place(part)
            changes.append(Change(number, part.matrix, visible=part.path in seen))
        return changes

    def _is_visible(self, path: str) -> bool:
        prim = UsdGeom.Imageable(self._scene.stage.GetPrimAtPath(path))
        return bool(prim.ComputeVisibility() != UsdGeom.Tokens.invisible)
