"""A scene that follows a live stage: moved for transforms, read again for the rest."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pxr import Gf, Usd, UsdGeom

from downstage.apps.usd_viewer.following import Arrival, Follower
from downstage.apps.usd_viewer.scene.reader import Scene

pytestmark = pytest.mark.unit


class Live:
    """A live stage whose others edit in `process`."""

    def __init__(self) -> None:
        self.stage = Usd.Stage.CreateInMemory()
        UsdGeom.Xform.Define(self.stage, "/World")
        UsdGeom.Cube.Define(self.stage, "/World/box")
        UsdGeom.Cube.Define(self.stage, "/World/other")
        self.others: list[Callable[[], object]] = []
        self.is_closed = False

    def process(self) -> int:
        done, self.others = self.others, []
        for deed in done:
            deed()
        return len(done)

    def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def live() -> Live:
    return Live()


@pytest.fixture
def follower(live: Live) -> Iterator[Follower]:
    made = Follower(live, Scene(live.stage, "live"), Arrival(lambda: None))
    yield made
    made.close()
    assert live.is_closed


def test_a_moved_prim_is_moved_without_reading_again(live: Live, follower: Follower) -> None:
    form = UsdGeom.Xformable(live.stage.GetPrimAtPath("/World"))
    form.AddTranslateOp().Set(Gf.Vec3d(0, 0, 0))
    follower.process(0)
    live.others.append(lambda: form.GetTranslateOp().Set(Gf.Vec3d(1, 2, 3)))
    update = follower.process(0)
    assert update.scene is None
    assert [change.index for change in update.changes] == [0, 1], "what lies below moves too"
    for change in update.changes:
        assert change.matrix is not None
        assert change.matrix[:3, 3].tolist() == [1, 2, 3]


def test_an_op_that_is_new_moves_as_well(live: Live, follower: Follower) -> None:
    box = UsdGeom.Xformable(live.stage.GetPrimAtPath("/World/box"))
    live.others.append(lambda: box.AddTranslateOp().Set(Gf.Vec3d(4, 0, 0)))
    update = follower.process(0)
    assert update.scene is None
    assert [(c.index, c.matrix[0, 3]) for c in update.changes if c.matrix is not None] == [(0, 4)]


@pytest.mark.parametrize(
    ("deed", "parts"),
    [
        (lambda stage: UsdGeom.Sphere.Define(stage, "/World/ball"), 3),
        (lambda stage: stage.RemovePrim("/World/box"), 1),
        (lambda stage: stage.GetPrimAtPath("/World/box").SetActive(False), 1),
        (lambda stage: UsdGeom.Imageable(stage.GetPrimAtPath("/World/box")).MakeInvisible(), 1),
        (lambda stage: UsdGeom.Cube(stage.GetPrimAtPath("/World/box")).GetSizeAttr().Set(5), 2),
    ],
    ids=["made", "removed", "deactivated", "hidden", "resized"],
)
def test_all_else_reads_the_stage_again(
    live: Live, follower: Follower, deed: Callable[[object], object], parts: int
) -> None:
    live.others.append(lambda: deed(live.stage))
    update = follower.process(0)
    assert update.scene is not None
    assert len(update.scene.parts) == parts


def test_nothing_is_shown_anew_for_nothing(follower: Follower) -> None:
    update = follower.process(0)
    assert update.scene is None
    assert update.changes == []


def test_the_viewer_is_woken_once_until_it_looks() -> None:
    woken = list[int]()
    arrival = Arrival(lambda: woken.append(1))
    arrival()
    arrival()
    assert len(woken) == 1
    arrival.looked()
    arrival()
    assert len(woken) == 2
