"""Addons bring hooks to applications that name them; images have names; what is used stays."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.contracts.applications import ImageCreate
from downstage.contracts.manager import InstanceCreate
from downstage.kernel.errors import AlreadyExists, Conflict, InvalidField, NotFound
from downstage.manager.planning import Planner

from .conftest import House, app, open_house, pieces, tar_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SSH = b'name = "ssh"\ndescription = "D"\n[hooks]\ntimeout_s = 9\n'
RUN = b"#!/bin/sh\n"


async def publish_addon(house: House, manifest: bytes = SSH, name: str = "addon.toml") -> int:
    addons = house.applications.addons
    data = tar_of({name: manifest, "hooks/pre-start": RUN, "hooks/post-stop": RUN})
    view = await addons.publish(await addons.receive(pieces(data)), by="u-1")
    return view.versions[0].number


async def test_hooks_of_addons_come_before_the_applications_own(house: House) -> None:
    assert await publish_addon(house) == 1
    assert await publish_addon(house) == 2
    archive = app(more='addons = ["ssh"]\n', hooks__post_stop=RUN, **{"hooks__pre-start": RUN})
    await house.applications.publish(await house.upload(archive), by="u-1")
    planner = Planner(house.parts.declared, [], published=house.parts.offered)
    request = InstanceCreate(owner="u-1", application="viewer", addons=["ssh"])
    spec = (await planner.plan("i-1", request)).spec
    assert [(hook.stage, hook.owner) for hook in spec.hooks] == [
        ("pre-start", "ssh"),
        ("post-stop", "ssh"),
        ("pre-start", ""),
    ]
    first = spec.hooks[0]
    assert first.timeout_s == 9
    assert Path(first.folder).name == "2"
    assert first.command == [f"{first.folder}/hooks/pre-start"]
    assert Path(first.folder) in spec.read_only
    (view,) = await house.applications.addons.list(await house.applications.users_of_addons())
    assert (view.name, view.description, view.used_by) == ("ssh", "D", ["viewer"])
    with pytest.raises(Conflict, match="viewer"):
        await house.applications.addons.delete("ssh", await house.applications.users_of_addons())
    await house.applications.delete("viewer")
    await house.applications.addons.delete("ssh", {})
    assert not house.files()


async def test_addons_of_the_other_form_and_those_that_are_none(house: House) -> None:
    text = b"name: metrics\nversion: 1\nhooks: {timeout: 2m}\n"
    await publish_addon(house, text, "manifest.yaml")
    (hook, _) = await house.applications.addons.hooks(["metrics"])
    assert hook.timeout_s == 120
    for manifest in (b"name = 1", b'name = "a"\nroot = true', b"[", b"\xff"):
        with pytest.raises(InvalidField):
            await publish_addon(house, manifest)
    with pytest.raises(InvalidField):
        await house.applications.addons.hooks(["none"])
    assert [view.name for view in await house.applications.addons.list()] == ["metrics"]


@pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)
async def test_images_have_names_if_they_may_run(data: Path, database: str | None) -> None:
    async with open_house(data, database, images=["good.example/*"]) as house:
        images = house.applications.images
        reference = "good.example/app@sha256:" + "a" * 64
        added = await images.add(ImageCreate(name="desk", reference=reference))
        assert added.allowed
        with pytest.raises(AlreadyExists):
            await images.add(ImageCreate(name="desk", reference="good.example/other"))
        for bad in ("evil.example/app", "good.example/-v /:/host", "good.example/../x"):
            with pytest.raises(InvalidField):
                await images.add(ImageCreate(name="bad", reference=bad))
        # A manifest may say the name, or an image that nobody registered.
        for name, image in (("one", "desk"), ("two", "good.example/two")):
            manifest = f'name = "{name}"\ntitle = "T"\nimage = "{image}"\n'.encode()
            archive = tar_of({"application.toml": manifest})
            version = await house.applications.publish(await house.upload(archive), by="u-1")
            assert version.image == (reference if name == "one" else image)
        found = await images.list(await house.applications.users_of_images())
        assert [(view.name, view.used_by) for view in found] == [
            ("desk", ["one"]),
            ("good.example/two", ["two"]),
        ]
        await images.remove(added.id)
        with pytest.raises(NotFound):
            await images.get("desk")
    # The operator's list counts when something starts, not when it was published.
    async with open_house(data, database) as house:
        with pytest.raises(InvalidField, match=r"manager\.images"):
            await house.parts.offered.find("one", None)
