"""What a stage looks like once it is read: parts of plain arrays."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "Change",
    "Floats",
    "Geometry",
    "Ints",
    "Material",
    "Part",
    "Picture",
    "Shot",
    "StageInfo",
]

Floats = NDArray[np.float32]
Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Picture:
    """A picture file that covers a surface, read into memory (it may lie in a package)."""

    name: str
    data: bytes = field(compare=False, repr=False)


@dataclass(frozen=True, slots=True)
class Material:
    """The constants of a UsdPreviewSurface, and its picture."""

    colour: tuple[float, float, float] = (0.62, 0.63, 0.66)
    emission: tuple[float, float, float] = (0.0, 0.0, 0.0)
    metallic: float = 0.0
    roughness: float = 0.5
    opacity: float = 1.0
    picture: Picture | None = None
    uses_colours: bool = False
    """The colour comes from the geometry (``displayColor``), not from `colour`."""


@dataclass(frozen=True, slots=True)
class Geometry:
    """Triangles with everything that varies over them, in the part's own space."""

    points: Floats
    """(n, 3)"""
    triangles: Ints
    """(m, 3), rows of indices into the points"""
    normals: Floats | None = None
    """(n, 3); None: to be computed from the triangles"""
    colours: Floats | None = None
    """(n, 4), linear RGBA"""
    uvs: Floats | None = None
    """(n, 2)"""
    smooth: bool = True
    """Compute smooth normals where none are given."""

    def moved(self, points: Floats, normals: Floats | None) -> Geometry:
        """The same surface with its points elsewhere."""
        return replace(self, points=points, normals=normals)


@dataclass(slots=True)
class Part:
    """One thing that is drawn."""

    path: str
    geometry: Geometry
    matrix: NDArray[np.float64]
    """Local to world, column vectors (the transpose of USD's)."""
    material: Material = field(default_factory=Material)
    double_sided: bool = True
    place_at: Callable[[float], NDArray[np.float64] | None] | None = None
    """Matrix at a time code, None where hidden then; None: never moves."""
    shape_at: Callable[[float], Geometry] | None = None
    """Geometry at a time code; None: keeps its shape."""

    @property
    def is_moving(self) -> bool:
        """Some of it depends on time."""
        return self.place_at is not None or self.shape_at is not None


@dataclass(frozen=True, slots=True)
class Change:
    """What another time code, or somebody's edit, did to part *index*."""

    index: int
    matrix: NDArray[np.float64] | None = None
    geometry: Geometry | None = None
    visible: bool = True
    is_redrawn: bool = False
    """Its form or its look is another one: to be taken from the part itself."""


@dataclass(frozen=True, slots=True)
class Shot:
    """A camera of the stage at one time."""

    name: str
    eye: tuple[float, float, float]
    target: tuple[float, float, float]
    view_angle: float
    """Vertical, degrees."""


@dataclass(slots=True)
class StageInfo:
    """Facts of the stage as a whole."""

    name: str
    up: tuple[float, float, float] = (0.0, 1.0, 0.0)
    metres_per_unit: float = 0.01
    start: float = 0.0
    end: float = 0.0
    codes_per_second: float = 24.0
    cameras: list[Any] = field(default_factory=list[Any])
    warnings: list[str] = field(default_factory=list[str])

    @property
    def is_animated(self) -> bool:
        """It has more than one picture."""
        return self.end > self.start
