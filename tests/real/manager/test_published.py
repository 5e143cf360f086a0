"""A published application from its archive to its end: sandbox, user data, hooks, removal."""

from __future__ import annotations

from pathlib import Path

import pytest

from downstage.kernel.errors import Conflict
from downstage.manager.catalogue.running import RunningInstances
from downstage.manager.logs import InstanceLogs
from downstage.manager.planning import Planner
from downstage.spawners.process import run_folder

from .catalogue.conftest import open_house, tar_of
from .conftest import PROGRAMS, Run, request_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]

MANIFEST = b"""
name = "drawer"
title = "Drawer"
command = ["{python}", "{folder}/bin/application.py"]
[resources]
start_deadline_s = 10
"""
PRE_START = b'#!/bin/sh\necho "it was told $(cat "$DOWNSTAGE_USER_DATA_FILE")"\n'
POST_STOP = b'#!/bin/sh\necho "cleaned after $EXIT_CODE"\n'


async def test_a_published_application_runs_and_post_stop_follows_a_deleted_session(
    run: Run, data: Path
) -> None:
    archive = tar_of(
        {
            "application.toml": MANIFEST,
            "bin/application.py": (PROGRAMS / "application.py").read_bytes(),
            "hooks/pre-start": PRE_START,
            "hooks/post-stop": POST_STOP,
        }
    )
    async with run() as manager, open_house(data, None) as house:
        applications = house.applications
        applications.watch(RunningInstances(manager.instances, manager.bus))
        manager.instances._planner = Planner(
            house.parts.declared, [], published=house.parts.offered
        )
        await applications.publish(await house.upload(archive), by="u-1")
        logs = InstanceLogs(manager.instances, run_folder(data))
        # User data and streaming go together.
        request = request_of("s-1", application="drawer", user_data="the user's words")
        placed = await manager.instances.create(request)
        assert (placed.application, placed.version, placed.profile) == ("drawer", 1, "default")
        running = await manager.until(placed.id, "running", "ended")
        assert running.state == "running", running
        assert b"it was told the user's words" in await logs.read(placed.id, "hooks.log")
        with pytest.raises(Conflict, match="1 instances"):
            await applications.delete("drawer")
        await manager.instances.stop(placed.id)
        ended = await manager.until(placed.id, "ended")
        assert ended.reason == "stopped"
        assert b"cleaned after " in await logs.read(placed.id, "hooks.log")
        # By force, what runs is ended first, in order.
        other = await manager.instances.create(request_of("s-2", application="drawer"))
        await manager.until(other.id, "running")
        await applications.delete("drawer", force=True)
        gone = await manager.instances.get(other.id)
        assert (gone.state, gone.reason) == ("ended", "application-removed")
        assert b"cleaned after " in await logs.read(other.id, "hooks.log")
        assert not house.files()
