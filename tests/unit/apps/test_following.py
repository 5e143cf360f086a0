"""A scene that follows a live stage: what was touched is read again, at worst all of it."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from pxr import Gf, Sdf, Usd, UsdGeom, UsdShade, Vt

from downstage.apps.usd_viewer.following import Arrival, Follower, Link
from downstage.apps.usd_viewer.scene.reader import Scene

pytestmark = pytest.mark.unit

BOX, OTHER = "/World/box", "/World/other"


class Live:
    """A live stage whose others edit in `process`."""

    def __init__(self) -> None:
        self.stage = Usd.Stage.CreateInMemory()
        UsdGeom.Xform.Define(self.stage, "/World")
        UsdGeom.Cube.Define(self.stage, BOX)
        UsdGeom.Cube.Define(self.stage, OTHER)
        mesh = UsdGeom.Mesh.Define(self.stage, "/World/sheet")
        mesh.CreatePointsAttr([(0, 0, 0), (1, 0, 0), (0, 1, 0)])
        mesh.CreateFaceVertexCountsAttr([3])
        mesh.CreateFaceVertexIndicesAttr([0, 1, 2])
        self.others: list[Callable[[], object]] = []
        self.link = Link(1)
        self.is_closed = False

    def process(self) -> None:
        done, self.others = self.others, []
        for deed in done:
            deed()

    def close(self) -> None:
        self.is_closed = True

    def prim(self, path: str) -> Usd.Prim:
        return self.stage.GetPrimAtPath(path)


class Watchmaker:
    """A clock that stands."""

    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def live() -> Live:
    return Live()


@pytest.fixture
def clock() -> Watchmaker:
    return Watchmaker()


@pytest.fixture
def scene(live: Live) -> Scene:
    return Scene(live.stage, "live")


@pytest.fixture
def follower(live: Live, scene: Scene, clock: Watchmaker) -> Iterator[Follower]:
    made = Follower(live, scene, Arrival(lambda: None), clock=clock)
    yield made
    made.close()
    assert live.is_closed


def test_a_moved_prim_is_moved_without_reading_again(live: Live, follower: Follower) -> None:
    form = UsdGeom.Xformable(live.prim("/World"))
    live.others.append(lambda: form.AddTranslateOp().Set(Gf.Vec3d(1, 2, 3)))
    update = follower.process()
    assert update.scene is None
    assert sorted(change.index for change in update.changes) == [0, 1, 2], "what lies below, too"
    for change in update.changes:
        assert change.matrix is not None
        assert change.matrix[:3, 3].tolist() == [1, 2, 3]


def test_what_begins_to_depend_on_time_moves_with_it(
    live: Live, scene: Scene, follower: Follower
) -> None:
    op = UsdGeom.Xformable(live.prim(BOX)).AddTranslateOp()
    live.others.append(lambda: [op.Set(Gf.Vec3d(time, 0, 0), time) for time in (0, 10)])
    assert follower.process().scene is None
    assert scene.parts[0].is_moving
    assert [change.matrix[0, 3] for change in scene.at(4) if change.matrix is not None] == [4]


def test_a_prim_that_is_hidden_comes_back(live: Live, follower: Follower) -> None:
    box = UsdGeom.Imageable(live.prim(BOX))
    live.others.append(box.MakeInvisible)
    assert [(c.index, c.visible) for c in follower.process().changes] == [(0, False)]
    live.others.append(box.MakeVisible)
    update = follower.process()
    assert (update.scene, [(c.index, c.visible) for c in update.changes]) == (None, [(0, True)])


@pytest.mark.parametrize(
    ("path", "deed"),
    [
        (BOX, lambda prim: UsdGeom.Cube(prim).GetSizeAttr().Set(5)),
        (BOX, lambda prim: UsdGeom.Gprim(prim).CreateDisplayColorAttr([(1, 0, 0)])),
        ("/World/sheet", lambda prim: UsdGeom.Mesh(prim).GetPointsAttr().Set(_larger())),
    ],
    ids=["size", "colour", "points"],
)
def test_a_form_and_a_colour_are_read_again_alone(
    live: Live, scene: Scene, follower: Follower, path: str, deed: Callable[[object], object]
) -> None:
    index = [part.path for part in scene.parts].index(path)
    before = list(scene.parts)
    live.others.append(lambda: deed(live.prim(path)))
    update = follower.process()
    assert update.scene is None
    assert [(c.index, c.is_redrawn) for c in update.changes] == [(index, True)]
    assert [one is two for one, two in zip(scene.parts, before, strict=True)] == [
        number != index for number in range(3)
    ]


def _larger() -> Vt.Vec3fArray:
    return Vt.Vec3fArray([(0, 0, 0), (4, 0, 0), (0, 4, 0)])


def bind(stage: Usd.Stage) -> None:
    look = UsdShade.Material.Define(stage, "/World/look")
    UsdShade.MaterialBindingAPI.Apply(stage.GetPrimAtPath(BOX)).Bind(look)


@pytest.mark.parametrize(
    ("deed", "parts"),
    [
        (lambda stage: UsdGeom.Sphere.Define(stage, "/World/ball"), 4),
        (lambda stage: stage.RemovePrim(BOX), 2),
        (lambda stage: stage.GetPrimAtPath(BOX).SetActive(False), 2),
        (bind, 3),
        (lambda stage: stage.SetEndTimeCode(10), 3),
    ],
    ids=["made", "removed", "deactivated", "bound", "longer"],
)
def test_all_else_reads_the_stage_again(
    live: Live, follower: Follower, deed: Callable[[object], object], parts: int
) -> None:
    live.others.append(lambda: deed(live.stage))
    update = follower.process()
    assert update.scene is not None
    assert len(update.scene.parts) == parts


def test_a_prototype_is_read_again_with_its_copies(live: Live, clock: Watchmaker) -> None:
    copies = UsdGeom.PointInstancer.Define(live.stage, "/World/copies")
    UsdGeom.Cube.Define(live.stage, "/World/copies/one")
    copies.CreatePrototypesRel().AddTarget("/World/copies/one")
    copies.CreateProtoIndicesAttr([0, 0])
    copies.CreatePositionsAttr([(0, 0, 0), (5, 0, 0)])
    follower = Follower(live, Scene(live.stage, "live"), Arrival(lambda: None), clock=clock)
    live.others.append(lambda: copies.GetPositionsAttr().Set([(0, 0, 0), (9, 0, 0)]))
    update = follower.process()
    assert (update.scene, [c.is_redrawn for c in update.changes]) == (None, [True])
    cube = UsdGeom.Cube(live.prim("/World/copies/one"))
    live.others.append(lambda: cube.GetSizeAttr().Set(7))
    assert follower.process().scene is not None
    follower.close()


def test_many_readings_are_spread(live: Live, follower: Follower, clock: Watchmaker) -> None:
    live.others.append(lambda: live.prim(BOX).SetActive(False))
    assert follower.process().scene is not None
    live.others.append(lambda: live.prim(OTHER).SetActive(False))
    assert follower.process().scene is None
    assert follower.is_stale
    wait = follower.patience()
    assert wait is not None
    assert 0 < wait <= 1
    clock.now += wait
    assert follower.patience() == 0
    update = follower.process()
    assert update.scene is not None
    assert [part.path for part in update.scene.parts] == ["/World/sheet"]
    assert (follower.is_stale, follower.patience()) == (False, None)


def test_what_no_picture_shows_costs_nothing(live: Live, follower: Follower) -> None:
    live.others += [
        lambda: live.stage.GetRootLayer().__setattr__("comment", "a word"),
        lambda: live.prim(BOX).SetDocumentation("a box"),
        lambda: live.prim(BOX).CreateAttribute("userProperties:n", Sdf.ValueTypeNames.Int).Set(1),
    ]
    update = follower.process()
    assert (update.scene, update.changes, update.is_told) == (None, [], False)


def test_how_the_link_stands_is_told_once(live: Live, follower: Follower) -> None:
    assert (follower.notice, follower.people) == ("", "live")
    live.link = Link()
    assert follower.process().is_told
    assert (follower.notice, follower.people) == ("Offline, showing the last state", "")
    assert not follower.process().is_told
    live.link = Link(3)
    assert follower.process().is_told
    assert (follower.notice, follower.people) == ("", "live, 2 more here")


def test_an_edit_that_breaks_the_reader_is_told_until_the_next(
    live: Live, follower: Follower, monkeypatch: pytest.MonkeyPatch, clock: Watchmaker
) -> None:
    from downstage.apps.usd_viewer import following

    def broken(*_: object) -> Scene:
        raise ValueError("not this")

    with monkeypatch.context() as patch:
        patch.setattr(following, "Scene", broken)
        live.others.append(lambda: live.prim(BOX).SetActive(False))
        assert follower.process().scene is None
    assert "not this" in follower.notice
    assert follower.patience() is None, "nobody tries it again and again"
    clock.now += 10
    live.others.append(lambda: live.prim(BOX).SetActive(True))
    assert follower.process().scene is not None
    assert follower.notice == ""


def test_the_viewer_is_woken_once_until_it_looks() -> None:
    woken = list[int]()
    arrival = Arrival(lambda: woken.append(1))
    arrival()
    arrival()
    assert len(woken) == 1
    arrival.looked()
    arrival()
    assert len(woken) == 2
