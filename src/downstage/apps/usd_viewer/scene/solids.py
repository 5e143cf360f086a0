"""The solids that USD knows by name: sphere, cube, cylinder, cone, capsule, plane."""

from __future__ import annotations

from typing import Any

import numpy as np

from downstage.apps.usd_viewer.scene.model import Floats, Geometry

__all__ = ["SOLIDS", "lathe", "solid_geometry"]

SOLIDS = frozenset({"Sphere", "Cube", "Cylinder", "Cone", "Capsule", "Plane"})
_AROUND = 40


def solid_geometry(kind: str, sizes: dict[str, Any]) -> Geometry:
    """The surface of a solid.

    Args:
        kind: one of `SOLIDS`.
        sizes: its USD attributes (radius, height, size, width, length, axis); what is missing
            is taken from USD's own defaults.
    """
    radius, height = float(sizes.get("radius", 1.0)), float(sizes.get("height", 2.0))
    match kind:
        case "Cube":
            return _cube(float(sizes.get("size", 2.0)))
        case "Plane":
            width, length = float(sizes.get("width", 2.0)), float(sizes.get("length", 2.0))
            return _turned(_plane(width, length), str(sizes.get("axis", "Z")))
        case "Sphere":
            return _turned(lathe(_arc(radius, -90, 90, 24)), "Z")
        case "Cone":
            half = height / 2
            side = np.array([[radius, -half], [0, half]])
            normal = np.array([height, radius]) / np.hypot(height, radius)
            shape = _joined([_disc(radius, -half), lathe(side, np.tile(normal, (2, 1)))])
        case "Capsule":
            half = float(sizes.get("height", 1.0)) / 2
            radius = float(sizes.get("radius", 0.5))
            low, high = _arc(radius, -90, 0, 12), _arc(radius, 0, 90, 12)
            outline = np.vstack([low - np.array([0, half]), high + np.array([0, half])])
            shape = lathe(outline, np.vstack([low, high]) / radius)
        case _:
            half = height / 2
            side = np.array([[radius, -half], [radius, half]])
            normals = np.array([[1.0, 0.0], [1.0, 0.0]])
            parts = [_disc(radius, -half), lathe(side, normals), _disc(radius, half)]
            shape = _joined(parts)
    return _turned(shape, str(sizes.get("axis", "Z")))


def lathe(outline: Any, normals: Any = None, around: int = _AROUND) -> Geometry:
    """Turn an *outline* of (distance from Z, z) points, going up, into a surface.

    Args:
        outline: (k, 2).
        normals: (k, 2) in the same plane; None: those of a sphere about the origin.
        around: number of segments.
    """
    line = np.asarray(outline, dtype=np.float64)
    if normals is None:
        normals = line / np.maximum(np.linalg.norm(line, axis=1, keepdims=True), 1e-12)
    lean = np.asarray(normals, dtype=np.float64)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    ring = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    points = np.concatenate(
        [
            ring[:, None, :] * line[None, :, :1],
            np.broadcast_to(line[None, :, 1:], (around + 1, len(line), 1)),
        ],
        axis=2,
    )
    leaning = np.concatenate(
        [
            ring[:, None, :] * lean[None, :, :1],
            np.broadcast_to(lean[None, :, 1:], (around + 1, len(line), 1)),
        ],
        axis=2,
    )
    first = (np.arange(around)[:, None] * len(line) + np.arange(len(line) - 1)).ravel()
    across = first + len(line)
    triangles = np.concatenate(
        [
            np.stack([first, across, across + 1], axis=1),
            np.stack([first, across + 1, first + 1], axis=1),
        ]
    )
    return Geometry(_flat(points), triangles, normals=_flat(leaning))


def _flat(rows: Any) -> Floats:
    return np.ascontiguousarray(np.asarray(rows).reshape(-1, 3), dtype=np.float32)


def _arc(radius: float, start: float, end: float, steps: int) -> Any:
    angle = np.radians(np.linspace(start, end, steps + 1))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _disc(radius: float, z: float) -> Geometry:
    up = 1.0 if z > 0 else -1.0
    outline = np.array([[radius, z], [0.0, z]] if z > 0 else [[0.0, z], [radius, z]])
    return lathe(outline, np.array([[0.0, up], [0.0, up]]))


def _plane(width: float, length: float) -> Geometry:
    x, y = width / 2, length / 2
    points = _flat([[-x, -y, 0], [x, -y, 0], [x, y, 0], [-x, y, 0]])
    uvs = np.array([[0, 0], [1, 0], [1, 1], [0, 1]], dtype=np.float32)
    normals = _flat([[0, 0, 1]] * 4)
    return Geometry(points, np.array([[0, 1, 2], [0, 2, 3]]), normals=normals, uvs=uvs)


def _cube(size: float) -> Geometry:
    face = np.array([[-1, -1, 1], [1, -1, 1], [1, 1, 1], [-1, 1, 1]]) * (size / 2)
    sides: list[Any] = []
    for axis in range(3):
        turned = np.roll(face, axis, axis=1)
        sides += [turned, -turned[::-1]]
    points = _flat(np.concatenate(sides))
    normals = np.repeat(points.reshape(6, 4, 3).mean(axis=1) / (size / 2 or 1.0), 4, axis=0)
    start = np.arange(6)[:, None] * 4
    triangles = np.concatenate([start + np.array(three) for three in ((0, 1, 2), (0, 2, 3))])
    return Geometry(points, triangles, normals=_flat(normals))


def _joined(parts: list[Geometry]) -> Geometry:
    offset, triangles = 0, list[Any]()
    for part in parts:
        triangles.append(part.triangles + offset)
        offset += len(part.points)
    normals = [part.normals for part in parts if part.normals is not None]
    points = np.concatenate([part.points for part in parts])
    return Geometry(points, np.concatenate(triangles), normals=np.concatenate(normals))


def _turned(shape: Geometry, axis: str) -> Geometry:
    """Lay the Z axis of *shape* along *axis*."""
    shift = {"X": 1, "Y": 2}.get(axis, 0)
    if not shift or shape.normals is None:
        return shape
    points, normals = (np.roll(rows, shift, axis=1) for rows in (shape.points, shape.normals))
    return shape.moved(np.ascontiguousarray(points), np.ascontiguousarray(normals))
