"""Draws a scene into memory: camera, selection, and pictures for the window."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstage.apps.usd_viewer.draw.shading import Studio
from downstage.apps.usd_viewer.draw.surfaces import (
    Drawn,
    Group,
    build_groups,
    draw_group,
    poly_data,
    to_matrix,
    update_poly,
)
from downstage.apps.usd_viewer.draw.vtk_modules import Core, Data, numpy_to_vtk, vtk_to_numpy
from downstage.apps.usd_viewer.orbit import Orbit
from downstage.apps.usd_viewer.scene.model import Change
from downstage.apps.usd_viewer.scene.reader import Scene

__all__ = ["Renderer"]

_GLOW = (1.0, 0.66, 0.18)
_OUTLINE = 0.002
"""Width of the glowing edge in heights of the picture, beside one pixel and a bit."""
_UNSEEN = 0.2
"""An edge that is so much too wide or too narrow may stay."""


class Renderer:
    """One scene, drawn off screen; all calls from one thread."""

    def __init__(self, size: tuple[int, int]) -> None:
        """Make an off-screen window of *size*."""
        self._window: Any = Core.vtkRenderWindow()
        self._window.SetShowWindow(False)
        self._window.SetOffScreenRendering(1)
        self._window.SetMultiSamples(0)
        self._window.SetAlphaBitPlanes(1)
        self._window.SetSize(*size)
        self._layer: Any = Core.vtkRenderer()
        self._layer.SetBackground(0, 0, 0)
        self._layer.SetBackgroundAlpha(0.0)
        self._layer.SetAutomaticLightCreation(False)
        self._layer.SetUseOIT(False)  # its extra passes cost more than all the rest
        lamp = Core.vtkLight()
        lamp.SetLightTypeToHeadlight()
        self._layer.AddLight(lamp)
        self._window.AddRenderer(self._layer)
        self._pixels: Any = Data.vtkUnsignedCharArray()
        self._size = size
        self._scene: Scene | None = None
        self._studio = Studio((0.0, 1.0, 0.0))
        self._drawn: list[Drawn] = []
        self._by_part: dict[int, Drawn] = {}
        self._outline: tuple[int, Any, float] | None = None
        self._seams: NDArray[np.int64] | None = None

    @property
    def name(self) -> str:
        """Which of VTK's windows draws."""
        return str(self._window.GetClassName())

    def resize(self, size: tuple[int, int]) -> None:
        """Draw pictures of *size* from now on."""
        self._size = size
        self._window.SetSize(*size)

    def show(self, scene: Scene) -> None:
        """Draw *scene* instead of what was there."""
        self.select(None)
        for drawn in self._drawn:
            self._layer.RemoveActor(drawn.actor)
        self._scene = scene
        self._studio = Studio(scene.info.up)
        groups = build_groups(scene.parts)
        self._drawn = [
            draw_group(group, scene.parts, self._studio.shader_for(group.material))
            for group in groups
        ]
        self._by_part = {part: drawn for drawn in self._drawn for part in drawn.parts}
        for drawn in self._drawn:
            self._layer.AddActor(drawn.actor)

    def apply(self, change: Change) -> None:
        """Move or reshape one part."""
        drawn = self._own(change.index, is_redrawn=change.is_redrawn)
        drawn.actor.SetVisibility(change.visible)
        if change.matrix is not None:
            drawn.actor.SetUserMatrix(to_matrix(change.matrix))
        if change.geometry is not None and self._scene is not None:
            update_poly(drawn.poly, self._scene.parts[change.index], change.geometry)
        if self._outline and self._outline[0] == change.index:
            self._follow_outline(change)

    def render(self, orbit: Orbit, jitter: tuple[float, float] = (0.0, 0.0)) -> NDArray[np.uint8]:
        """Draw a picture: (height, width, 4), bottom row first, alpha multiplied in.

        Args:
            orbit: where to look from.
            jitter: shift in parts of a pixel, for smoother edges by averaging.
        """
        self._aim(orbit, jitter)
        self._window.Render()
        width, height = self._size
        self._window.GetRGBACharPixelData(0, 0, width - 1, height - 1, 0, self._pixels)
        return vtk_to_numpy(self._pixels).reshape(height, width, 4)

    def pick(self, spot: tuple[int, int]) -> int | None:
        """Number of the part under a spot of the last picture (from its top left)."""
        picker = Core.vtkCellPicker()
        picker.SetTolerance(0.0)
        if not picker.Pick(spot[0], self._size[1] - 1 - spot[1], 0, self._layer):
            return None
        actor = picker.GetActor()
        for drawn in self._drawn:
            if drawn.actor is actor:
                return drawn.part_at(int(picker.GetCellId()))
        return None

    def select(self, part: int | None) -> None:
        """Draw a glowing edge around one part, or around none."""
        self._seams = None
        if self._outline:
            self._layer.RemoveActor(self._outline[1])
            self._outline = None
        if part is None or self._scene is None:
            return
        actor = Core.vtkActor()
        actor.SetMapper(Core.vtkPolyDataMapper())
        look = actor.GetProperty()
        look.SetLighting(False)
        look.SetColor(*_GLOW)
        look.FrontfaceCullingOn()
        actor.PickableOff()
        actor.SetUserMatrix(self._by_part[part].actor.GetUserMatrix())
        actor.SetVisibility(self._by_part[part].actor.GetVisibility())
        self._outline = (part, actor, 0.0)
        self._layer.AddActor(actor)

    def close(self) -> None:
        """Give the window back."""
        self._window.Finalize()

    def _own(self, index: int, *, is_redrawn: bool) -> Drawn:
        """An actor for one part alone: the one it has, or a new one."""
        before = self._by_part[index]
        if self._scene is None or (before.is_own and not is_redrawn):
            return before
        if before.is_own:
            self._layer.RemoveActor(before.actor)
            self._drawn.remove(before)
        else:
            before.drop(index)
        look = self._scene.parts[index].material
        group = Group(look, (index,), is_own=True)
        drawn = draw_group(group, self._scene.parts, self._studio.shader_for(look))
        self._drawn.append(drawn)
        self._by_part[index] = drawn
        self._layer.AddActor(drawn.actor)
        if self._outline and self._outline[0] == index:
            self.select(index)
        return drawn

    def _aim(self, orbit: Orbit, jitter: tuple[float, float]) -> None:
        camera = self._layer.GetActiveCamera()
        view = orbit.view()
        eye = orbit.eye
        camera.SetPosition(*eye)
        camera.SetFocalPoint(*orbit.target)
        camera.SetViewUp(*view[1])
        camera.SetViewAngle(orbit.view_angle)
        width, height = self._size
        camera.SetWindowCenter(2 * jitter[0] / width, 2 * jitter[1] / height)
        self._studio.turn(view)
        self._thicken(eye, orbit.view_angle)
        self._layer.ResetCameraClippingRange()

    def _thicken(self, eye: NDArray[np.float64], view_angle: float) -> None:
        """Keep the glowing edge equally wide on the picture, however far away its part is."""
        if not self._outline or self._scene is None:
            return
        index, actor, before = self._outline
        part = self._scene.parts[index]
        centre, _ = self._scene.bounds([part])
        tall = 2 * float(np.linalg.norm(centre - eye)) * np.tan(np.radians(view_angle) / 2)
        wide = tall * (1.3 / self._size[1] + _OUTLINE)
        if before and abs(wide / before - 1) < _UNSEEN:
            return
        self._outline = (index, actor, wide)
        self._grow(actor, index, wide)

    def _grow(self, actor: Any, index: int, wide: float) -> None:
        """A copy of the part, a little fatter; only its far side shows, as an edge."""
        if self._scene is None:
            return
        part, drawn = self._scene.parts[index], self._by_part[index]
        source = drawn.poly if drawn.is_own else poly_data(part, in_world=True)
        poly = Data.vtkPolyData()
        poly.ShallowCopy(source)
        poly.GetPointData().SetScalars(None)
        normals = vtk_to_numpy(source.GetPointData().GetNormals())
        points = vtk_to_numpy(source.GetPoints().GetData())
        if self._seams is None or len(self._seams) != len(points):
            self._seams = _find_seams(points)
        normals = _rounded(normals, self._seams)
        scale = wide
        if drawn.is_own:
            scale = wide / max(float(np.cbrt(abs(np.linalg.det(part.matrix[:3, :3])))), 1e-9)
        rows = points + normals * np.float32(scale)
        from_numpy = Data.vtkPoints()
        from_numpy.SetData(_array(rows))
        poly.SetPoints(from_numpy)
        actor.GetMapper().SetInputData(poly)

    def _follow_outline(self, change: Change) -> None:
        if not self._outline:
            return
        index, actor, wide = self._outline
        actor.SetVisibility(change.visible)
        if change.matrix is not None:
            actor.SetUserMatrix(to_matrix(change.matrix))
        if change.geometry is not None and wide:
            self._grow(actor, index, wide)


def _find_seams(points: NDArray[np.float32]) -> NDArray[np.int64]:
    """A number for each point, the same for points in one place."""
    grain = max(float(np.ptp(points, axis=0).max()), 1e-9) * 1e-5
    cells = np.round(points / grain).astype(np.int64)
    return np.unique(cells, axis=0, return_inverse=True)[1].ravel()


def _rounded(normals: NDArray[np.float32], seams: NDArray[np.int64]) -> NDArray[np.float32]:
    """Normals that agree where points meet, so that a fatter copy does not tear open."""
    sums = np.zeros((int(seams.max()) + 1, 3), dtype=np.float32)
    np.add.at(sums, seams, normals)
    sums /= np.maximum(np.linalg.norm(sums, axis=1, keepdims=True), 1e-9)
    return sums[seams]


def _array(rows: NDArray[np.float32]) -> Any:
    return numpy_to_vtk(np.ascontiguousarray(rows, dtype=np.float32), deep=1)
