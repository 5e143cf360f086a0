"""Applications are published in versions, found, changed and removed; crashes leave old or new."""

from __future__ import annotations

import hashlib
from pathlib import Path

import anyio
import pytest

from downstage.contracts.applications import ApplicationPatch
from downstage.contracts.manager import Display, InstanceCreate, Needs
from downstage.kernel.errors import (
    Conflict,
    InvalidField,
    NotFound,
    PlatformError,
    TooLarge,
)
from downstage.manager.planning import Planner

from .conftest import House, app, open_house, tar_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)

PROFILES = """
tags = ["cad"]
[profiles.small]
memory_mb = 128
max_width = 800
environment = { QUALITY = "low" }
arguments = ["--low"]
pool = { size = 2 }
"""


@both
async def test_versions_grow_and_the_newest_published_is_the_latest(house: House) -> None:
    applications = house.applications
    data = app()
    upload = await house.upload(data, hashlib.sha256(data).hexdigest().upper())
    first = await applications.publish(upload, by="u-1")
    assert (first.number, first.status, first.published) == (1, "ready", True)
    assert first.created_by == "u-1"
    second = await applications.publish(await house.upload(app(title="New")), by="u-2")
    hidden = await applications.publish(await house.upload(app()), by="u-2", publish=False)
    assert (second.number, hidden.number, hidden.published) == (2, 3, False)
    detail = await applications.get("viewer")
    assert (detail.latest, detail.title, detail.owner) == (2, "New", "u-1")
    assert [item.number for item in detail.versions] == [3, 2, 1]
    assert (await applications.get(detail.id)).name == "viewer"
    assert (await applications.version("viewer")).number == 2
    await applications.set_published("viewer", 3, published=True)
    await applications.set_published("viewer", 2, published=False)
    assert (await applications.get("viewer")).latest == 3
    assert b"bin/run" in (await applications.manifest("viewer", 1)).text
    # What was removed leaves its number behind, and its files do not stay.
    await applications.delete_version("viewer", 3)
    again = await applications.publish(await house.upload(app()), by="u-1")
    assert again.number == 4
    assert {name.split("/")[2] for name in house.files()} == {"1", "2", "4"}
    await applications.delete("viewer")
    assert not house.files()
    with pytest.raises(NotFound):
        await applications.get("viewer")


async def test_declared_ones_are_read_only_and_have_one_version(house: House) -> None:
    applications = house.applications
    card = await applications.get("card")
    assert (card.source, card.latest, card.immutable) == ("declared", 1, True)
    assert [profile.name for profile in await applications.profiles("card", 1)] == ["default"]
    assert b'name = "card"' in (await applications.manifest("card")).text
    with pytest.raises(Conflict, match="read-only"):
        await applications.publish(await house.upload(app("card")), by="u-1")
    for change in (
        applications.change("card", ApplicationPatch(title="x")),
        applications.delete("card", force=True),
        applications.set_published("card", 1, published=False),
    ):
        with pytest.raises(Conflict, match="read-only"):
            await change
    with pytest.raises(NotFound):
        await applications.version("card", 2)
    assert not house.files()


@both
async def test_fields_change_without_a_version_and_immutable_is_for_good(house: House) -> None:
    applications = house.applications
    await applications.publish(await house.upload(app(more=PROFILES)), by="u-1")
    assert [item.name for item in await applications.list(tags=["cad"])] == ["viewer"]
    changed = await applications.change("viewer", ApplicationPatch(tags=["a", "b"], title="T"))
    assert (changed.tags, changed.title) == (["a", "b"], "T")
    assert not await applications.list(tags=["cad"])
    await applications.change("viewer", ApplicationPatch(immutable=True))
    with pytest.raises(Conflict, match="immutable"):
        await applications.change("viewer", ApplicationPatch(title="x"))
    with pytest.raises(Conflict, match="immutable"):
        await applications.publish(await house.upload(app()), by="u-1")
    with pytest.raises(Conflict, match="immutable"):
        await applications.set_published("viewer", 1, published=False)
    await applications.delete("viewer")


@pytest.mark.parametrize(
    ("data", "digest", "error"),
    [
        pytest.param(app(), "0" * 64, InvalidField, id="another digest"),
        pytest.param(app(), "../x", InvalidField, id="no digest"),
        pytest.param(b"hello", None, InvalidField, id="no archive"),
        pytest.param(tar_of({"x": b""}), None, InvalidField, id="no manifest"),
        pytest.param(tar_of({"application.toml": b"\xff"}), None, InvalidField, id="no text"),
        pytest.param(app(more="x = 1"), None, InvalidField, id="an unknown key"),
        pytest.param(app("app-" + "a" * 26), None, InvalidField, id="a name like an id"),
        pytest.param(
            app(more='environment = { LD_PRELOAD = "x" }'), None, InvalidField, id="S01 loader"
        ),
        pytest.param(app(more='read_only = ["/"]'), None, InvalidField, id="S01 host folder"),
        pytest.param(bytes(2 << 20), None, TooLarge, id="too long"),
        pytest.param(
            tar_of({"application.toml": b"", "../x": b""}), None, InvalidField, id="C03 slip"
        ),
    ],
)
async def test_C03_S01_what_is_refused_leaves_nothing_behind(
    data: Path, tmp_path: Path, request: pytest.FixtureRequest, digest: str | None, error: type
) -> None:
    archive: bytes = request.node.callspec.params["data"]
    async with open_house(tmp_path, None, max_upload=1 << 20) as house:
        with pytest.raises(error) as refused:
            await house.applications.publish(await house.upload(archive, digest), by="u-1")
        assert isinstance(refused.value, PlatformError)
        assert refused.value.status in (413, 422)
        assert not house.files()
        assert [item.name for item in await house.applications.list()] == ["card"]


