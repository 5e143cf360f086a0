"""A viewer on another host: over TLS with the platform's own authority, through a real network."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(180)]

LOOK = Path(__file__).parents[3] / "bench" / "look.py"
SERVER, VIEWER = "10.213.77.1", "10.213.77.2"


def ip(*arguments: str) -> None:
    subprocess.run(["ip", *arguments], check=True, capture_output=True, text=True)


@pytest.fixture
def elsewhere() -> Iterator[str]:
    """A network namespace that reaches this one by a pair of virtual cards."""
    if os.geteuid() != 0 or shutil.which("ip") is None:
        pytest.skip("needs root and iproute2 to make a network namespace")
    name = f"ds{os.getpid()}"
    ip("netns", "add", name)
    try:
        ip("link", "add", f"v{os.getpid()}", "type", "veth", "peer", "name", "eth0", "netns", name)
        ip("addr", "add", f"{SERVER}/30", "dev", f"v{os.getpid()}")
        ip("link", "set", f"v{os.getpid()}", "up")
        ip("-n", name, "addr", "add", f"{VIEWER}/30", "dev", "eth0")
        ip("-n", name, "link", "set", "eth0", "up")
        ip("-n", name, "link", "set", "lo", "up")
        yield name
    finally:
        ip("netns", "del", name)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
def test_the_picture_arrives_over_https_from_another_network(
    data: Path, elsewhere: str, transport: str
) -> None:
    arguments = ("--host", SERVER, "--tls", "auto", "--public-ip", SERVER)
    with PlatformProcess(data / "d", *arguments, "--udp-ports", "52000-52040") as platform:
        assert platform.url.startswith(f"https://{SERVER}:")
        display = {"width": 1280, "height": 720}
        made = platform.create("test-card", display=display)
        link = platform.link(made["id"], transport=transport, resolution="1280x720")
        command = ["ip", "netns", "exec", elsewhere, sys.executable, str(LOOK), link]
        done = subprocess.run(command, capture_output=True, text=True, timeout=90, check=False)
        seen = json.loads(done.stdout or "{}")
    assert seen.get("ok"), (seen, done.stderr[-800:])
    assert seen["stats"]["transport"] == transport
    assert seen["fps"] >= 20
