"""The one door to usd-core, which ships no types: its modules as `Any`, loaded once."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Ar", "Gf", "Sdf", "Tf", "Usd", "UsdGeom", "UsdShade"]

Ar: Any = import_module("pxr.Ar")
Gf: Any = import_module("pxr.Gf")
Sdf: Any = import_module("pxr.Sdf")
Tf: Any = import_module("pxr.Tf")
Usd: Any = import_module("pxr.Usd")
UsdGeom: Any = import_module("pxr.UsdGeom")
UsdShade: Any = import_module("pxr.UsdShade")
