"""The one door to VTK: the modules in use, as `Any`.

Its type stubs promise less than they look: most arguments of the OpenGL classes are missing.
"""

from __future__ import annotations

from importlib import import_module
from types import SimpleNamespace
from typing import Any

__all__ = ["IO", "Core", "Data", "numpy_to_vtk", "vtk_to_numpy"]


def _gather(*names: str) -> Any:
    found: dict[str, Any] = {}
    for name in names:
        found.update(vars(import_module(f"vtkmodules.{name}")))
    return SimpleNamespace(**found)


Core: Any = _gather("vtkRenderingCore", "vtkRenderingOpenGL2")
Data: Any = _gather("vtkCommonCore", "vtkCommonDataModel", "vtkCommonMath", "vtkFiltersCore")
IO: Any = _gather("vtkIOImage")
_bridge: Any = import_module("vtkmodules.util.numpy_support")
numpy_to_vtk: Any = _bridge.numpy_to_vtk
vtk_to_numpy: Any = _bridge.vtk_to_numpy
