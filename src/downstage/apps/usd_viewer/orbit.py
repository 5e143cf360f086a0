"""The camera that people turn: a point to look at, a distance, and two angles."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from downstage.apps.usd_viewer.scene.model import Shot

__all__ = ["Orbit"]

_STEEPEST = 89.0
_DEGREES_PER_HEIGHT = 220.0
_ZOOM = 1.14
_AIR = 1.12
"""Room left around what is framed."""


@dataclass(frozen=True, slots=True)
class Orbit:
    """Where the viewer stands; every change gives a new one."""

    target: tuple[float, float, float]
    distance: float
    azimuth: float
    """Degrees about the up axis."""
    elevation: float
    """Degrees above the horizon, within ±89."""
    up: tuple[float, float, float]
    view_angle: float = 35.0
    reach: float = 1.0
    """Radius of what is looked at: bounds the zoom."""

    @classmethod
    def framing(cls, corners: NDArray[np.float64], up: tuple[float, float, float]) -> Orbit:
        """Look at all *corners* (n, 3) from a good angle; see `fitted` for the distance."""
        low, high = corners.min(axis=0), corners.max(axis=0)
        radius = max(float(np.linalg.norm(high - low)) / 2, 1e-6)
        return cls((0.0, 0.0, 0.0), 1.0, 30.0, 18.0, up, reach=radius).fitted(corners, 1.0)

    def fitted(self, corners: NDArray[np.float64], aspect: float) -> Orbit:
        """Look at all *corners* in the same direction, as near as shows them.

        Args:
            corners: (n, 3), in world space.
            aspect: width of the picture by its height.
        """
        centre = (corners.min(axis=0) + corners.max(axis=0)) / 2
        right, upward, back = self.view() @ (corners - centre).T
        half = np.tan(np.radians(self.view_angle) / 2)
        needed = back + np.maximum(np.abs(upward), np.abs(right) / aspect) / half
        distance = max(float(needed.max()) * _AIR, self.reach / 500)
        target = float(centre[0]), float(centre[1]), float(centre[2])
        return replace(self, target=target, distance=distance)

    @classmethod
    def from_shot(cls, shot: Shot, up: tuple[float, float, float], reach: float) -> Orbit:
        """Stand where a camera of the stage stands (its roll is not kept)."""
        away = np.subtract(shot.eye, shot.target)
        distance = max(float(np.linalg.norm(away)), 1e-9)
        east, north = _axes(up)
        lift = np.degrees(np.arcsin(np.clip(away @ np.asarray(up) / distance, -1, 1)))
        azimuth = np.degrees(np.arctan2(away @ east, away @ north))
        elevation = float(np.clip(lift, -_STEEPEST, _STEEPEST))
        return cls(shot.target, distance, float(azimuth), elevation, up, shot.view_angle, reach)

    @property
    def eye(self) -> NDArray[np.float64]:
        """Where the viewer stands, in world space."""
        return np.asarray(self.target) + self.distance * self.view()[2]

    def view(self) -> NDArray[np.float64]:
        """Rows: right, upward, and back towards the viewer."""
        east, north = _axes(self.up)
        around, lift = np.radians(self.azimuth), np.radians(self.elevation)
        level = east * np.sin(around) + north * np.cos(around)
        back = level * np.cos(lift) + np.asarray(self.up) * np.sin(lift)
        right = np.cross(np.asarray(self.up), level)
        return np.stack([right, np.cross(back, right), back])

    def turned(self, dx: float, dy: float) -> Orbit:
        """Go round by a drag of *dx*, *dy*, in picture heights."""
        elevation = self.elevation + dy * _DEGREES_PER_HEIGHT
        return replace(
            self,
            azimuth=(self.azimuth - dx * _DEGREES_PER_HEIGHT) % 360,
            elevation=float(np.clip(elevation, -_STEEPEST, _STEEPEST)),
        )

    def moved(self, dx: float, dy: float) -> Orbit:
        """Shift the target so that it follows a drag of *dx*, *dy*, in picture heights."""
        tall = 2 * self.distance * np.tan(np.radians(self.view_angle) / 2)
        right, upward, _ = self.view()
        target = np.asarray(self.target) - right * dx * tall + upward * dy * tall
        return replace(self, target=(float(target[0]), float(target[1]), float(target[2])))

    def zoomed(self, steps: float) -> Orbit:
        """Come nearer by *steps* of the wheel (negative: go away)."""
        distance = self.distance / _ZOOM**steps
        return replace(self, distance=float(np.clip(distance, self.reach / 500, self.reach * 60)))


def _axes(up: tuple[float, float, float]) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """East and north of the ground plane: x and z for Y up, x and -y for Z up."""
    if up[2] > up[1]:
        return np.array([1.0, 0.0, 0.0]), np.array([0.0, -1.0, 0.0])
    return np.array([1.0, 0.0, 0.0]), np.array([0.0, 0.0, 1.0])
