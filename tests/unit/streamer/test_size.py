"""Who decides how large the picture is, where somebody's page cannot follow."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any, cast

import pytest

from downstage.contracts.streamer import StreamerConfig
from downstage.media.frame import Size
from downstage.media.input import events
from downstage.streamer.house import House
from downstage.streamer.viewer import Viewer

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FIRST, OTHER, LATER = Size(1280, 720), Size(800, 600), Size(640, 480)


class Display:
    """A source that has the size it was last given."""

    def __init__(self) -> None:
        self.size = FIRST
        self.injector = SimpleNamespace(flush=lambda: None)
        self.resized: list[Size] = []

    async def resize(self, size: Size) -> Size:
        self.resized.append(size)
        self.size = size
        return size


@pytest.fixture
def house() -> House:
    config = StreamerConfig(
        instance_id="i", media_socket="/nowhere", display_kind="x11", instance_token=None
    )
    made = House(config, cast("Any", None))
    made.use(cast("Any", Display()))
    made.settle()
    return made


def admit(house: House, peer: str, *, holds: bool = False) -> Viewer:
    viewer = house.admit(peer, "controller", lambda *_: None)
    viewer.holds_size = holds
    return viewer


async def sizes(house: House) -> list[Size]:
    await house._reconcile()
    return cast("Any", house.source).resized


async def test_a_page_that_follows_decides(house: House) -> None:
    admit(house, "page").take(events.Resize(*(OTHER.width, OTHER.height)))
    assert await sizes(house) == [OTHER]


async def test_nobody_changes_it_while_a_page_cannot_follow(house: House) -> None:
    held = admit(house, "held", holds=True)
    page = admit(house, "page")
    page.take(events.Resize(LATER.width, LATER.height))
    page.take(events.Resize(OTHER.width, OTHER.height))
    assert await sizes(house) == []
    assert held.size == FIRST
    house.dismiss(held)
    assert await sizes(house) == [OTHER], "the last wish counts once it may"


async def test_the_one_who_comes_with_a_size_gets_it(house: House) -> None:
    admit(house, "held", holds=True)
    house.resize(OTHER)
    assert await sizes(house) == [OTHER]
