"""UsdGeomMesh to triangles: holes, handedness, and values that vary by face or by corner."""

from __future__ import annotations

from typing import Any

import numpy as np

from downstage.apps.usd_viewer.scene.model import Floats, Geometry, Ints
from downstage.apps.usd_viewer.scene.pxr import UsdGeom

__all__ = ["fan", "mesh_geometry", "read_colours", "smooth_normals"]

_UV_NAMES = ("st", "st0", "uv", "UVMap", "map1")


def mesh_geometry(prim: Any, time: Any) -> Geometry | None:
    """The surface of a mesh at *time*; None where it has no faces or is not sound."""
    mesh = UsdGeom.Mesh(prim)
    points = _rows(mesh.GetPointsAttr().Get(time), 3)
    counts = _ints(mesh.GetFaceVertexCountsAttr().Get(time))
    corners = _ints(mesh.GetFaceVertexIndicesAttr().Get(time))
    if points is None or not len(counts) or counts.sum() != len(corners):
        return None
    if counts.min() < 0 or corners.min() < 0 or corners.max() >= len(points):
        return None
    flip = mesh.GetOrientationAttr().Get(time) == UsdGeom.Tokens.leftHanded
    triangles, faces = fan(counts, flip=flip)
    triangles, faces = _without_holes(triangles, faces, _ints(mesh.GetHoleIndicesAttr().Get(time)))
    varying = _Varying(len(points), counts, corners)
    normals = varying.read(_rows(_normals(mesh, time), 3), _normals_kind(mesh))
    colours = read_colours(prim, time, varying)
    uvs = _read_uvs(prim, time, varying)
    smooth = mesh.GetSubdivisionSchemeAttr().Get(time) != UsdGeom.Tokens.none
    if varying.by_corner:
        normals, colours, uvs = (varying.spread(rows) for rows in (normals, colours, uvs))
        points = points[corners]
    else:
        triangles = corners[triangles]
        normals, colours, uvs = (varying.plain(rows) for rows in (normals, colours, uvs))
    return Geometry(points, triangles, normals, colours, uvs, smooth=smooth)


def fan(counts: Ints, *, flip: bool = False) -> tuple[Ints, Ints]:
    """Triangles of faces with *counts* corners, as corner numbers, and the face of each."""
    per_face = np.maximum(counts - 2, 0)
    faces = np.repeat(np.arange(len(counts)), per_face)
    starts = np.concatenate([[0], np.cumsum(counts)[:-1]])[faces]
    firsts = np.concatenate([[0], np.cumsum(per_face)[:-1]])[faces]
    step = np.arange(len(faces)) - firsts
    second, third = starts + step + 1, starts + step + 2
    if flip:
        second, third = third, second
    return np.stack([starts, second, third], axis=1), faces


def smooth_normals(points: Floats, triangles: Ints) -> Floats:
    """One normal for each point: the mean of its triangles', larger ones counting more."""
    a, b, c = (points[triangles[:, corner]] for corner in range(3))
    facing = np.cross(b - a, c - a)
    sums = np.zeros_like(points)
    for corner in range(3):
        np.add.at(sums, triangles[:, corner], facing)
    return sums / np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-12)


class _Varying:
    """Brings values of any interpolation to points, or to corners once one needs it."""

    def __init__(self, points: int, counts: Ints, corners: Ints) -> None:
        self._points, self._counts, self._corners = points, counts, corners
        self.by_corner = False

    def read(self, rows: Floats | None, kind: str) -> tuple[Floats, str] | None:
        """Check that *rows* fit *kind*; values by face or corner make all be by corner."""
        sizes = {
            "constant": 1,
            "uniform": len(self._counts),
            "vertex": self._points,
            "varying": self._points,
            "faceVarying": len(self._corners),
        }
        if rows is None or sizes.get(kind) != len(rows):
            return None
        self.by_corner |= kind in ("uniform", "faceVarying")
        return rows, kind

    def spread(self, value: tuple[Floats, str] | None) -> Floats | None:
        """Rows for every corner."""
        if value is None:
            return None
        rows, kind = value
        if kind == "constant":
            return np.repeat(rows, len(self._corners), axis=0)
        if kind == "uniform":
            return np.repeat(rows, self._counts, axis=0)
        return rows if kind == "faceVarying" else rows[self._corners]

    def plain(self, value: tuple[Floats, str] | None) -> Floats | None:
        """Rows for every point."""
        if value is None:
            return None
        rows, kind = value
        return np.repeat(rows, self._points, axis=0) if kind == "constant" else rows


def read_colours(prim: Any, time: Any, varying: _Varying) -> tuple[Floats, str] | None:
    """``displayColor`` with ``displayOpacity`` as RGBA; None where it does not vary."""
    gprim = UsdGeom.Gprim(prim)
    primvar = gprim.GetDisplayColorPrimvar()
    rows = _rows(primvar.ComputeFlattened(time), 3)
    kind = str(primvar.GetInterpolation())
    opacity = gprim.GetDisplayOpacityPrimvar()
    alpha = opacity.ComputeFlattened(time)
    if rows is None or (len(rows) <= 1 and (alpha is None or len(alpha) <= 1)):
        return None
    if alpha is not None and len(alpha) > 1:
        clear = np.asarray(alpha, dtype=np.float32)
        if len(rows) == 1:
            rows, kind = np.repeat(rows, len(clear), axis=0), str(opacity.GetInterpolation())
        if len(clear) == len(rows):
            return varying.read(np.column_stack([rows, clear]), kind)
    solid = np.ones((len(rows), 1), dtype=np.float32)
    return varying.read(np.column_stack([rows, solid]), kind)


def _normals(mesh: Any, time: Any) -> Any:
    primvar = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("normals")
    if primvar and primvar.HasValue():
        return primvar.ComputeFlattened(time)
    return mesh.GetNormalsAttr().Get(time)


def _normals_kind(mesh: Any) -> str:
    primvar = UsdGeom.PrimvarsAPI(mesh).GetPrimvar("normals")
    if primvar and primvar.HasValue():
        return str(primvar.GetInterpolation())
    return str(mesh.GetNormalsInterpolation())


def _read_uvs(prim: Any, time: Any, varying: _Varying) -> tuple[Floats, str] | None:
    primvars = UsdGeom.PrimvarsAPI(prim)
    for name in _UV_NAMES:
        primvar = primvars.FindPrimvarWithInheritance(name)
        if primvar and primvar.HasValue():
            rows = _rows(primvar.ComputeFlattened(time), 2)
            return varying.read(rows, str(primvar.GetInterpolation()))
    return None


def _without_holes(triangles: Ints, faces: Ints, holes: Ints) -> tuple[Ints, Ints]:
    if not len(holes):
        return triangles, faces
    keep = ~np.isin(faces, holes)
    return triangles[keep], faces[keep]


def _rows(values: Any, width: int) -> Floats | None:
    if values is None or not len(values):
        return None
    rows = np.asarray(values, dtype=np.float32)
    return rows if rows.shape[1:] == (width,) else None


def _ints(values: Any) -> Ints:
    return np.asarray(values if values is not None else [], dtype=np.int64)
