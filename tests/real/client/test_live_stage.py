"""Live stages through a real server and the real client: two people at one file."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
from pxr import Gf, Sdf, Usd, UsdGeom

from downstage import client
from downstage.client import files, usd
from downstage.client.stages.live_stage import LiveStage
from downstage.client.types import UsdLiveMode
from downstage.kernel.errors import NotFound

pytestmark = pytest.mark.real

SCENE = b"""#usda 1.0
(
    defaultPrim = "World"
    metersPerUnit = 1
)
def Xform "World" {
    def Cube "box" {
        double size = 1
        double3 xformOp:translate = (0, 0, 0)
        double3 xformOp:translate.timeSamples = {
            1: (1, 0, 0),
        }
        uniform token[] xformOpOrder = ["xformOp:translate"]
    }
}
"""


@pytest.fixture
def scene(url: str) -> str:
    files.write_file(f"{url}/scene.usda", SCENE)
    return f"{url}/scene.usda"


def until(holds: Callable[[], bool], *stages: LiveStage) -> None:
    end = time.monotonic() + 20
    while not holds():
        assert time.monotonic() < end, "it did not come"
        for stage in stages:
            stage.wait(0.02)
            stage.process()


def test_what_one_does_the_other_sees(scene: str) -> None:
    with usd.open_live(scene) as one, usd.open_live(scene) as two:
        UsdGeom.Sphere.Define(one.stage, "/World/ball").CreateRadiusAttr(3)
        one.settle(durable=True)
        until(lambda: bool(two.stage.GetPrimAtPath("/World/ball")), two)
        assert UsdGeom.Sphere(two.stage.GetPrimAtPath("/World/ball")).GetRadiusAttr().Get() == 3
        until(lambda: len(one.people) == 2, one)
        assert [person.name for person in one.people] == ["alice", "alice"]
        assert bytes(files.read_file(scene)[1]) == SCENE, "the file is not touched"
        assert one.undo()
        one.settle()
        until(lambda: not two.stage.GetPrimAtPath("/World/ball"), two)


def test_both_edit_at_once_and_end_alike(scene: str) -> None:
    with usd.open_live(scene) as one, usd.open_live(scene) as two:
        for turn in range(20):
            for who, stage in ((1, one), (2, two)):
                prim = stage.stage.DefinePrim(f"/World/p{turn % 5}", "Xform")
                prim.CreateAttribute("x", Sdf.ValueTypeNames.Double3).Set(Gf.Vec3d(who, turn, 0))
                stage.process()
        one.settle()
        two.settle()
        until(lambda: one.layer.ExportToString() == two.layer.ExportToString(), one, two)
        with usd.open_live(scene) as late:
            assert late.layer.ExportToString() == one.layer.ExportToString()


def test_merging_writes_a_checkpoint_and_changes_no_picture(scene: str) -> None:
    with usd.open_live(scene) as one, usd.open_live(scene) as two:
        box = one.stage.GetPrimAtPath("/World/box")
        box.GetAttribute("xformOp:translate").Set(Gf.Vec3d(5, 0, 0))
        box.GetReferences().AddInternalReference("/World")
        one.stage.SetMetadata("metersPerUnit", 0.01)
        before = one.stage.Flatten().ExportToString()
        one.merge("move the box")
        assert one.layer.empty
        assert one.stage.Flatten().ExportToString() == before
        until(lambda: two.layer.empty and two.live.session.epoch == 2, two)
        assert two.stage.GetPrimAtPath("/World/box").GetAttribute(
            "xformOp:translate"
        ).Get() == Gf.Vec3d(5, 0, 0)
        assert [entry.comment for entry in files.list_checkpoints(scene)] == ["move the box"]
        two.stage.DefinePrim("/World/after")
        two.settle()
        until(lambda: bool(one.stage.GetPrimAtPath("/World/after")), one)
    merged = Usd.Stage.CreateInMemory()
    merged.GetRootLayer().ImportFromString(bytes(files.read_file(scene)[1]).decode())
    translate = merged.GetPrimAtPath("/World/box").GetAttribute("xformOp:translate")
    assert translate.Get(1.0) == Gf.Vec3d(5, 0, 0), "a default over samples hides them"


def test_the_published_functions_drive_a_stage(scene: str) -> None:
    client.usd_live_set_mode_for_url(scene, UsdLiveMode.ENABLED)
    assert client.usd_live_get_mode_for_url(scene) is UsdLiveMode.ENABLED
    assert client.usd_live_get_latest_server_time(scene) == 0
    stage = usd.open(scene)
    with usd.open_live(scene) as other:
        stage.DefinePrim("/World/new")
        client.usd_live_wait_for_pending_updates()
        until(lambda: bool(other.stage.GetPrimAtPath("/World/new")), other)
        other.stage.DefinePrim("/World/answer")
        other.settle()
        sent = other.live.time
        client.usd_live_process_up_to(scene, sent - 1)
        assert not stage.GetPrimAtPath("/World/answer"), "it is of a later time"

        def processed() -> bool:
            client.usd_live_process()
            return bool(stage.GetPrimAtPath("/World/answer"))

        until(processed, other)
        assert client.usd_live_get_latest_server_time(scene) == sent
    client.usd_live_set_mode_for_url(scene, UsdLiveMode.DISABLED)


def test_there_is_no_layer_without_a_file(url: str) -> None:
    with pytest.raises(NotFound):
        usd.open_live(f"{url}/absent.usda")
