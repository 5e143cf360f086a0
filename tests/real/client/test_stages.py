"""Stages opened through a mirror of their server: all they refer to, and nothing beyond it."""

from __future__ import annotations

from pathlib import Path

import pytest
from pxr import Sdf, Usd

from downstage.client import files, usd
from downstage.client.client import default_client
from downstage.kernel.errors import NotFound, NotSupported, TooLarge, Unavailable

pytestmark = pytest.mark.real

EMPTY = b"#usda 1.0\n"
ROOT = """#usda 1.0
(
    subLayers = [@./parts/sub.usda@]
)
def "World" {{
    def "near" (references = @parts/near.usda@</Near>) {{
    }}
    def "far" (payload = @{url}/other/far.usda@</Far>) {{
    }}
    def "clipped" (
        clips = {{
            dictionary default = {{
                asset[] assetPaths = [@./clips/one.usda@]
                string primPath = "/Clip"
            }}
        }}
    ) {{
    }}
    def "choice" (
        variants = {{
            string v = "a"
        }}
        prepend variantSets = "v"
    ) {{
        variantSet "v" = {{
            "a" {{
            }}
            "b" (references = @parts/only_b.usda@</B>) {{
            }}
        }}
    }}
    asset picture = @textures/wood.<UDIM>.png@
    asset gone = @textures/gone.png@
}}
"""


def put(url: str, name: str, text: str | bytes) -> None:
    files.write_file(f"{url}/{name}", text.encode() if isinstance(text, str) else text)


def test_a_stage_opens_with_all_it_refers_to(url: str) -> None:
    put(url, "scene.usda", ROOT.format(url=url))
    put(url, "parts/sub.usda", '#usda 1.0\ndef "Sub" {\n}\n')
    near = '#usda 1.0\ndef "Near" (references = @../other/deep.usda@</Deep>) {\n}\n'
    put(url, "parts/near.usda", near)
    put(url, "parts/only_b.usda", '#usda 1.0\ndef "B" {\n    int b = 2\n}\n')
    put(url, "other/far.usda", '#usda 1.0\ndef "Far" {\n    int x = 1\n}\n')
    put(url, "other/deep.usda", '#usda 1.0\ndef "Deep" {\n    int y = 2\n}\n')
    put(url, "clips/one.usda", EMPTY)
    for tile in ("1001", "1002"):
        put(url, f"textures/wood.{tile}.png", b"png")

    fetched = usd.localize(f"{url}/scene.usda")
    assert [(p.asset, p.reason) for p in fetched.problems] == [
        ("textures/gone.png", "It is not there.")
    ]
    assert fetched.files == 9
    stage = usd.open(f"{url}/scene.usda")
    assert stage.GetPrimAtPath("/Sub")
    assert stage.GetPrimAtPath("/World/near").GetAttribute("y").Get() == 2
    assert stage.GetPrimAtPath("/World/far").GetAttribute("x").Get() == 1
    stage.GetPrimAtPath("/World/choice").GetVariantSet("v").SetVariantSelection("b")
    assert stage.GetPrimAtPath("/World/choice").GetAttribute("b").Get() == 2
    textures = fetched.path.parent / "textures"
    assert sorted(path.name for path in textures.iterdir()) == ["wood.1001.png", "wood.1002.png"]
    assert bytes(files.read_file(f"{url}/scene.usda")[1]) == ROOT.format(url=url).encode()


def test_a_binary_layer_stays_binary(url: str, tmp_path: Path) -> None:
    stage = Usd.Stage.CreateNew(str(tmp_path / "b.usd"))
    stage.DefinePrim("/A").GetReferences().AddReference(f"{url}/far.usda", "/Far")
    stage.Save()
    assert (tmp_path / "b.usd").read_bytes().startswith(b"PXR-USDC")
    files.write_file(f"{url}/b.usd", (tmp_path / "b.usd").read_bytes())
    put(url, "far.usda", '#usda 1.0\ndef "Far" {\n    int x = 1\n}\n')
    fetched = usd.localize(f"{url}/b.usd")
    assert fetched.path.read_bytes().startswith(b"PXR-USDC")
    assert usd.open(f"{url}/b.usd").GetPrimAtPath("/A").GetAttribute("x").Get() == 1


