"""Parts to VTK: still ones that look alike share one actor, moving ones have their own."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstage.apps.usd_viewer.draw.shading import ROUGHNESS_SCALE, encode
from downstage.apps.usd_viewer.draw.vtk_modules import IO, Core, Data, numpy_to_vtk, vtk_to_numpy
from downstage.apps.usd_viewer.scene.meshes import smooth_normals
from downstage.apps.usd_viewer.scene.model import Geometry, Material, Part, Picture

__all__ = ["Drawn", "Group", "build_groups", "draw_group", "poly_data", "to_matrix", "update_poly"]

_CREASE = 42.0


@dataclass(slots=True)
class Drawn:
    """One actor."""

    actor: Any
    poly: Any
    parts: list[int]
    """Numbers of the parts in it."""
    ends: NDArray[np.int64]
    """Where the triangles of each part end."""
    is_own: bool
    """Of one part alone, in that part's space: the actor's matrix places it."""

    def part_at(self, cell: int) -> int:
        """Number of the part to which triangle *cell* belongs."""
        spot = int(np.searchsorted(self.ends, cell, side="right"))
        return self.parts[min(spot, len(self.parts) - 1)]

    def drop(self, part: int) -> None:
        """Draw *part* no more; its triangles stay, without any size."""
        place = self.parts.index(part)
        start = int(self.ends[place - 1]) if place else 0
        corners = vtk_to_numpy(self.poly.GetPolys().GetConnectivityArray())
        corners[3 * start : 3 * int(self.ends[place])] = 0
        self.poly.GetPolys().GetConnectivityArray().Modified()
        self.poly.GetPolys().Modified()
        self.poly.Modified()


@dataclass(frozen=True, slots=True)
class Group:
    """Parts that may share an actor."""

    material: Material
    members: tuple[int, ...]
    is_own: bool = False
    """One part that moves by its actor's matrix."""


def build_groups(parts: list[Part]) -> list[Group]:
    """Put still parts together that differ in nothing but place, form and colour."""
    alike: dict[tuple[object, ...], list[int]] = {}
    for number, part in enumerate(parts):
        look = part.material
        key: tuple[object, ...] = (
            (number,)
            if part.is_moving
            else (
                *(look.emission, look.metallic, look.roughness, look.opacity, look.picture),
                *(look.colour if any(look.emission) else ()),
                *(part.double_sided, _is_clear(part)),
            )
        )
        alike.setdefault(key, []).append(number)
    return [
        Group(parts[members[0]].material, tuple(members), parts[members[0]].is_moving)
        for members in alike.values()
    ]


def draw_group(group: Group, parts: list[Part], shader: Any) -> Drawn:
    """Make the actor of a group."""
    members = [parts[number] for number in group.members]
    polys = [poly_data(part, in_world=not group.is_own) for part in members]
    poly = polys[0] if len(polys) == 1 else _append(polys)
    ends = np.cumsum([one.GetNumberOfCells() for one in polys])
    actor = _actor(poly, group.material, shader)
    mirrored = group.is_own and float(np.linalg.det(members[0].matrix[:3, :3])) < 0
    actor.GetProperty().SetBackfaceCulling(not (members[0].double_sided or mirrored))
    if group.is_own:
        actor.SetUserMatrix(to_matrix(members[0].matrix))
    return Drawn(actor, poly, list(group.members), ends, group.is_own)


def poly_data(part: Part, *, in_world: bool) -> Any:
    """Triangles of *part* with normals, colours and texture coordinates."""
    shape = part.geometry
    points, normals = shape.points, shape.normals
    triangles = shape.triangles
    if in_world:
        points, normals, triangles = _into_world(shape, part.matrix)
    poly = Data.vtkPolyData()
    _set_points(poly, points)
    cells = Data.vtkCellArray()
    offsets = np.arange(0, 3 * len(triangles) + 1, 3, dtype=np.int64)
    flat = np.ascontiguousarray(triangles, dtype=np.int64).ravel()
    cells.SetData(numpy_to_vtk(offsets, deep=1), numpy_to_vtk(flat, deep=1))
    poly.SetPolys(cells)
    _set_colours(poly, shape, part.material)
    if shape.uvs is not None:
        poly.GetPointData().SetTCoords(numpy_to_vtk(np.ascontiguousarray(shape.uvs), deep=1))
    if normals is None and part.shape_at is not None:
        normals = smooth_normals(points, triangles)
    if normals is None:
        return _with_normals(poly, smooth=shape.smooth)
    _set_normals(poly, normals)
    return poly


def update_poly(poly: Any, part: Part, shape: Geometry) -> None:
    """Give a moving surface its new form; a new number of points rebuilds it."""
    if poly.GetNumberOfPoints() != len(shape.points) or poly.GetNumberOfCells() != len(
        shape.triangles
    ):
        fresh = Part(part.path, shape, part.matrix, part.material, shape_at=part.shape_at)
        poly.ShallowCopy(poly_data(fresh, in_world=False))
        return
    _set_points(poly, shape.points)
    if shape.normals is not None:
        _set_normals(poly, shape.normals)
    if shape.colours is not None:
        _set_colours(poly, shape, part.material)
    poly.Modified()


