"""A whole platform with a node elsewhere: a session's picture, a cut line, a restart, an end."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.real.platform.test_media_socket import largest_key_frame, open_media
from tests.real.spawners.container.conftest import IMAGE
from tests.real.spawners.container.image import key

from downstage.spawners.container.plan import name_of
from downstage.testing.platform import PlatformProcess

from .far import NODE_IMAGE, Far

pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(400)]

DECLARED = f"""
name = "boxed"
title = "Boxed card"
image = "{IMAGE}:{key()}"
command = ["/usr/bin/python3", "-m", "downstage.apps.test_card"]
arguments = ["--size", "{{width}}x{{height}}", "--fps", "{{fps}}"]
display = "x11"

[resources]
memory_mb = 512
start_deadline_s = 90
"""
NODE = {"name": "far", "places": 4, "cpus": 4, "memory_mb": 4096}
LONG_S = 120


@pytest.fixture
def platform(data: Path, far: Far) -> Iterator[PlatformProcess]:
    """It listens on loopback, and a relay lets the other machine in."""
    with socket.socket() as probe:
        probe.bind((far.outside, 0))
        gate = probe.getsockname()[1]
    declared = data / "applications" / "boxed"
    declared.mkdir(parents=True)
    (declared / "application.toml").write_text(DECLARED)
    environment = {
        "DOWNSTAGE_GATEWAY__URL": f"http://{far.outside}:{gate}",
        "DOWNSTAGE_GATEWAY__START_DEADLINE": "120",
        "DOWNSTAGE_MANAGER__ENGINE": "",
        "DOWNSTAGE_MANAGER__IMAGES": json.dumps([IMAGE, NODE_IMAGE]),
        "DOWNSTAGE_MANAGER__APPLICATIONS": json.dumps([str(data / "applications")]),
        "DOWNSTAGE_MANAGER__NODE_IMAGE": NODE_IMAGE,
        "DOWNSTAGE_MANAGER__NODE_VOLUMES": json.dumps(far.volumes),
        "DOWNSTAGE_MANAGER__NODE_FOLDER": str(data / "n"),
        "DOWNSTAGE_MANAGER__NODE_SOCKET": str(far.socket),
        "DOWNSTAGE_MANAGER__ENGINE_CERTIFICATES": str(far.certificates),
        "DOWNSTAGE_MEDIA__AUDIO": "false",
    }
    try:
        with PlatformProcess(data / "d", environment=environment) as running:
            port = running.url.rpartition(":")[2]
            relay = far.relay(far.outside, gate, "127.0.0.1", port)
            try:
                yield running
            finally:
                relay.kill()
                relay.communicate()
    finally:
        shutil.rmtree(data, ignore_errors=True)


def until(look: Callable[[], Any], what: str, seconds: float = LONG_S) -> Any:
    """What *look* finds, once it finds something."""
    end = time.monotonic() + seconds
    while not (found := look()):
        assert time.monotonic() < end, what
        time.sleep(0.2)
    return found


def node_is(platform: PlatformProcess, status: str) -> bool:
    return platform.call("GET", "/v1/nodes/far").body.get("status") == status


def state_of(platform: PlatformProcess, session_id: str) -> str:
    return str(platform.call("GET", f"/v1/sessions/{session_id}").body["state"])


def instance_of(platform: PlatformProcess, session_id: str) -> str:
    items = platform.call("GET", "/v1/instances").body["items"]
    return next(str(one["id"]) for one in items if one["session_id"] == session_id)


async def see_a_picture(platform: PlatformProcess, session_id: str) -> None:
    with anyio.fail_after(LONG_S):
        async with open_media(platform, session_id) as media:
            assert await largest_key_frame(media, 500) > 500


async def test_a_session_is_seen_from_another_machine_and_outlives_cuts_and_restarts(
    platform: PlatformProcess, far: Far
) -> None:
    for engine, word in ((f"http://{far.address}:2375", "plain text"), ("ssh://-x", "no address")):
        refused = platform.call("POST", "/v1/nodes", {**NODE, "engine": engine})
        assert (refused.status, word in refused.body["detail"]) == (422, True), refused.body
    added = platform.call("POST", "/v1/nodes", {**NODE, "engine": far.engine})
    assert added.status == 201, added.body
    until(lambda: node_is(platform, "online"), "the node does not come up")

    made = platform.create(
        "boxed",
        display={"width": 640, "height": 360, "fps": 30},
    )
    await see_a_picture(platform, made["id"])
    instance = instance_of(platform, made["id"])
    running = far.podman.run("inspect", "--format", "{{.Id}}", name_of(instance)).stdout
    assert running
    logs = platform.call("GET", f"/v1/instances/{instance}/logs").body["items"]
    assert "streamer.log" in {log["name"] for log in logs}
    words = platform.call("GET", f"/v1/instances/{instance}/logs/streamer.log")
    assert (words.status, len(words.body) > 0) == (200, True)

    far.sever()
    until(lambda: node_is(platform, "offline"), "the cut is not seen")
    assert state_of(platform, made["id"]) in ("ready", "active", "disconnected")
    await see_a_picture(platform, made["id"])  # its streamer has a line of its own
    far.open()
    until(lambda: node_is(platform, "online"), "the node is not found again")

    platform.kill()
    platform.start()
    until(lambda: node_is(platform, "online"), "the node is not found by the next manager")
    assert state_of(platform, made["id"]) in ("ready", "active", "disconnected")
    await see_a_picture(platform, made["id"])
    assert far.podman.run("inspect", "--format", "{{.Id}}", name_of(instance)).stdout == running

    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")
    assert name_of(instance) not in far.podman.containers()
    assert platform.call("DELETE", "/v1/nodes/far").status == 204
    assert far.nodes() == []