HOSTILE = [
    "../../../../../../../../etc/passwd",
    "/etc/passwd",
    "file:///etc/passwd",
    "//elsewhere/share/x.usda",
    "http://127.0.0.1:9/x.usda",
    "omniverse://elsewhere.example/x.usda",
    "..\\\\..\\\\x.usda",
    "a/../../../../../etc/passwd",
]


@pytest.mark.parametrize("asset", HOSTILE)
def test_hostile_asset_paths_never_leave_the_mirror(url: str, asset: str) -> None:
    layer = Sdf.Layer.CreateAnonymous("hostile.usda")
    prim = Sdf.CreatePrimInLayer(layer, "/A")
    prim.specifier = Sdf.SpecifierDef
    picture = Sdf.AttributeSpec(prim, "picture", Sdf.ValueTypeNames.Asset)
    picture.default = Sdf.AssetPath(asset)
    prim.referenceList.Prepend(Sdf.Reference(asset))
    put(url, "hostile.usda", layer.ExportToString())
    fetched = usd.localize(f"{url}/hostile.usda")
    assert fetched.problems
    mirror = default_client().options.cache_folder.parent / "stages"
    assert all(path.resolve().is_relative_to(mirror) for path in mirror.rglob("*"))
    copy = Sdf.Layer.OpenAsAnonymous(str(fetched.path))
    for path in (
        copy.GetAttributeAtPath("/A.picture").default.authoredPath,
        copy.GetPrimAtPath("/A").referenceList.prependedItems[0].assetPath,
    ):
        inside = (fetched.path.parent / path).resolve()
        assert inside.is_relative_to(mirror)
        assert not inside.exists()


def test_layers_that_refer_to_each_other_end(url: str) -> None:
    put(url, "a.usda", "#usda 1.0\n(\n    subLayers = [@b.usda@]\n)\n")
    put(url, "b.usda", "#usda 1.0\n(\n    subLayers = [@a.usda@]\n)\n")
    assert usd.localize(f"{url}/a.usda").files == 2


def test_too_deep_a_stage_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("downstage.client.stages.fetching.MAX_DEPTH", 3)
    for n in range(6):
        put(url, f"{n}.usda", f"#usda 1.0\n(\n    subLayers = [@{n + 1}.usda@]\n)\n")
    with pytest.raises(TooLarge, match="3 deep"):
        usd.localize(f"{url}/0.usda")


def test_a_file_that_is_no_layer_is_left_to_usd(url: str) -> None:
    put(url, "broken.usda", b"#usda 1.0\ndef {{{")
    assert usd.localize(f"{url}/broken.usda").path.read_bytes().endswith(b"{{{")


def test_what_is_wrong_is_said(url: str) -> None:
    with pytest.raises(NotFound):
        usd.open(f"{url}/absent.usda")
    with pytest.raises(Unavailable, match=r"omniverse://127\.0\.0\.1:9/x\.usda cannot be fetched"):
        usd.open("omniverse://127.0.0.1:9/x.usda")


def test_a_checkpoint_opens_with_what_it_refers_to_now(url: str) -> None:
    body = '#usda 1.0\n(\n    subLayers = [@./part.usda@]\n)\ndef "{}" {{\n}}\n'
    for name, part in (("First", "Old"), ("Second", "New")):
        put(url, "part.usda", f'#usda 1.0\ndef "{part}" {{\n}}\n')
        files.write_file(f"{url}/scene.usda", body.format(name).encode(), message=name)
    first = usd.open(f"{url}/scene.usda?&1")
    present = usd.open(f"{url}/scene.usda")
    assert [prim.GetName() for prim in first.Traverse()] == ["New", "First"]
    assert [prim.GetName() for prim in present.Traverse()] == ["New", "Second"]
    with pytest.raises(NotSupported):
        usd.open_live(f"{url}/scene.usda?&1")
