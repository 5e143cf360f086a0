"""Pictures of stages: whose rights they were drawn with, and who is shown them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import anyio
import pytest

from downstage.content import thumbnails
from downstage.content.model import Access, AclEntry, Caller, Reach
from downstage.content.service import Content
from downstage.content.thumbnails import MOST_OF_ONE, Pass, Thumbnails
from downstage.kernel.errors import Forbidden, TooMany
from downstage.spawners.errand import Errand, Errands

pytestmark = [pytest.mark.unit, pytest.mark.anyio]
STAGE = b"#usda 1.0\n(subLayers = [@./secret.usda@])\n"
HIDDEN = Access.READ | Access.WRITE


class Easel:
    """Draws a number instead of the stage."""

    def __init__(self) -> None:
        self.drawn: list[str] = []
        self.may_go_on = anyio.Event()
        self.may_go_on.set()

    async def run(self, errand: Errand) -> bytes:
        self.drawn.append(errand.command[-2])
        await self.may_go_on.wait()
        return b"\x89PNG\r\n\x1a\n" + str(len(self.drawn)).encode()


async def give(name: str, caller: Caller, folder: str) -> Pass:
    del name, caller, folder

    async def end() -> None:
        return

    return Pass("token", end)


@pytest.fixture
def easel() -> Easel:
    return Easel()


@pytest.fixture
def shown(
    content: Content, tmp_path: Path, easel: Easel, monkeypatch: pytest.MonkeyPatch
) -> Thumbnails:
    monkeypatch.setattr(thumbnails, "can_draw", lambda: True)
    errands = cast("Errands", easel)
    return Thumbnails(content, give, tmp_path / "t", public="http://x", sockets="", errands=errands)


async def test_A07_equal_bytes_elsewhere_show_no_picture_of_what_others_refer_to(
    content: Content, shown: Thumbnails, uta: Caller, ben: Caller
) -> None:
    await content.write(uta, "/uta/a.usda", STAGE)
    await content.write(ben, "/ben/a.usda", STAGE)
    _, theirs = await shown.get(uta, "/uta/a.usda")
    _, own = await shown.get(ben, "/ben/a.usda")
    assert own != theirs


async def test_A07_who_may_not_read_all_of_the_folder_has_pictures_of_their_own(
    content: Content, shown: Thumbnails, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/p/a.usda", STAGE)
    await content.write(uta, "/p/secret.usda", b"#usda 1.0\n")
    _, first = await shown.get(uta, "/p/a.usda")
    assert await shown.get(ben, "/p/a.usda") == await shown.get(uta, "/p/a.usda")
    hide = [AclEntry(f"user:{ben.subject}", Access.NONE, HIDDEN)]
    await content.set_acl(admin, "/p/secret.usda", hide)
    tag, second = await shown.get(ben, "/p/a.usda")
    assert second != first
    assert tag != (await shown.get(uta, "/p/a.usda"))[0]


async def test_a_picture_is_drawn_anew_where_the_stage_moved_or_changed(
    content: Content, shown: Thumbnails, easel: Easel, uta: Caller
) -> None:
    await content.write(uta, "/p/a.usda", STAGE)
    await shown.get(uta, "/p/a.usda")
    await content.move(uta, "/p/a.usda", "/p/b.usda")
    await shown.get(uta, "/p/b.usda")
    await content.write(uta, "/p/b.usda", STAGE + b"\n")
    await shown.get(uta, "/p/b.usda")
    assert len(easel.drawn) == 3


async def test_one_person_does_not_take_all_the_turns(
    content: Content, shown: Thumbnails, easel: Easel, uta: Caller, ben: Caller
) -> None:
    easel.may_go_on = anyio.Event()
    for number in range(MOST_OF_ONE + 1):
        await content.write(uta, f"/p/{number}.usda", STAGE)
    async with anyio.create_task_group() as tasks:
        for number in range(MOST_OF_ONE):
            tasks.start_soon(shown.get, uta, f"/p/{number}.usda")
        await anyio.wait_all_tasks_blocked()
        while not easel.drawn:
            await anyio.sleep(0.01)
        with pytest.raises(TooMany):
            await shown.get(uta, f"/p/{MOST_OF_ONE}.usda")
        tasks.start_soon(shown.get, ben, f"/p/{MOST_OF_ONE}.usda")
        easel.may_go_on.set()


async def test_A06_a_token_with_bounds_gets_no_pass(shown: Thumbnails, uta: Caller) -> None:
    bounded: Any = replace(uta, reach=(Reach("/p", Access.READ),))
    with pytest.raises(Forbidden):
        await shown.get(bounded, "/p/a.usda")
