"""Surfaces the demo stage is made of, as plain arrays."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

__all__ = ["Surface", "beam", "curtain", "floor", "ribbon", "ring", "turned"]

Rows = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Surface:
    """Quads: points (n, 3), corners (m, 4), normals (n, 3), colours (n, 3 or 4) or None."""

    points: Rows
    corners: NDArray[np.int64]
    normals: Rows
    colours: Rows | None = None


def turned(outline: Rows, around: int = 64) -> Surface:
    """Turn an outline of (radius, y), going up, about the Y axis; edges above 35° stay sharp."""
    step = np.diff(outline, axis=0)
    lean = np.stack([step[:, 1], -step[:, 0]], axis=1)
    lean /= np.maximum(np.linalg.norm(lean, axis=1, keepdims=True), 1e-9)
    line = np.repeat(outline, 2, axis=0)[1:-1]
    slope = np.repeat(lean, 2, axis=0)
    for at in range(1, len(lean)):
        if lean[at - 1] @ lean[at] > np.cos(np.radians(35)):
            mean = lean[at - 1] + lean[at]
            slope[2 * at - 1] = slope[2 * at] = mean / np.linalg.norm(mean)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    points = _spin(line, angle)
    return Surface(points, _grid(around + 1, len(line), skip=2), _spin(slope, angle))


def ring(radius: float, thick: float, flat: float, around: int = 84, across: int = 12) -> Surface:
    """A ring about the Y axis with a softly squared section, *flat* times as high as thick."""
    angle = np.linspace(0, 2 * np.pi, across + 1)
    bend = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    square = np.sign(bend) * np.abs(bend) ** 0.55
    line = np.stack([radius + thick * square[:, 0], thick * flat * square[:, 1]], axis=1)
    slope = np.stack([bend[:, 0], bend[:, 1] / flat], axis=1)
    slope /= np.linalg.norm(slope, axis=1, keepdims=True)
    turn = np.linspace(0, 2 * np.pi, around + 1)
    return Surface(_spin(line, turn), _grid(around + 1, across + 1), _spin(slope, turn))


def floor(radius: float) -> Surface:
    """The boards of the stage with the light on them painted in: pool, rings, shade."""
    rows = np.concatenate([np.linspace(0, radius * 0.98, 28), [radius]])
    line = np.stack([rows, np.zeros_like(rows)], axis=1)
    slope = np.tile([0.0, 1.0], (len(rows), 1))
    angle = np.linspace(0, 2 * np.pi, 57)
    points = _spin(line, angle)
    far = np.hypot(points[:, 0], points[:, 2])
    pool = np.exp(-((np.hypot(points[:, 0] * 0.9, points[:, 2] - 0.4) / 2.9) ** 2))
    shade = 1 - 0.72 * np.exp(-((np.maximum(far - 1.0, 0) / 0.42) ** 2))
    inlay = np.zeros_like(far)
    for middle, half in ((3.62, 0.08), (4.55, 0.06)):
        inlay[np.abs(far - middle) < half] = 1.0
    wood = np.array([0.022, 0.014, 0.020]) + pool[:, None] * np.array([0.44, 0.225, 0.125])
    brass = np.array([0.10, 0.06, 0.02]) + pool[:, None] * np.array([0.85, 0.56, 0.22])
    colours = (wood * (1 - inlay[:, None]) + brass * inlay[:, None]) * shade[:, None]
    corners = _grid(len(angle), len(rows))[:, ::-1]
    return Surface(points, corners, _spin(slope, angle), colours)


def curtain(radius: float, height: float) -> Surface:
    """Velvet in a half circle, folded, darker in the folds, lit from below."""
    folds, rows = 261, 6
    part = np.linspace(0, 1, folds + 1)
    angle = np.radians(180 + 2) + part * np.radians(176)
    wave = np.sin(part * 2 * np.pi * 29) + 0.35 * np.sin(part * 2 * np.pi * 61 + 1)
    up = np.linspace(0, 1, rows + 1)
    depth = radius + 0.17 * wave[:, None] * (0.55 + 0.45 * (1 - up[None, :]))
    points = np.stack(
        [
            depth * np.cos(angle)[:, None],
            np.broadcast_to(up * height, depth.shape),
            depth * np.sin(angle)[:, None],
        ],
        axis=2,
    )
    along, rise = np.gradient(points, axis=0), np.gradient(points, axis=1)
    normals = np.cross(along, rise)
    normals /= np.linalg.norm(normals, axis=2, keepdims=True)
    fold = 0.30 + 0.70 * np.clip((1.35 - wave) / 2.7, 0, 1)[:, None] ** 1.3
    glow = 0.25 + 0.95 * np.exp(-(((up[None, :] - 0.12) / 0.42) ** 2))
    middle = 0.55 + 0.45 * np.exp(-(((part - 0.5) / 0.30) ** 2))[:, None]
    strength = (fold * glow * middle)[..., None]
    colours = strength * np.array([0.70, 0.055, 0.085])
    flat = (points.reshape(-1, 3), normals.reshape(-1, 3), colours.reshape(-1, 3))
    return Surface(flat[0], _grid(folds + 1, rows + 1), flat[1], flat[2])


def beam(source: Rows, target: Rows, radius: float) -> Surface:
    """Light in dusty air: a cone from a lamp to the floor, fading on its way."""
    around, rows = 40, 8
    ahead = (target - source) / np.linalg.norm(target - source)
    side = np.cross(ahead, [0.0, 0.0, 1.0])
    side /= np.linalg.norm(side)
    across = np.cross(ahead, side)
    angle = np.linspace(0, 2 * np.pi, around + 1)
    rim = np.cos(angle)[:, None] * side + np.sin(angle)[:, None] * across
    way = np.linspace(0, 1, rows)
    middle = source + way[:, None] * (target - source)
    points = middle[None] + rim[:, None, :] * (0.1 + way[None, :, None] * radius)
    normals = np.repeat(rim, rows, axis=0)
    clear = np.tile(0.17 * (1 - way) ** 1.4, around + 1)
    colours = np.column_stack([np.tile([1.0, 0.86, 0.66], (len(clear), 1)), clear])
    return Surface(points.reshape(-1, 3), _grid(around + 1, rows), normals, colours)


def ribbon(phase: float, along: int = 132) -> Surface:
    """A silk ribbon on its way around the sculpture; *phase* 0..1 is one whole loop."""
    way = np.linspace(0, 2 * np.pi, along + 1)
    turn = 2 * np.pi * phase
    radius = 2.55 + 0.22 * np.sin(3 * way + turn)
    height = 1.95 + 0.42 * np.sin(2 * way - turn) + 0.16 * np.sin(5 * way + 2 * turn)
    middle = np.stack([radius * np.cos(way), height, radius * np.sin(way)], axis=1)
    twist = np.pi * np.sin(way + turn) * 0.45 + 0.6 * np.sin(way * 4 - turn)
    side = np.stack(
        [np.sin(twist) * np.cos(way), np.cos(twist), np.sin(twist) * np.sin(way)], axis=1
    )
    spread = np.linspace(-0.13, 0.13, 4)
    points = middle[:, None, :] + side[:, None, :] * spread[None, :, None]
    ahead = np.gradient(middle, axis=0)
    normals = np.cross(ahead, side)
    normals /= np.linalg.norm(normals, axis=1, keepdims=True)
    every = np.repeat(normals, 4, axis=0)
    hue = np.repeat(0.5 + 0.5 * np.sin(way * 2), 4)[:, None]
    colours = hue * np.array([0.95, 0.32, 0.42]) + (1 - hue) * np.array([0.98, 0.62, 0.22])
    return Surface(points.reshape(-1, 3), _grid(along + 1, 4), every, colours)


def _spin(line: Rows, angle: Rows) -> Rows:
    points = np.stack(
        [
            np.cos(angle)[:, None] * line[None, :, 0],
            np.broadcast_to(line[None, :, 1], (len(angle), len(line))),
            -np.sin(angle)[:, None] * line[None, :, 0],
        ],
        axis=2,
    )
    return points.reshape(-1, 3)


def _grid(columns: int, rows: int, skip: int = 1) -> NDArray[np.int64]:
    """Quads of a grid, seen from the side to which columns turn anticlockwise."""
    first = (np.arange(columns - 1)[:, None] * rows + np.arange(0, rows - 1, skip)).ravel()
    return np.stack([first, first + rows, first + rows + 1, first + 1], axis=1)
