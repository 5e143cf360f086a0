"""``downstage up --demo`` whole: its stage in the content server, followed from a sandbox."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from downstage.testing.platform import PlatformProcess

pytest.importorskip("pxr", reason="pip install 'downstage[demo]'")
pytestmark = [pytest.mark.real, pytest.mark.timeout(150)]

ROOT = Path(__file__).parents[3]
VIEWER = re.compile(r"^\S*python\S* -m downstage\.apps\.usd_viewer .*omniverse://")
STAGE = "/Projects/theatre.usdc"


@contextmanager
def running(*arguments: str) -> Iterator[PlatformProcess]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    try:
        with PlatformProcess(folder / "data", "--demo", *arguments) as demo:
            yield demo
            for session in demo.call("GET", "/v1/sessions").body["items"]:
                end(demo, session["id"])
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="module")
def demo() -> Iterator[PlatformProcess]:
    with running() as platform:
        yield platform


def end(demo: PlatformProcess, session: str) -> None:
    demo.call("DELETE", f"/v1/sessions/{session}")
    demo.wait_state(session, "ended")


def until(holds: Callable[[], bool], seconds: float = 40) -> None:
    end = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < end, "it never came"
        time.sleep(0.1)


def followers(demo: PlatformProcess) -> int:
    """How many have the stage open live."""
    return len(demo.call("GET", f"/v1/files-live?path={STAGE}").body["items"])


def get(demo: PlatformProcess, path: str) -> tuple[str, bytes]:
    headers = {"authorization": f"Bearer {demo.facts['token']}"}
    request = urllib.request.Request(demo.url + path, headers=headers)
    with urllib.request.urlopen(request, timeout=60) as answer:
        return answer.headers["content-type"], answer.read()


def test_the_viewer_follows_the_stage_and_has_no_other_network(demo: PlatformProcess) -> None:
    (session,) = demo.call("GET", "/v1/sessions").body["items"]
    assert session["stage"] == f"omniverse://{demo.url.partition('://')[2]}{STAGE}"
    until(lambda: followers(demo) == 1)
    viewers = [pid for pid, line in demo.processes().items() if VIEWER.search(line)]
    assert viewers
    for pid in viewers:
        table = Path(f"/proc/{pid}/net/dev").read_text().splitlines()[2:]
        assert {line.partition(":")[0].strip() for line in table} <= {"lo"}


def test_a_second_terminal_moves_it_and_merges(demo: PlatformProcess) -> None:
    """As the example's page says, on the platform of the folder's data."""
    before = demo.call("GET", f"/v1/files-versions?path={STAGE}").body
    done = subprocess.run(
        [sys.executable, "examples/live-edit/move.py", "--seconds", "0.5", "--merge"],
        cwd=ROOT,
        env={**os.environ, "DOWNSTAGE_PLATFORM__DATA": str(demo.data)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "Moving /Theatre/Sculpture/Heart for 0.5 s, 1 looking on" in done.stdout
    after = demo.call("GET", f"/v1/files-versions?path={STAGE}").body
    assert len(after["items"]) == len(before["items"]) + 1
    assert followers(demo) == 1, "the viewer stayed"


def test_a_stage_and_each_checkpoint_of_it_have_pictures(demo: PlatformProcess) -> None:
    """Drawn inside the same walls, through the same socket."""
    path = "/Projects/cube.usda"
    for place in (0, 5):
        put(demo, path, _cubes(place).encode())
    pictures = set[bytes]()
    for query in ("", "&checkpoint=1", "&checkpoint=2"):
        kind, body = get(demo, f"/v1/files-thumbnails?path={path}{query}")
        assert kind == "image/png"
        pictures.add(body)
    assert len(pictures) == 2, "the second is what is there now"


def test_the_viewer_joins_again_after_the_platform_was_killed() -> None:
    # However long the start takes: a viewer that was given up would join no more.
    with running("--set", "manager.attach_deadline=PT2M") as demo:
        until(lambda: followers(demo) == 1)
        (before,) = demo.call("GET", "/v1/sessions").body["items"]
        demo.kill()
        demo.start()
        for session in demo.call("GET", "/v1/sessions").body["items"]:
            if session["id"] != before["id"]:  # the start's own
                end(demo, session["id"])
        until(lambda: followers(demo) == 1)


def put(demo: PlatformProcess, path: str, body: bytes) -> None:
    request = urllib.request.Request(
        f"{demo.url}/v1/files{path}",
        method="PUT",
        data=body,
        headers={
            "authorization": f"Bearer {demo.facts['token']}",
            "downstage-message": "a checkpoint",
        },
    )
    with urllib.request.urlopen(request, timeout=20):
        pass


def _cubes(place: int) -> str:
    return f"""#usda 1.0
(
    upAxis = "Y"
)
def Cube "Still"
{{
    color3f[] primvars:displayColor = [(0.1, 0.9, 0.1)]
}}
def Cube "Moved"
{{
    double3 xformOp:translate = ({place}, 0, 3)
    uniform token[] xformOpOrder = ["xformOp:translate"]
}}
"""
