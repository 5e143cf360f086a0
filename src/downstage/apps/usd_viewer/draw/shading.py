"""The light: one analytic studio instead of VTK's lights.

On a processor each VTK light costs about 8 ms a picture at 1280x720; this whole studio (sky
and floor light, a warm key, a cool rim, their reflections by roughness, filmic tone) costs
less than one. Colours travel as square roots, so that eight bits are enough for dark ones.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from downstage.apps.usd_viewer.draw.vtk_modules import Core
from downstage.apps.usd_viewer.scene.model import Material

__all__ = ["ROUGHNESS_SCALE", "Studio", "encode"]

ROUGHNESS_SCALE = 100.0
"""Roughness travels as VTK's specular power, metal as its specular colour."""

_LIGHT = """
  float key = max(dot(n, keyVC) * 0.85 + 0.15, 0.0);
  float rim = max(dot(n, rimVC), 0.0);
  vec3 light = vec3(0.145, 0.135, 0.165) + vec3(0.055, 0.085, 0.135) * dot(n, upVC)
    + vec3(1.02, 0.86, 0.66) * key + vec3(0.12, 0.20, 0.42) * rim;
"""
_MIRROR = """
  float metal = specularColor.r;
  float gloss = clamp(1.0 - specularPower * 0.01, 0.0, 0.95);
  vec3 v = -vertexVC.xyz * inversesqrt(dot(vertexVC.xyz, vertexVC.xyz));
  float nv = max(dot(n, v), 0.0);
  vec3 r = 2.0 * nv * n - v;
  float lift = dot(r, upVC);
  float wide = 1.0 / (1.3 - gloss);
  float sky = clamp((lift + 0.1) * wide * 1.6 + 0.5, 0.0, 1.0);
  float band = clamp(1.0 - abs(lift - 0.52) * (1.2 + 3.2 * gloss), 0.0, 1.0);
  float narrow = 3.0 + 150.0 * gloss * gloss * gloss;
  float spark = 1.0 / (1.0 + narrow * (1.0 - dot(r, keyVC)));
  float edge = 1.0 / (1.0 + 0.5 * narrow * (1.0 - dot(r, rimVC)));
  vec3 room = mix(vec3(0.055, 0.026, 0.022), vec3(0.19, 0.23, 0.34), sky)
    + vec3(0.95, 0.86, 0.76) * (band * band * (0.25 + 0.75 * gloss))
    + vec3(4.2, 3.5, 2.7) * (spark * spark * (0.1 + gloss))
    + vec3(0.5, 0.9, 1.8) * (edge * edge * (0.1 + gloss));
  float grazing = (1.0 - nv) * (1.0 - nv);
  vec3 f0 = mix(vec3(0.035), base, metal);
  vec3 mirror = f0 + (0.75 - 0.6 * metal) * (grazing * grazing * gloss);
  vec3 c = base * light * (0.80 - 0.80 * metal) + mirror * room + ambientColor;
"""
_TONE = """
  c = c * (2.51 * c + 0.03) / (c * (2.43 * c + 0.59) + 0.14);
  vec3 shown = sqrt(min(c, 1.0));
"""
_GLOSSY_FRAGMENT = (
    "vec3 base = diffuseColor * diffuseColor; vec3 n = normalVCVSOutput;"
    + _LIGHT
    + _MIRROR
    + _TONE
    + "fragOutput0 = vec4(shown, opacity);\n"
)
# Light without mirrors changes slowly: for it the corners of the triangles are enough.
_MATTE_VERTEX = (
    """
  vec3 base = scalarColor.rgb * scalarColor.rgb;
  vec3 n = normalize(normalVCVSOutput);
  if (dot(n, vertexVCVSOutput.xyz) > 0.0) { n = -n; }
"""
    + _LIGHT
    + "vec3 c = base * light * 0.80;"
    + _TONE
    + "vertexColorVSOutput = vec4(shown, scalarColor.a);\n"
)
_MATTE_FRAGMENT = "fragOutput0 = vec4(diffuseColor, opacity);\n"
_MATTE_FROM = 0.95


class Studio:
    """The shaders that all parts share, and where their lights stand."""

    def __init__(self, up: tuple[float, float, float]) -> None:
        """Hang the lights for a stage whose *up* is this."""
        self._glossy = _shader(_GLOSSY_FRAGMENT)
        self._matte = _shader(_MATTE_FRAGMENT)
        self._matte.AddVertexShaderReplacement("//VTK::Light::Impl", True, _MATTE_VERTEX, False)
        self._up = np.asarray(up, dtype=np.float64)

    def shader_for(self, material: Material) -> Any:
        """The cheapest shader that shows *material*: rough ones mirror nothing."""
        is_matte = material.roughness >= _MATTE_FROM and material.metallic <= 0
        is_matte = is_matte and material.picture is None and not any(material.emission)
        return self._matte if is_matte else self._glossy

    def turn(self, view: NDArray[np.float64]) -> None:
        """Bring the lights into the space of a camera.

        Args:
            view: (3, 3), rows right, up and towards the viewer, in world space.
        """
        right, upward, back = view
        key = self._up * 0.85 - right * 0.55 + back * 0.62
        rim = self._up * 0.35 + right * 0.75 - back * 0.55 + upward * 0.1
        for name, row in (("upVC", self._up), ("keyVC", key), ("rimVC", rim)):
            seen = [float(part) for part in view @ (row / np.linalg.norm(row))]
            self._glossy.GetFragmentCustomUniforms().SetUniform3f(name, seen)
            self._matte.GetVertexCustomUniforms().SetUniform3f(name, seen)


def _shader(light: str) -> Any:
    shader = Core.vtkOpenGLShaderProperty()
    shader.AddFragmentShaderReplacement("//VTK::Light::Impl", True, light, False)
    # A shader that may discard cannot skip what is hidden.
    shader.AddFragmentShaderReplacement("discard;", False, "", True)
    return shader


def encode(linear: NDArray[np.float32]) -> NDArray[np.uint8]:
    """Linear colours as the shader wants them: roots in eight bits; a fourth column is kept."""
    roots = np.array(linear, dtype=np.float32)
    roots[:, :3] = np.sqrt(np.clip(roots[:, :3], 0, 1))
    return np.ascontiguousarray(np.rint(np.clip(roots, 0, 1) * 255).astype(np.uint8))