def to_matrix(rows: NDArray[np.float64]) -> Any:
    """A vtkMatrix4x4."""
    matrix = Data.vtkMatrix4x4()
    matrix.DeepCopy([float(value) for value in rows.ravel()])
    return matrix


def _into_world(
    shape: Geometry, matrix: NDArray[np.float64]
) -> tuple[NDArray[np.float32], NDArray[np.float32] | None, NDArray[np.int64]]:
    turn = matrix[:3, :3]
    points = (shape.points @ turn.T + matrix[:3, 3]).astype(np.float32)
    mirrored = float(np.linalg.det(turn)) < 0
    triangles = shape.triangles[:, ::-1] if mirrored else shape.triangles
    if shape.normals is None:
        return points, None, triangles
    a, b, c = (turn[:, column] for column in range(3))
    cofactor = np.stack([np.cross(b, c), np.cross(c, a), np.cross(a, b)], axis=1)
    normals = shape.normals @ cofactor.T * (-1 if mirrored else 1)
    normals /= np.maximum(np.linalg.norm(normals, axis=1, keepdims=True), 1e-12)
    return points, normals.astype(np.float32), triangles


def _set_points(poly: Any, rows: NDArray[np.float32]) -> None:
    points = Data.vtkPoints()
    points.SetData(numpy_to_vtk(np.ascontiguousarray(rows, dtype=np.float32), deep=1))
    poly.SetPoints(points)


def _set_normals(poly: Any, rows: NDArray[np.float32]) -> None:
    normals = numpy_to_vtk(np.ascontiguousarray(rows, dtype=np.float32), deep=1)
    poly.GetPointData().SetNormals(normals)


def _set_colours(poly: Any, shape: Geometry, material: Material) -> None:
    count = len(shape.points)
    linear = np.tile(np.array([*material.colour, 1.0], dtype=np.float32), (count, 1))
    if shape.colours is not None:
        linear[:, 3] = shape.colours[:, 3]
        if material.uses_colours:
            linear[:, :3] = shape.colours[:, :3]
    if material.opacity < 1:
        linear = linear * np.array([1, 1, 1, material.opacity], dtype=np.float32)
    shown = encode(linear if bool((linear[:, 3] < 1).any()) else linear[:, :3])
    colours = numpy_to_vtk(shown, deep=1)
    poly.GetPointData().SetScalars(colours)


def _is_clear(part: Part) -> bool:
    colours = part.geometry.colours
    return part.material.opacity < 1 or (colours is not None and bool((colours[:, 3] < 1).any()))


def _with_normals(poly: Any, *, smooth: bool) -> Any:
    normals = Data.vtkPolyDataNormals()
    normals.SetInputData(poly)
    normals.SetFeatureAngle(80.0 if smooth else _CREASE)
    normals.ConsistencyOff()
    normals.SplittingOn()
    normals.Update()
    return normals.GetOutput()


def _append(polys: Iterable[Any]) -> Any:
    joined = Data.vtkAppendPolyData()
    for poly in polys:
        if not poly.GetPointData().GetTCoords():
            blank = np.zeros((poly.GetNumberOfPoints(), 2), dtype=np.float32)
            poly.GetPointData().SetTCoords(numpy_to_vtk(blank, deep=1))
        scalars = poly.GetPointData().GetScalars()
        scalars.SetName("colour")
        poly.GetPointData().GetNormals().SetName("normal")
        poly.GetPointData().GetTCoords().SetName("uv")
        joined.AddInputData(poly)
    joined.Update()
    output = joined.GetOutput()
    output.GetPointData().SetActiveScalars("colour")
    return output


def _actor(poly: Any, material: Material, shader: Any) -> Any:
    mapper = Core.vtkPolyDataMapper()
    mapper.SetInputData(poly)
    mapper.SetColorModeToDirectScalars()
    mapper.SetScalarModeToUsePointData()
    actor = Core.vtkActor()
    actor.SetMapper(mapper)
    actor.SetShaderProperty(shader)
    look = actor.GetProperty()
    look.SetInterpolationToPhong()
    look.SetDiffuse(1.0)
    look.SetSpecular(1.0)
    look.SetSpecularColor(material.metallic, material.metallic, material.metallic)
    look.SetSpecularPower(material.roughness * ROUGHNESS_SCALE)
    if any(material.emission):
        mapper.ScalarVisibilityOff()
        look.SetDiffuseColor(*(float(part) ** 0.5 for part in material.colour))
        look.SetAmbient(1.0)
        look.SetAmbientColor(*material.emission)
        look.SetOpacity(material.opacity)
    if material.picture is not None and poly.GetPointData().GetTCoords():
        texture = _texture(material.picture)
        if texture is not None:
            actor.SetTexture(texture)
    return actor


def _texture(picture: Picture) -> Any:
    is_png = picture.data.startswith(b"\x89PNG")
    reader = IO.vtkPNGReader() if is_png else IO.vtkJPEGReader()
    reader.SetMemoryBuffer(picture.data)
    reader.SetMemoryBufferLength(len(picture.data))
    reader.Update()
    if not reader.GetOutput().GetNumberOfPoints():
        return None
    texture = Core.vtkTexture()
    texture.SetInputData(reader.GetOutput())
    texture.InterpolateOn()
    texture.MipmapOn()
    texture.RepeatOn()
    return texture
