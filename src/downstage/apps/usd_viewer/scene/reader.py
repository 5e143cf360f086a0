"""Opens a stage and reads all that can be drawn; tells what another time changes."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.scene.instancer import Copies, melt
from downstage.apps.usd_viewer.scene.materials import Materials
from downstage.apps.usd_viewer.scene.meshes import mesh_geometry, smooth_normals
from downstage.apps.usd_viewer.scene.model import Change, Geometry, Part, Shot, StageInfo
from downstage.apps.usd_viewer.scene.pxr import Tf, Usd, UsdGeom
from downstage.apps.usd_viewer.scene.solids import SOLIDS, solid_geometry

__all__ = ["Scene", "drawables", "nothing_to_see", "open_scene", "open_stage"]

_SIZES = ("radius", "height", "size", "width", "length", "axis")
_HIDDEN_PURPOSES = frozenset({"guide", "proxy"})


def open_scene(path: Path, name: str) -> Scene:
    """Open the stage at *path* and read it at its first time code.

    Raises:
        StageProblem: it cannot be opened, or holds nothing to draw.
    """
    scene = Scene(open_stage(path), name)
    if not scene.parts:
        raise nothing_to_see(name)
    return scene


def open_stage(path: Path) -> Any:
    """Open the stage at *path*.

    Raises:
        StageProblem: it cannot be opened.
    """
    try:
        return Usd.Stage.Open(str(path))
    except Tf.ErrorException as error:
        raise StageProblem(
            "This stage cannot be opened",
            _reason(error, path),
            "Check that the file is whole: usdchecker tells more.",
        ) from error


def nothing_to_see(name: str) -> StageProblem:
    """What to tell of a stage without any part."""
    return StageProblem(
        "There is nothing to see in this stage",
        f"{name} opened well, but no prim in it has a surface that is visible.",
        "Look for visibility, purpose, missing references or an empty default prim.",
    )


class Scene:
    """A stage, read."""

    def __init__(self, stage: Any, name: str) -> None:
        """Read everything that can be drawn in *stage*."""
        self.stage = stage
        self._materials = Materials()
        self.info = _read_info(stage, name)
        self._first: Any = self.info.start if self.info.is_animated else Usd.TimeCode.Default()
        self._cache = UsdGeom.XformCache(self._first)
        self.parts: list[Part] = []
        self.drawables: set[str] = set()
        """Paths of all prims that may be drawn, those without any surface too."""
        self.prototypes: set[str] = set()
        """Paths of what point instancers copy."""
        for prim in drawables(stage.GetPseudoRoot()):
            self.drawables.add(str(prim.GetPath()))
            self.parts.extend(self.read(prim))

    def at(self, code: float) -> Iterator[Change]:
        """What is different at time *code*, part by part."""
        self._cache.SetTime(code)
        for index, part in enumerate(self.parts):
            if not part.is_moving:
                continue
            matrix = part.place_at(code) if part.place_at else part.matrix
            if matrix is None:
                yield Change(index, visible=False)
                continue
            shape = part.shape_at(code) if part.shape_at else None
            yield Change(index, matrix=matrix, geometry=shape)

    def forget(self) -> None:
        """Of places, think anew at the first time code: the stage was edited."""
        self._cache.Clear()
        self._cache.SetTime(self._first)

    def place(self, part: Part) -> None:
        """Put *part* where its prim is now; whether time moves it, too."""
        prim = self.stage.GetPrimAtPath(part.path)
        part.matrix = self._matrix(prim)
        part.place_at = (lambda code: self._place(prim, code)) if _may_move(prim) else None

    def shot(self, number: int, code: float) -> Shot:
        """Camera *number* at time *code*."""
        prim = self.info.cameras[number].GetPrim()
        camera = self.info.cameras[number].GetCamera(code)
        frustum = camera.frustum
        eye = np.asarray(frustum.position, dtype=np.float64)
        ahead = np.asarray(frustum.ComputeViewDirection(), dtype=np.float64)
        target = eye + ahead * max(float(camera.focusDistance), self._depth_from(eye, ahead))
        angle = float(camera.GetFieldOfView(camera.FOVVertical))
        return Shot(prim.GetName(), _tuple(eye), _tuple(target), min(max(angle, 1.0), 150.0))

    def bounds(self, parts: list[Part] | None = None) -> tuple[NDArray[np.float64], float]:
        """Centre and radius of a ball around *parts* (all of them by default)."""
        every = self.corners(parts)
        low, high = every.min(axis=0), every.max(axis=0)
        return (low + high) / 2, max(float(np.linalg.norm(high - low)) / 2, 1e-6)

    def corners(self, parts: list[Part] | None = None) -> NDArray[np.float64]:
        """(n, 3): corners of the boxes around *parts* (all of them by default), in the world."""
        corners: list[NDArray[np.float64]] = []
        for part in self.parts if parts is None else parts:
            points = part.geometry.points
            if len(points):
                box = np.stack([points.min(axis=0), points.max(axis=0)]).astype(np.float64)
                picks = np.array(np.meshgrid([0, 1], [0, 1], [0, 1])).T.reshape(-1, 3)
                edge = np.take_along_axis(box, picks, axis=0)
                corners.append(edge @ part.matrix[:3, :3].T + part.matrix[:3, 3])
        return np.concatenate(corners) if corners else np.zeros((1, 3))

    def _depth_from(self, eye: NDArray[np.float64], ahead: NDArray[np.float64]) -> float:
        centre, radius = self.bounds()
        return max(float((centre - eye) @ ahead), radius * 0.1)

    def read(self, prim: Any) -> Iterator[Part]:
        """The parts of one drawable prim, as they are now."""
        if prim.IsA(UsdGeom.PointInstancer):
            yield from self._read_copies(prim)
            return
        part = self._read_gprim(prim)
        if part is not None:
            yield part

    def _read_gprim(self, prim: Any) -> Part | None:
        shape = self._shape(prim, self._first)
        if shape is None or not len(shape.triangles):
            return None
        part = Part(str(prim.GetPath()), shape, self._matrix(prim), self._materials.bound_to(prim))
        part.double_sided = bool(UsdGeom.Gprim(prim).GetDoubleSidedAttr().Get())
        if _may_move(prim):
            part.place_at = lambda code: self._place(prim, code)
        if _may_change_shape(prim):
            part.shape_at = lambda code: self._reshape(prim, shape, code)
        return part

    def _read_copies(self, prim: Any) -> Iterator[Part]:
        """Each part of each prototype becomes one part that holds all its copies."""
        copies = Copies(prim)
        targets = UsdGeom.PointInstancer(prim).GetPrototypesRel().GetForwardedTargets()
        for number, target in enumerate(targets):
            self.prototypes.add(str(target))
            root = self.stage.GetPrimAtPath(target)
            if not root:
                continue
            frame = np.linalg.inv(self._matrix(root))
            for inner_prim in drawables(root):
                inner = self._read_gprim(inner_prim)
                if inner is not None:
                    inner.matrix = frame @ inner.matrix
                    yield self._melted(prim, inner, copies, number)

    def _melted(self, prim: Any, inner: Part, copies: Copies, number: int) -> Part:
        shape = inner.geometry
        if shape.normals is None:
            normals = smooth_normals(shape.points, shape.triangles)
            inner.geometry = shape.moved(shape.points, normals)
        melted = melt(inner, inner.matrix, copies.of(number, self._first))
        part = Part(str(prim.GetPath()), melted, self._matrix(prim), inner.material)
        part.double_sided = inner.double_sided
        if _may_move(prim):
            part.place_at = lambda code: self._place(prim, code)
        if _instancer_varies(prim):
            part.shape_at = lambda code: melt(inner, inner.matrix, copies.of(number, code))
        return part

    def _shape(self, prim: Any, time: Any) -> Geometry | None:
        kind = str(prim.GetTypeName())
        if kind == "Mesh":
            return mesh_geometry(prim, time)
        if kind in SOLIDS:
            values = {name: prim.GetAttribute(name).Get(time) for name in _SIZES}
            sizes = {name: value for name, value in values.items() if value is not None}
            return solid_geometry(kind, sizes)
        return None

    def _reshape(self, prim: Any, before: Geometry, code: float) -> Geometry:
        shape = self._shape(prim, code)
        if shape is None:
            return before
        if shape.normals is None:
            normals = smooth_normals(shape.points, shape.triangles)
            return shape.moved(shape.points, normals)
        return shape

    def _matrix(self, prim: Any) -> NDArray[np.float64]:
        matrix = self._cache.GetLocalToWorldTransform(prim)
        return np.ascontiguousarray(np.asarray(matrix, dtype=np.float64).T)

    def _place(self, prim: Any, code: float) -> NDArray[np.float64] | None:
        if UsdGeom.Imageable(prim).ComputeVisibility(code) == UsdGeom.Tokens.invisible:
            return None
        return self._matrix(prim)


def drawables(root: Any) -> Iterator[Any]:
    """Every prim below *root* that may be drawn, proxies of instances included."""
    walk = iter(Usd.PrimRange(root, Usd.TraverseInstanceProxies()))
    for prim in walk:
        if not prim.IsA(UsdGeom.Imageable):
            continue
        imageable = UsdGeom.Imageable(prim)
        visibility = imageable.GetVisibilityAttr()
        fixed = not visibility.ValueMightBeTimeVarying()
        if fixed and visibility.Get() == UsdGeom.Tokens.invisible:
            walk.PruneChildren()
            continue
        if str(imageable.ComputePurpose()) in _HIDDEN_PURPOSES:
            continue
        if prim.IsA(UsdGeom.PointInstancer):
            walk.PruneChildren()
            yield prim
        elif prim.IsA(UsdGeom.Gprim):
            yield prim


def _may_move(prim: Any) -> bool:
    """Its place or its visibility, or that of something above it, depends on time."""
    while prim and not prim.IsPseudoRoot():
        if prim.IsA(UsdGeom.Imageable):
            if UsdGeom.Imageable(prim).GetVisibilityAttr().ValueMightBeTimeVarying():
                return True
            form = UsdGeom.Xformable(prim)
            if form and form.TransformMightBeTimeVarying():
                return True
        prim = prim.GetParent()
    return False


def _may_change_shape(prim: Any) -> bool:
    names = ("points", "normals", "faceVertexIndices", "primvars:displayColor", *_SIZES)
    attributes = (prim.GetAttribute(name) for name in names)
    return any(one and one.ValueMightBeTimeVarying() for one in attributes)


def _instancer_varies(prim: Any) -> bool:
    names = ("positions", "orientations", "scales", "protoIndices", "invisibleIds", "velocities")
    attributes = (prim.GetAttribute(name) for name in names)
    return any(one and one.ValueMightBeTimeVarying() for one in attributes)


def _read_info(stage: Any, name: str) -> StageInfo:
    z_up = UsdGeom.GetStageUpAxis(stage) == UsdGeom.Tokens.z
    return StageInfo(
        name=name,
        up=(0.0, 0.0, 1.0) if z_up else (0.0, 1.0, 0.0),
        metres_per_unit=float(UsdGeom.GetStageMetersPerUnit(stage)),
        start=float(stage.GetStartTimeCode()),
        end=float(stage.GetEndTimeCode()),
        codes_per_second=max(float(stage.GetTimeCodesPerSecond()), 0.001),
        cameras=[UsdGeom.Camera(prim) for prim in stage.Traverse() if prim.IsA(UsdGeom.Camera)],
    )


def _tuple(row: NDArray[np.float64]) -> tuple[float, float, float]:
    return float(row[0]), float(row[1]), float(row[2])


def _reason(error: Any, path: Path) -> str:
    """What usd-core says is wrong, without the places in its own source."""
    told = [str(one.commentary).strip() for one in error.args]
    first = next((line for line in told if line), "usd-core gave no reason")
    return first.replace(str(path), path.name)[:300]
