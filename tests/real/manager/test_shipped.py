"""The shipped test card, with the real streamer: it runs, it heals, it ends."""

from __future__ import annotations

import os
import signal
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import pytest
from pydantic import SecretStr

import downstage
from downstage.contracts.manager import InstanceCreate
from downstage.kernel.ids import new_id
from downstage.manager.planning import Planner
from downstage.spawners.process import KeeperHandle, ProcessSettings, ProcessSpawner, run_folder

pytestmark = [pytest.mark.real, pytest.mark.anyio]

APPLICATIONS = Path(downstage.__file__).parent / "apps"


@pytest.fixture
async def card(data: Path) -> AsyncIterator[KeeperHandle]:
    request = InstanceCreate(
        session_id="s-1",
        owner="u-1",
        application="test-card",
        instance_token=SecretStr("the-instance-token"),
        link_url=f"unix://{data}/nobody.sock",
    )
    spawner = ProcessSpawner(run_folder(data), ProcessSettings())
    spec = (await Planner([APPLICATIONS], []).plan(new_id("i"), request)).spec
    handle = await spawner.start(spec)
    yield handle
    await handle.kill()
    with anyio.fail_after(10):
        async for report in handle.reports():
            if report.phase == "ended":
                break
    await handle.close()
    await spawner.forget(spec.instance_id)


async def test_the_test_card_draws_and_a_killed_streamer_comes_back(card: KeeperHandle) -> None:
    with anyio.fail_after(30):
        async for report in card.reports():
            assert report.phase in ("starting", "running"), report
            if report.phase == "running":
                break
    assert report.audio_reason is None
    assert Path(card.media_socket).is_socket()
    os.kill(report.pids["streamer"][0], signal.SIGKILL)
    with anyio.fail_after(10):
        async for after in card.reports():
            if after.streamer_restarts == 1:
                break
    assert after.pids["application"] == report.pids["application"]
    await card.stop("stopped")
    with anyio.fail_after(20):
        async for after in card.reports():
            if after.phase == "ended":
                break
    assert after.reason == "stopped"
