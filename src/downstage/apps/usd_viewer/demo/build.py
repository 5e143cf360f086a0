"""Make the demo stage: ``python -m downstage.apps.usd_viewer.demo.build [FILE]``.

Everything in it is there to be looked at and to be tested: meshes with colours, turning
rings, a point instancer whose copies ride a wave, a ribbon whose points move, emissive lamps.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np

from downstage.apps.usd_viewer.demo.forms import (
    Surface,
    beam,
    curtain,
    floor,
    ribbon,
    ring,
    turned,
)
from downstage.apps.usd_viewer.scene.pxr import Gf, Sdf, Usd, UsdGeom, UsdShade

__all__ = ["FRAMES", "build"]

FRAMES = 192
_RATE = 24
_RODS = 40
_RGB = 3
UsdLux: Any = import_module("pxr.UsdLux")
Vt: Any = import_module("pxr.Vt")

_LOOKS: dict[str, dict[str, Any]] = {
    "brass": {"diffuseColor": (1.0, 0.60, 0.20), "metallic": 1.0, "roughness": 0.24},
    "steel": {"diffuseColor": (0.72, 0.78, 0.86), "metallic": 1.0, "roughness": 0.16},
    "copper": {"diffuseColor": (0.95, 0.36, 0.20), "metallic": 1.0, "roughness": 0.28},
    "ebony": {"diffuseColor": (0.045, 0.040, 0.055), "metallic": 0.0, "roughness": 0.22},
    "pearl": {
        "diffuseColor": (0.93, 0.92, 0.96),
        "emissiveColor": (0.16, 0.14, 0.12),
        "roughness": 0.18,
    },
    "lamp": {"diffuseColor": (0.3, 0.2, 0.1), "emissiveColor": (0.95, 0.42, 0.10)},
    "boards": {"diffuseColor": "displayColor", "roughness": 1.0},
    "velvet": {"diffuseColor": "displayColor", "roughness": 1.0},
    "silk": {"diffuseColor": "displayColor", "roughness": 0.4},
}
_RAINBOW = (
    (0.015, 0.40, 0.42),
    (0.035, 0.17, 0.68),
    (0.24, 0.07, 0.62),
    (0.72, 0.045, 0.26),
    (0.92, 0.26, 0.035),
)


def build(path: Path) -> None:
    """Write the demo stage to *path* (.usda or .usdc)."""
    stage = Usd.Stage.CreateNew(str(path))
    UsdGeom.SetStageUpAxis(stage, UsdGeom.Tokens.y)
    UsdGeom.SetStageMetersPerUnit(stage, 1.0)
    stage.SetStartTimeCode(0)
    stage.SetEndTimeCode(FRAMES)
    stage.SetTimeCodesPerSecond(_RATE)
    stage.SetDefaultPrim(UsdGeom.Xform.Define(stage, "/Theatre").GetPrim())
    looks = {name: _look(stage, name, values) for name, values in _LOOKS.items()}
    for number, colour in enumerate(_RAINBOW):
        values = {"diffuseColor": colour, "roughness": 0.3}
        looks[f"glaze{number}"] = _look(stage, f"glaze{number}", values)
    _house(stage, looks)
    _sculpture(stage, looks)
    _wave(stage, looks)
    _ribbon(stage, looks)
    _camera_and_lights(stage)
    stage.GetRootLayer().Save()


def _look(stage: Any, name: str, values: dict[str, Any]) -> Any:
    material = UsdShade.Material.Define(stage, f"/Theatre/Looks/{name}")
    shader = UsdShade.Shader.Define(stage, f"/Theatre/Looks/{name}/surface")
    shader.CreateIdAttr("UsdPreviewSurface")
    for key, value in values.items():
        if value == "displayColor":
            reader = UsdShade.Shader.Define(stage, f"/Theatre/Looks/{name}/colour")
            reader.CreateIdAttr("UsdPrimvarReader_float3")
            reader.CreateInput("varname", Sdf.ValueTypeNames.String).Set(value)
            output = reader.CreateOutput("result", Sdf.ValueTypeNames.Float3)
            shader.CreateInput(key, Sdf.ValueTypeNames.Color3f).ConnectToSource(output)
        elif isinstance(value, tuple):
            shader.CreateInput(key, Sdf.ValueTypeNames.Color3f).Set(Gf.Vec3f(*value))
        else:
            shader.CreateInput(key, Sdf.ValueTypeNames.Float).Set(value)
    material.CreateSurfaceOutput().ConnectToSource(shader.ConnectableAPI(), "surface")
    return material


def _mesh(stage: Any, path: str, surface: Surface, look: Any = None) -> Any:
    mesh = UsdGeom.Mesh.Define(stage, path)
    mesh.CreatePointsAttr(_vectors(surface.points))
    mesh.CreateFaceVertexCountsAttr([surface.corners.shape[1]] * len(surface.corners))
    mesh.CreateFaceVertexIndicesAttr(surface.corners.ravel().tolist())
    mesh.CreateNormalsAttr(_vectors(surface.normals))
    mesh.SetNormalsInterpolation(UsdGeom.Tokens.vertex)
    mesh.CreateSubdivisionSchemeAttr(UsdGeom.Tokens.none)
    if surface.colours is not None:
        mesh.CreateDoubleSidedAttr(True)
        primvar = mesh.CreateDisplayColorPrimvar(UsdGeom.Tokens.vertex)
        primvar.Set(_vectors(surface.colours[:, :3]))
        if surface.colours.shape[1] > _RGB:
            clear = np.ascontiguousarray(surface.colours[:, 3], dtype=np.float32)
            opacity = mesh.CreateDisplayOpacityPrimvar(UsdGeom.Tokens.vertex)
            opacity.Set(Vt.FloatArray.FromNumpy(clear))
    if look is not None:
        UsdShade.MaterialBindingAPI.Apply(mesh.GetPrim()).Bind(look)
    return mesh


def _vectors(rows: Any) -> Any:
    return Vt.Vec3fArray.FromNumpy(np.ascontiguousarray(rows, dtype=np.float32))


def _house(stage: Any, looks: dict[str, Any]) -> None:
    _mesh(stage, "/Theatre/House/Floor", floor(5.2), looks["boards"])
    rim = np.array([[5.2, 0.0], [5.34, -0.03], [5.38, -0.12], [5.3, -0.5], [5.3, -0.62]])[::-1]
    _mesh(stage, "/Theatre/House/Rim", turned(rim, 84), looks["ebony"])
    band = ring(5.36, 0.035, 1.0, 72, 6)
    trim = _mesh(stage, "/Theatre/House/Trim", band, looks["brass"])
    trim.AddTranslateOp().Set(Gf.Vec3d(0, -0.06, 0))
    _mesh(stage, "/Theatre/House/Curtain", curtain(5.0, 6.2), looks["velvet"])
    for name, x in (("Left", -3.4), ("Right", 3.4)):
        source, target = np.array([x, 6.4, 1.8]), np.array([x * 0.06, 0.0, 0.2])
        cone = beam(source, target, 1.5)
        light = _mesh(stage, f"/Theatre/House/Beam{name}", cone, looks["velvet"])
        light.CreateDoubleSidedAttr(False)
    _footlights(stage, looks)


def _footlights(stage: Any, looks: dict[str, Any]) -> None:
    lamps = UsdGeom.PointInstancer.Define(stage, "/Theatre/House/Footlights")
    shell = turned(_bow(0.062, 5), 9)
    _mesh(stage, "/Theatre/House/Footlights/Lamp", shell, looks["lamp"])
    lamps.CreatePrototypesRel().SetTargets([Sdf.Path("/Theatre/House/Footlights/Lamp")])
    angles = np.radians(np.linspace(14, 166, 21))
    places = np.stack([4.98 * np.cos(angles), np.full(21, 0.06), 4.98 * np.sin(angles)], axis=1)
    lamps.CreatePositionsAttr(_vectors(places))
    lamps.CreateProtoIndicesAttr([0] * len(places))


def _bow(radius: float, steps: int) -> Any:
    angle = np.radians(np.linspace(-90, 90, steps + 1))
    return radius * np.stack([np.cos(angle), np.sin(angle)], axis=1)


def _sculpture(stage: Any, looks: dict[str, Any]) -> None:
    foot = np.array(
        [
            *([1.02, 0.0], [1.02, 0.10], [0.92, 0.16], [0.60, 0.20], [0.36, 0.34]),
            *([0.24, 0.62], [0.22, 0.80], [0.30, 0.88], [0.34, 0.94], [0.0, 0.94]),
        ]
    )
    _mesh(stage, "/Theatre/Sculpture/Foot", turned(foot, 56), looks["ebony"])
    collar = _mesh(stage, "/Theatre/Sculpture/Collar", ring(0.36, 0.04, 1, 48, 8), looks["brass"])
    collar.AddTranslateOp().Set(Gf.Vec3d(0, 0.93, 0))
    heart = UsdGeom.Xform.Define(stage, "/Theatre/Sculpture/Heart")
    heart.AddTranslateOp().Set(Gf.Vec3d(0, 2.35, 0))
    rings = (
        ("Outer", 1.30, 0.060, 2.0, "brass", (1, 0, 0), 1, 20.0),
        ("Middle", 1.05, 0.052, 2.0, "steel", (0, 0, 1), -2, 65.0),
        ("Inner", 0.80, 0.046, 2.0, "copper", (1, 0, 0), 3, 110.0),
    )
    path = "/Theatre/Sculpture/Heart"
    for name, radius, thick, flat, look, axis, turns, start in rings:
        path = f"{path}/{name}"
        holder = UsdGeom.Xform.Define(stage, path)
        _turn(holder, axis, start, turns)
        _mesh(stage, f"{path}/Ring", ring(radius, thick, flat, 64, 10), looks[look])
    ball = turned(_bow(0.42, 16), 28)
    pearl = _mesh(stage, "/Theatre/Sculpture/Heart/Pearl", ball, looks["pearl"])
    scale = pearl.AddScaleOp()
    for frame in range(0, FRAMES + 1, 6):
        beat = 1 + 0.06 * np.sin(2 * np.pi * frame / FRAMES * 4)
        scale.Set(Gf.Vec3f(beat, beat, beat), frame)


def _turn(holder: Any, axis: tuple[int, int, int], start: float, turns: int) -> None:
    tilt = holder.AddRotateXYZOp()
    for frame in (0, FRAMES):
        angle = start + 360.0 * turns * frame / FRAMES
        tilt.Set(Gf.Vec3f(*(angle * part for part in axis)), frame)


def _wave(stage: Any, looks: dict[str, Any]) -> None:
    """Rods with glazed heads on a circle; a wave runs round and lifts them."""
    copies = UsdGeom.PointInstancer.Define(stage, "/Theatre/Wave")
    heads: list[Any] = []
    for number in range(len(_RAINBOW)):
        path = f"/Theatre/Wave/Reed{number}"
        UsdGeom.Xform.Define(stage, path)
        stem = turned(np.array([[0.018, -1.4], [0.018, 0.0]]), 8)
        _mesh(stage, f"{path}/Stem", stem, looks["steel"])
        _mesh(stage, f"{path}/Head", turned(_bow(0.15, 8), 13), looks[f"glaze{number}"])
        heads.append(Sdf.Path(path))
    copies.CreatePrototypesRel().SetTargets(heads)
    angle = 2 * np.pi * np.arange(_RODS) / _RODS
    shade = np.abs((np.arange(_RODS) / _RODS * 2 * len(heads)) % (2 * len(heads)) - len(heads))
    copies.CreateProtoIndicesAttr(np.minimum(shade, len(heads) - 1).astype(int).tolist())
    positions = copies.CreatePositionsAttr()
    for frame in range(0, FRAMES + 1, 4):
        turn = 2 * np.pi * frame / FRAMES
        height = 0.86 + 0.34 * np.sin(3 * angle - 2 * turn) + 0.14 * np.sin(5 * angle + 3 * turn)
        places = np.stack([4.1 * np.cos(angle), height, 4.1 * np.sin(angle)], axis=1)
        positions.Set(_vectors(places), frame)


def _ribbon(stage: Any, looks: dict[str, Any]) -> None:
    mesh = _mesh(stage, "/Theatre/Ribbon", ribbon(0.0), looks["silk"])
    points, normals = mesh.GetPointsAttr(), mesh.GetNormalsAttr()
    for frame in range(0, FRAMES + 1, 6):
        surface = ribbon(frame / FRAMES)
        points.Set(_vectors(surface.points), frame)
        normals.Set(_vectors(surface.normals), frame)


def _camera_and_lights(stage: Any) -> None:
    camera = UsdGeom.Camera.Define(stage, "/Theatre/Views/FrontRow")
    eye, target = Gf.Vec3d(1.9, 3.0, 10.3), Gf.Vec3d(0, 1.9, 0)
    view = Gf.Matrix4d().SetLookAt(eye, target, Gf.Vec3d(0, 1, 0))
    camera.AddTransformOp().Set(view.GetInverse())
    camera.CreateFocalLengthAttr(32.0)
    camera.CreateHorizontalApertureAttr(36.0)
    camera.CreateVerticalApertureAttr(20.25)
    camera.CreateFocusDistanceAttr((target - eye).GetLength())
    dome = UsdLux.DomeLight.Define(stage, "/Theatre/Lights/House")
    dome.CreateIntensityAttr(0.4)
    key = UsdLux.DistantLight.Define(stage, "/Theatre/Lights/Key")
    key.CreateIntensityAttr(2.0)


if __name__ == "__main__":
    beside = Path(__file__).with_name("theatre.usdc")
    build(Path(sys.argv[1]) if len(sys.argv) > 1 else beside)