async def test_a_version_that_cannot_be_unpacked_says_why(house: House) -> None:
    applications = house.applications
    await applications.publish(await house.upload(app()), by="u-1")
    begun = await applications.begin(await house.upload(app()), by="u-1")
    assert begun.status == "initializing"
    with pytest.raises(Conflict, match="unpacked"):
        await applications.delete("viewer")
    # The archive is not what it was when it was looked at.
    (uploaded,) = (house.data / "manager" / "uploads").iterdir()
    uploaded.write_bytes(b"PK")
    failed = await applications.finish(begun.application_id, begun.number)
    assert failed.status == "error"
    assert failed.error
    assert (await applications.get("viewer")).latest == 1
    with pytest.raises(Conflict, match="of no use"):
        await applications.set_published("viewer", 2, published=True)
    with pytest.raises(NotFound, match="not ready"):
        await house.parts.offered.find("viewer", 2)
    assert all("/1/" in name for name in house.files())


@both
async def test_a_crash_leaves_old_or_new(data: Path, database: str | None) -> None:
    async with open_house(data, database) as house:
        await house.applications.publish(await house.upload(app()), by="u-1")
        begun = await house.applications.begin(await house.upload(app()), by="u-1")
        late = await house.applications.begin(await house.upload(app()), by="u-1")
        home = data / "manager" / "applications" / begun.application_id
        # Broken off in the middle of the second, and right after the rename of the third.
        (home / ".new-x").mkdir()
        (home / ".new-x" / "half").write_bytes(b"x")
        (home / str(late.number)).mkdir()
        (home / "99").mkdir()
        (data / "manager" / "applications" / "app-stranger" / "1").mkdir(parents=True)
    async with open_house(data, database) as house:
        found = {item.number: item for item in await house.applications.versions("viewer")}
        assert [found[n].status for n in (1, 2, 3)] == ["ready", "error", "ready"]
        assert found[2].error is not None
        assert "Publish it again" in found[2].error
        assert sorted(path.name for path in home.iterdir()) == ["1", "3"]
        assert [path.name for path in home.parent.iterdir()] == [home.name]
        assert not (data / "manager" / "uploads").exists()


@both
async def test_many_at_once_get_numbers_of_their_own(house: House) -> None:
    numbers: list[int] = []

    async def publish() -> None:
        found = await house.applications.publish(await house.upload(app()), by="u-1")
        numbers.append(found.number)

    async with anyio.create_task_group() as tasks:
        for _ in range(6):
            tasks.start_soon(publish)
    assert sorted(numbers) == [1, 2, 3, 4, 5, 6]
    assert len(await house.applications.list()) == 2


async def test_what_runs_is_not_removed_unless_it_is_forced(house: House) -> None:
    applications, live = house.applications, house.instances.live
    await applications.publish(await house.upload(app()), by="u-1")
    await applications.publish(await house.upload(app()), by="u-1")
    live["i-1"] = ("viewer", 1)
    with pytest.raises(Conflict, match="1 instances"):
        await applications.delete_version("viewer", 1)
    await applications.delete_version("viewer", 2)
    with pytest.raises(Conflict, match="1 instances"):
        await applications.delete("viewer")
    # One that will not end keeps its files, until it has.
    house.instances.stays = True
    await applications.delete("viewer", force=True)
    assert len(house.files()) == 2
    live.clear()
    await applications.publish(await house.upload(app("other")), by="u-1")
    await applications.delete("other")
    assert not house.files()


async def test_a_published_application_is_planned_by_version_and_profile(house: House) -> None:
    applications = house.applications
    await applications.publish(await house.upload(app()), by="u-1")
    await applications.publish(
        await house.upload(app(more='images = ["registry.example/viewer:1"]' + PROFILES)), by="u-1"
    )
    planner = Planner(house.parts.declared, [], published=house.parts.offered)
    request = InstanceCreate(
        owner="u-1",
        application="registry.example/viewer:7",
        needs=Needs(cpus=1.5),
        display=Display(width=1920, height=1080),
        user_data="mine",
        labels={"team": "a"},
        environment={"MORE": "1"},
        arguments=["--x"],
    )
    planned = await planner.plan("i-1", request)
    assert (planned.application, planned.version, planned.profile) == ("viewer", 2, "small")
    assert planned.needs == Needs(cpus=1.5, memory_mb=128)
    spec = planned.spec
    assert spec.folder is not None
    assert spec.command == (f"{spec.folder}/bin/run", "--low", "--x")
    assert (spec.folder / "bin" / "run").is_file()
    assert spec.environment == {"QUALITY": "low", "MORE": "1"}
    assert (spec.display.width, spec.display.height) == (800, 1080)
    assert spec.largest == (800, 65535)
    assert (spec.user_data, spec.labels, spec.memory_mb) == ("mine", {"team": "a"}, 128)
    old = await planner.plan(
        "i-1", request.model_copy(update={"application": "viewer", "version": 1})
    )
    assert (old.version, old.profile) == (1, "default")
    for changes, error in (
        ({"version": 9}, NotFound),
        ({"profile": "huge"}, InvalidField),
        ({"image": "evil.example/x"}, InvalidField),
        ({"addons": ["none"]}, InvalidField),
    ):
        with pytest.raises(error):
            await planner.plan("i-1", request.model_copy(update=changes))
    assert [view.name for view in (await planner.page()).items] == ["card", "viewer"]
    assert (await planner.view("viewer")).title == "Viewer"
    (pool,) = await applications.pools()
    assert (pool.application, pool.version, pool.profile, pool.size) == ("viewer", 2, "small", 2)
