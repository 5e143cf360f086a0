"""The one door to usd-core, which ships no types: its modules as `Any`, loaded when asked for."""

from __future__ import annotations

from importlib import import_module
from typing import Any

__all__ = ["Ar", "Gf", "Sdf", "Tf", "Ts", "Usd", "UsdUtils", "Vt"]

Ar: Any = import_module("pxr.Ar")
Gf: Any = import_module("pxr.Gf")
Sdf: Any = import_module("pxr.Sdf")
Tf: Any = import_module("pxr.Tf")
Ts: Any = import_module("pxr.Ts")
Usd: Any = import_module("pxr.Usd")
UsdUtils: Any = import_module("pxr.UsdUtils")
Vt: Any = import_module("pxr.Vt")
