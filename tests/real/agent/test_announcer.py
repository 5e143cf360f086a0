"""An agent tells of itself: at the start, as time goes by, at each change, and when it goes."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.agent.announcer import Announcer, free_of
from downstage.agent.bridge import Bridge, Site
from downstage.bus import MemoryBus
from downstage.contracts.agent import ANY_ANNOUNCED, Announcement
from downstage.contracts.manager import INSTANCE_CHANGED
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import SetupError, Unavailable
from downstage.kernel.settings import load
from downstage.services import AsyncClient
from downstage.services.context import PlatformUrls
from downstage.services.host import ServiceHost
from downstage.services.registry import create_app

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SOON_S = 10.0


class Place:
    """An agent before a manager double, and a gateway's ear."""

    def __init__(self, interval_s: float) -> None:
        self.bus = MemoryBus()
        self.running = 1
        self.is_away = False
        app = create_app("manager double")
        app.add_api_route("/v1/health", self.health, methods=["GET"])
        site = Site("eu", 52.5, 13.4, "https://p")
        client = AsyncClient("local://m", app=app, retries=0)
        self.bridge = Bridge(site, lambda _: client, self.bus)
        self.announcer = Announcer(self.bridge, self.bus, ManualClock(), interval_s)
        self._heard: Any = None

    async def health(self) -> dict[str, Any]:
        if self.is_away:
            raise Unavailable("away")
        return {"ok": True, "capacity": 4, "running": self.running}

    @asynccontextmanager
    async def listening(self) -> AsyncGenerator[Place]:
        hints = self.bus.subscribe(ANY_ANNOUNCED)
        async with hints as self._heard, anyio.create_task_group() as tasks:
            tasks.start_soon(self.announcer.run)
            yield self
            tasks.cancel_scope.cancel()

    async def hear(self) -> Announcement:
        with anyio.fail_after(SOON_S):
            hint = await anext(self._heard)
        assert hint.subject == "agent.eu.announce"
        return Announcement.model_validate(dict(hint.payload))


async def test_it_tells_what_gateways_need_to_know() -> None:
    async with Place(interval_s=3600).listening() as place:
        told = await place.hear()
        assert (told.state, told.capacity, told.free, told.interval_s) == ("up", 4, 3, 3600)
        assert (told.latitude, told.longitude, told.probe) == (52.5, 13.4, "https://p")
        assert told.agent == place.bridge.agent
        # Long before its time is up: a place was taken.
        place.running = 2
        place.bus.publish(INSTANCE_CHANGED, {"instance_id": "i"})
        assert (await place.hear()).free == 2
        place.announcer.leave()
        assert (await place.hear()).state == "leaving"


async def test_it_goes_on_telling_and_says_when_its_manager_is_away() -> None:
    async with Place(interval_s=0.05).listening() as place:
        assert {(await place.hear()).state for _ in range(3)} == {"up"}
        place.is_away = True
        while (told := await place.hear()).state == "up":
            pass
        assert (told.state, told.free, told.capacity) == ("no-manager", 0, 0)
        place.is_away = False
        while (await place.hear()).state != "up":
            pass


@pytest.mark.parametrize(
    ("health", "places"),
    [
        ({"capacity": 4, "running": 1}, (4, 3)),
        ({"capacity": 4, "running": 6}, (4, 0)),
        ({"capacity": 4, "running": 1, "free": 2}, (4, 2)),
        ({}, (0, 0)),
    ],
)
def test_what_is_free_is_what_the_manager_says(
    health: dict[str, Any], places: tuple[int, int]
) -> None:
    assert free_of(health) == places


@pytest.mark.parametrize(
    ("more", "text"),
    [
        ({"agent.announce": True}, r"it needs bus\.url"),
        ({"gateway.discover": True}, r"it needs bus\.url"),
        ({"agent.announce": True, "bus.url": "nats://127.0.0.1:1", "agent.region": "a.b"}, "56"),
        (
            {
                "agent.announce": True,
                "bus.url": "nats://127.0.0.1:1",
                "agent.announce_interval": 0,
            },
            "longer than 0",
        ),
    ],
)
async def test_settings_that_cannot_work_are_refused_at_the_start(
    data: Path, more: dict[str, Any], text: str
) -> None:
    settings = load(environment={}, overrides={"platform.data": data, **more})
    urls = PlatformUrls("http://127.0.0.1:1", "unix:///nowhere")
    name = next(iter(more)).partition(".")[0]
    host = ServiceHost(settings, urls, services=("identity", name))
    with pytest.raises(SetupError, match=text):
        async with host.run():
            pass
