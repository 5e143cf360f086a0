"""Point instancers: copies of prototypes, melted into one surface for each prototype part."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstage.apps.usd_viewer.scene.model import Geometry, Part
from downstage.apps.usd_viewer.scene.pxr import Usd, UsdGeom

__all__ = ["MAX_POINTS", "Copies", "melt"]

MAX_POINTS = 3_000_000
"""Points that the copies of one prototype part may have in all; the rest is left out."""


class Copies:
    """The copies of one instancer; all prototypes share one look at each time code."""

    def __init__(self, prim: Any) -> None:
        """Look at *prim*, a point instancer."""
        self._instancer = UsdGeom.PointInstancer(prim)
        self._time: Any = None
        self._seen = np.empty((0, 4, 4)), np.empty(0, dtype=np.int64)

    def of(self, prototype: int, time: Any) -> NDArray[np.float64]:
        """Matrices (k, 4, 4), column vectors, of all visible copies of one prototype."""
        if self._time is None or time != self._time:
            self._seen = self._look(time)
            self._time = time
        matrices, indices = self._seen
        return matrices[indices == prototype]

    def _look(self, time: Any) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
        given = self._instancer.GetProtoIndicesAttr().Get(time)
        indices = np.asarray(given if given is not None else [], dtype=np.int64)
        nothing = np.empty((0, 4, 4)), np.empty(0, dtype=np.int64)
        if not len(indices):
            return nothing
        found = self._instancer.ComputeInstanceTransformsAtTime(
            time,
            Usd.TimeCode(time),
            UsdGeom.PointInstancer.IncludeProtoXform,
            UsdGeom.PointInstancer.IgnoreMask,
        )
        matrices = np.asarray(found, dtype=np.float64).reshape(-1, 4, 4).transpose(0, 2, 1)
        mask = np.asarray(self._instancer.ComputeMaskAtTime(time), dtype=bool)
        if not len(mask):
            mask = np.ones(len(indices), dtype=bool)
        if len(matrices) != len(indices) or len(mask) != len(indices):
            return nothing
        return matrices[mask], indices[mask]


def melt(part: Part, inner: NDArray[np.float64], copies: NDArray[np.float64]) -> Geometry:
    """One surface of all *copies* of *part*.

    Args:
        part: a part of the prototype.
        inner: the part's matrix within the prototype.
        copies: matrices of the copies.
    """
    shape = part.geometry
    size = len(shape.points)
    count = min(len(copies), MAX_POINTS // max(size, 1))
    matrices = copies[:count] @ inner
    points = np.einsum("kij,nj->kni", matrices[:, :3, :3], shape.points)
    points += matrices[:, None, :3, 3]
    normals = None
    if shape.normals is not None:
        turned = np.einsum("kij,nj->kni", _normal_matrices(matrices), shape.normals)
        length = np.linalg.norm(turned, axis=2, keepdims=True)
        normals = (turned / np.maximum(length, 1e-12)).reshape(-1, 3).astype(np.float32)
    triangles = shape.triangles[None] + (np.arange(count) * size)[:, None, None]
    return Geometry(
        points.reshape(-1, 3).astype(np.float32),
        triangles.reshape(-1, 3),
        normals,
        np.tile(shape.colours, (count, 1)) if shape.colours is not None else None,
        np.tile(shape.uvs, (count, 1)) if shape.uvs is not None else None,
        smooth=shape.smooth,
    )


def _normal_matrices(matrices: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cofactors: right for normals, and defined where a copy is scaled to nothing."""
    m = matrices
    found = np.empty((len(m), 3, 3))
    for row in range(3):
        p, q = (row + 1) % 3, (row + 2) % 3
        for column in range(3):
            s, t = (column + 1) % 3, (column + 2) % 3
            found[:, row, column] = m[:, p, s] * m[:, q, t] - m[:, p, t] * m[:, q, s]
    return found
