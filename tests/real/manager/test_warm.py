"""A session on an instance that waited, with the real streamer: its picture is there sooner."""

from __future__ import annotations

import time
from pathlib import Path

import anyio
import pytest
from aiohttp import ClientSession, UnixConnector, WSMsgType
from pydantic import SecretStr

from downstage.contracts.manager import InstanceCreate, InstanceView
from downstage.contracts.streamer import MEDIA_HEADER, VIDEO
from downstage.kernel.clock import SystemClock
from downstage.manager.catalogue.declared import Declared
from downstage.manager.catalogue.service import Pool
from downstage.manager.pools.keeper import PoolKeeper
from downstage.spawners.process import ProcessSettings
from downstage.testing.instances import own_folder
from downstage.testing.streaming import TOKEN, GatewayEnd

from .conftest import Manager, run_manager
from .fleet import declared_pools

pytestmark = [pytest.mark.real, pytest.mark.anyio]
CARD = """
name = "card"
title = "Test card"
command = ["{python}", "-m", "downstage.apps.test_card", "--size", "{width}x{height}"]
resources.start_deadline_s = 30
[profiles.main.pool]
size = 1
[profiles.main.environment]
SDL_FRAMEBUFFER_ACCELERATION = "0"
"""


def pools_of(manager: Manager, data: Path) -> PoolKeeper:
    declared = Declared([data / "applications"])

    async def wanted() -> list[Pool]:
        return declared_pools(await declared.reload())

    return PoolKeeper(manager.instances, manager.planner, wanted, SystemClock())


async def first_frame(made: InstanceView, gateway: GatewayEnd) -> float:
    """When the first encoded picture of the session's instance reached a viewer."""
    ready = await gateway.hear("ready")
    assert (ready["width"], ready["height"]) == (1280, 720)
    assert made.media_socket is not None
    async with (
        ClientSession(connector=UnixConnector(made.media_socket)) as session,
        session.ws_connect("http://streamer/media?peer=p&role=controller") as socket,
    ):
        with anyio.fail_after(15):
            async for message in socket:
                is_binary = message.type is WSMsgType.BINARY
                if is_binary and MEDIA_HEADER.unpack_from(message.data)[0] == VIDEO:
                    break
    return time.monotonic()


async def test_a_warm_start_is_a_session_with_a_picture_and_sooner_than_a_cold_one(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    gateway = GatewayEnd(data)
    await gateway.open()

    def request(session: str, **changes: object) -> InstanceCreate:
        return InstanceCreate(
            session_id=session,
            owner="u-1",
            application="card",
            instance_token=SecretStr(TOKEN),
            link_url=f"unix://{gateway.socket}",
            access_token=SecretStr("the-person's-own-token"),
            user_data="for the application",
            **changes,  # type: ignore[arg-type]
        )

    try:
        async with run_manager(data, streamer=ProcessSettings().streamer, audio=True) as manager:
            (data / "applications" / "card").mkdir()
            (data / "applications" / "card" / "application.toml").write_text(CARD)
            began = time.monotonic()
            cold = await manager.instances.create(request("s-cold", environment={"A": "b"}))
            running = await manager.until(cold.id, "running", seconds=40)
            cold_s = await first_frame(running, gateway) - began
            await manager.instances.stop(cold.id)
            await manager.until(cold.id, "ended")
            await pools_of(manager, data).look()
            (waits,) = manager.instances.living
            assert waits.fixed.session_id is None
            await manager.until(waits.fixed.id, "running", seconds=40)
            began = time.monotonic()
            warm = await manager.instances.create(request("s-warm"))
            assert (warm.state, warm.session_id, warm.pool) == ("running", "s-warm", None)
            hello = await gateway.hear("hello", session_id="s-warm")
            assert hello["instance_id"] == warm.id != waits.fixed.id
            warm_s = await first_frame(warm, gateway) - began
            app = own_folder(data / "run" / waits.runs_as)
            assert (app / "token").read_text() == "the-person's-own-token"
            assert (app / "user-data").read_text() == "for the application"
            assert (app / "token").stat().st_mode & 0o777 == 0o600
            with capsys.disabled():
                print(f"\ncreate to first frame: cold {cold_s:.2f} s, warm {warm_s:.2f} s")
            assert warm_s < cold_s
            await manager.instances.stop(warm.id)
            assert (await manager.until(warm.id, "ended")).reason == "stopped"
    finally:
        await gateway.close()
