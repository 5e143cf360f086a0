"""Reading stages, with the real usd-core."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from downstage.apps.usd_viewer.problem import StageProblem
from downstage.apps.usd_viewer.scene.meshes import fan, smooth_normals
from downstage.apps.usd_viewer.scene.model import Part
from downstage.apps.usd_viewer.scene.reader import Scene, open_scene
from downstage.apps.usd_viewer.scene.solids import SOLIDS, solid_geometry

pytestmark = pytest.mark.unit

QUAD = """
    int[] faceVertexCounts = [4]
    int[] faceVertexIndices = [0, 1, 2, 3]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (1, 1, 0), (0, 1, 0)]
"""


def read(folder: Path, body: str, head: str = "") -> Scene:
    path = folder / "stage.usda"
    lines = body.replace("}", "\n}\n")  # the grammar wants a statement on a line of its own
    path.write_text(f"#usda 1.0\n({head}\n)\n{lines}")
    return open_scene(path, path.name)


def only(scene: Scene) -> Part:
    assert len(scene.parts) == 1
    return scene.parts[0]


def test_a_quad_becomes_two_triangles_where_it_stands(tmp_path: Path) -> None:
    part = only(
        read(
            tmp_path,
            f"""def Xform "A" {{ double3 xformOp:translate = (5, 0, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"]
    def Mesh "M" {{ {QUAD} }} }}""",
        )
    )
    assert part.path == "/A/M"
    assert part.geometry.triangles.tolist() == [[0, 1, 2], [0, 2, 3]]
    assert part.matrix[:3, 3].tolist() == [5, 0, 0]
    assert not part.is_moving


def test_hidden_prims_and_guides_are_left_out(tmp_path: Path) -> None:
    scene = read(
        tmp_path,
        """def Xform "Hidden" { token visibility = "invisible"
    def Sphere "S" {} }
def Sphere "Guide" { uniform token purpose = "guide" }
def Sphere "Proxy" { uniform token purpose = "proxy" }
def Sphere "Render" { uniform token purpose = "render" }
class Sphere "Class" {}
over "Over" { def Sphere "S" {} }
def Sphere "Seen" {}""",
    )
    assert {part.path for part in scene.parts} == {"/Render", "/Seen"}


def test_time_samples_move_reshape_and_hide(tmp_path: Path) -> None:
    scene = read(
        tmp_path,
        f"""def Xform "Mover" {{
    double3 xformOp:translate.timeSamples = {{ 0: (0, 0, 0), 10: (10, 0, 0) }}
    uniform token[] xformOpOrder = ["xformOp:translate"]
    def Mesh "M" {{ {QUAD} }} }}
def Mesh "Blink" {{ {QUAD}
    token visibility.timeSamples = {{ 0: "inherited", 5: "invisible" }} }}
def Sphere "Grow" {{ double radius.timeSamples = {{ 0: 1, 10: 2 }} }}
def Cube "Still" {{}}""",
        "startTimeCode = 0\nendTimeCode = 10\ntimeCodesPerSecond = 12",
    )
    assert (scene.info.end, scene.info.codes_per_second) == (10, 12)
    changes = {scene.parts[change.index].path: change for change in scene.at(5)}
    assert set(changes) == {"/Mover/M", "/Blink", "/Grow"}
    moved = changes["/Mover/M"].matrix
    assert moved is not None
    assert moved[0, 3] == pytest.approx(5)
    assert not changes["/Blink"].visible
    grown = changes["/Grow"].geometry
    assert grown is not None
    assert np.abs(grown.points).max() == pytest.approx(1.5)


def test_instances_are_followed(tmp_path: Path) -> None:
    scene = read(
        tmp_path,
        """class Xform "Proto" { def Cube "Box" {} }
def Xform "One" (instanceable = true
    inherits = </Proto>) {}
def Xform "Two" (instanceable = true
    inherits = </Proto>) { double3 xformOp:translate = (0, 7, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"] }""",
    )
    places = {part.path: part.matrix[1, 3] for part in scene.parts}
    assert places == {"/One/Box": 0.0, "/Two/Box": 7.0}


INSTANCER = """def PointInstancer "Many" {
    rel prototypes = [</Many/Small>, </Many/Large>]
    int[] protoIndices = [0, 1, 0, 0]
    int64[] ids = [10, 11, 12, 13]
    int64[] invisibleIds = [13]
    point3f[] positions = [(0, 0, 0), (10, 0, 0), (20, 0, 0), (90, 0, 0)]
    point3f[] positions.timeSamples = {
        0: [(0, 0, 0), (10, 0, 0), (20, 0, 0), (90, 0, 0)],
        4: [(0, 4, 0), (10, 4, 0), (20, 4, 0), (90, 4, 0)] }
    def Cube "Small" { double size = 1 }
    def Xform "Large" {
        double3 xformOp:scale = (3, 3, 3)
        uniform token[] xformOpOrder = ["xformOp:scale"]
        def Cube "Box" { double size = 1
            double3 xformOp:translate = (1, 0, 0)
            uniform token[] xformOpOrder = ["xformOp:translate"] } } }"""


def test_point_instancers_put_copies_in_place(tmp_path: Path) -> None:
    scene = read(tmp_path, INSTANCER, "startTimeCode = 0\nendTimeCode = 4")
    small, large = scene.parts
    assert len(small.geometry.triangles) == 2 * 12, "two of three: one is invisible"
    assert np.unique(small.geometry.points[:, 0]).tolist() == [-0.5, 0.5, 19.5, 20.5]
    assert large.geometry.points[:, 0].min() == pytest.approx(10 + 3 - 1.5)
    later = {change.index: change.geometry for change in scene.at(2)}
    assert later[0] is not None
    assert later[0].points[:, 1].mean() == pytest.approx(2)
    lengths = np.linalg.norm(large.geometry.normals, axis=1)  # type: ignore[arg-type]
    assert np.allclose(lengths, 1)


def test_values_by_corner_by_face_and_constant(tmp_path: Path) -> None:
    def colours(kind: str, values: str) -> np.ndarray:
        scene = read(
            tmp_path,
            f"""def Mesh "M" {{ {QUAD}
    color3f[] primvars:displayColor = {values} (interpolation = "{kind}") }}""",
        )
        return np.asarray(only(scene).geometry.colours)

    red, blue = "(1, 0, 0)", "(0, 0, 1)"
    assert colours("faceVarying", f"[{red}, {blue}, {red}, {blue}]")[1].tolist() == [0, 0, 1, 1]
    assert colours("vertex", f"[{red}, {blue}, {red}, {blue}]").shape == (4, 4)
    wrong = colours("vertex", f"[{red}, {blue}]")
    assert wrong.shape == (), "the number of values does not fit: left out"


def test_damaged_meshes_are_left_out(tmp_path: Path) -> None:
    scene = read(
        tmp_path,
        """def Cube "Good" {}
def Mesh "Outside" { int[] faceVertexCounts = [3]
    int[] faceVertexIndices = [0, 1, 9]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (1, 1, 0)] }
def Mesh "Short" { int[] faceVertexCounts = [4]
    int[] faceVertexIndices = [0, 1]
    point3f[] points = [(0, 0, 0), (1, 0, 0), (1, 1, 0)] }
def Mesh "Empty" {}""",
    )
    assert only(scene).path == "/Good"


def test_materials_cameras_and_axes(tmp_path: Path) -> None:
    scene = read(
        tmp_path,
        """def Material "Gold" { token outputs:surface.connect = </Gold/S.outputs:surface>
    def Shader "S" { uniform token info:id = "UsdPreviewSurface"
        color3f inputs:diffuseColor = (1, 0.5, 0)
        float inputs:metallic = 1
        float inputs:roughness = 0.25
        token outputs:surface
    } }
def Sphere "Ball" (prepend apiSchemas = ["MaterialBindingAPI"]) {
    rel material:binding = </Gold> }
def Camera "Cam" { double3 xformOp:translate = (0, -8, 0)
    float xformOp:rotateX = 90
    uniform token[] xformOpOrder = ["xformOp:translate", "xformOp:rotateX"] }""",
        'upAxis = "Z"',
    )
    look = only(scene).material
    assert (look.colour, look.metallic, look.roughness) == ((1, 0.5, 0), 1, 0.25)
    assert scene.info.up == (0, 0, 1)
    shot = scene.shot(0, 0)
    assert np.allclose(shot.eye, (0, -8, 0))
    assert shot.target[1] > -8


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("this is no stage", "cannot be opened"),
        ("#usda 1.0\n", "nothing to see"),
        ('#usda 1.0\ndef Xform "Empty" {}\n', "nothing to see"),
    ],
)
def test_stages_that_cannot_be_shown_say_why(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "bad.usda"
    path.write_text(text)
    with pytest.raises(StageProblem, match=words) as caught:
        open_scene(path, path.name)
    assert "bad.usda" in caught.value.reason
    assert "/opt" not in caught.value.reason, "not where in usd-core it was noticed"
    assert caught.value.remedy


@pytest.mark.parametrize("kind", sorted(SOLIDS))
def test_solids_are_round_about_their_axis_and_face_outwards(kind: str) -> None:
    for axis, index in (("X", 0), ("Y", 1), ("Z", 2)):
        shape = solid_geometry(kind, {"axis": axis})
        assert shape.normals is not None
        a, b, c = (shape.points[shape.triangles[:, corner]] for corner in range(3))
        facing = np.cross(b - a, c - a)
        inner = shape.normals[shape.triangles].mean(axis=1)
        real = np.linalg.norm(facing, axis=1) > 1e-6
        assert (np.einsum("ij,ij->i", facing, inner)[real] > 0).all()
        if kind == "Capsule":
            assert np.ptp(shape.points[:, index]) == pytest.approx(2, abs=1e-5)
        if kind == "Plane":
            assert np.ptp(shape.points[:, index]) == 0


def test_fans_and_normals() -> None:
    triangles, faces = fan(np.array([3, 5, 2]))
    assert triangles.tolist() == [[0, 1, 2], [3, 4, 5], [3, 5, 6], [3, 6, 7]]
    assert faces.tolist() == [0, 1, 1, 1]
    flipped, _ = fan(np.array([3]), flip=True)
    assert flipped.tolist() == [[0, 2, 1]]
    square = np.array([[0, 0, 0], [1, 0, 0], [1, 1, 0], [0, 1, 0]], dtype=np.float32)
    normals = smooth_normals(square, np.array([[0, 1, 2], [0, 2, 3]]))
    assert np.allclose(normals, [0, 0, 1])
