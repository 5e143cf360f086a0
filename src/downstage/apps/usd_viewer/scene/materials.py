"""UsdPreviewSurface, as far as one constant and one picture carry it."""

from __future__ import annotations

from typing import Any

from downstage.apps.usd_viewer.scene.model import Material, Picture
from downstage.apps.usd_viewer.scene.pxr import Ar, UsdGeom, UsdShade

__all__ = ["Materials"]

_PICTURES = (".png", ".jpg", ".jpeg")
_LARGEST = 64 * 1024 * 1024


class Materials:
    """Reads each material of a stage once."""

    def __init__(self) -> None:
        self._known: dict[str, Material] = {}

    def bound_to(self, prim: Any) -> Material:
        """The material of *prim*: bound to it, or made of its display colour."""
        material = UsdShade.MaterialBindingAPI(prim).ComputeBoundMaterial()[0]
        if material:
            path = str(material.GetPath())
            if path not in self._known:
                self._known[path] = _read(material)
            return self._known[path]
        return _from_display(prim)


def _from_display(prim: Any) -> Material:
    gprim = UsdGeom.Gprim(prim)
    colours = gprim.GetDisplayColorPrimvar().ComputeFlattened()
    alphas = gprim.GetDisplayOpacityPrimvar().ComputeFlattened()
    plain = Material()
    colour = _triple(colours[0]) if colours is not None and len(colours) == 1 else plain.colour
    opacity = float(alphas[0]) if alphas is not None and len(alphas) == 1 else 1.0
    return Material(colour=colour, opacity=opacity, uses_colours=True)


def _read(material: Any) -> Material:
    surface = material.ComputeSurfaceSource()[0]
    plain = Material()
    if not surface or surface.GetIdAttr().Get() != "UsdPreviewSurface":
        return plain
    colour, picture, reads = _input(surface, "diffuseColor")
    emission, _, _ = _input(surface, "emissiveColor")
    return Material(
        colour=_triple(colour) if colour is not None else _colour_without(picture),
        emission=_triple(emission) if emission is not None else plain.emission,
        metallic=_number(surface, "metallic", plain.metallic),
        roughness=_number(surface, "roughness", plain.roughness),
        opacity=_number(surface, "opacity", 1.0),
        picture=picture,
        uses_colours=reads,
    )


def _colour_without(picture: Picture | None) -> tuple[float, float, float]:
    """A picture is shown as it is; a surface that says nothing has USD's own grey."""
    return (1.0, 1.0, 1.0) if picture else (0.18, 0.18, 0.18)


def _number(surface: Any, name: str, default: float) -> float:
    value, _, _ = _input(surface, name)
    return float(value) if isinstance(value, int | float) else default


def _input(surface: Any, name: str) -> tuple[Any, Picture | None, bool]:
    """Value of an input, the picture that feeds it, and whether a primvar does."""
    attribute = surface.GetInput(name)
    if not attribute:
        return None, None, False
    for source in UsdShade.Utils.GetValueProducingAttributes(attribute):
        shader = UsdShade.Shader(source.GetPrim())
        kind = str(shader.GetIdAttr().Get() or "") if shader else ""
        if kind == "UsdUVTexture":
            file = shader.GetInput("file")
            picture = _picture(file.Get() if file else None)
            fallback = shader.GetInput("fallback")
            return (fallback.Get() if fallback and not picture else None), picture, False
        if kind.startswith("UsdPrimvarReader"):
            given = shader.GetInput("varname")
            named = str(given.Get()) if given else ""
            fallback = shader.GetInput("fallback")
            return (fallback.Get() if fallback else None), None, named == "displayColor"
        return source.Get(), None, False
    return attribute.Get(), None, False


def _picture(asset: Any) -> Picture | None:
    """A picture, as a file or inside a usdz package; None where it is not to be had."""
    where = str(getattr(asset, "resolvedPath", ""))
    if not where.rstrip("]").lower().endswith(_PICTURES):
        return None
    opened = Ar.GetResolver().OpenAsset(Ar.ResolvedPath(where))
    if opened is None or not 0 < opened.GetSize() <= _LARGEST:
        return None
    return Picture(where, bytes(opened.GetBuffer()))


def _triple(value: Any) -> tuple[float, float, float]:
    return float(value[0]), float(value[1]), float(value[2])
