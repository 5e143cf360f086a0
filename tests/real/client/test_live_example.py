"""``examples/live-edit``: as its page runs it, beside somebody who follows."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from downstage.client import files, usd

pytestmark = pytest.mark.real

PROGRAM = Path(__file__).parents[3] / "examples" / "live-edit" / "move.py"
SCENE = b'#usda 1.0\ndef Xform "World" {\n    def Cube "box" {\n    }\n}\n'


def test_it_moves_a_prim_for_others_and_merges(url: str) -> None:
    scene = f"{url}/scene.usda"
    files.write_file(scene, SCENE)
    with usd.open_live(scene) as live:
        command = [sys.executable, str(PROGRAM), scene, "--seconds", "0.5", "--merge", "a dance"]
        mover = subprocess.Popen(
            command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=dict(os.environ)
        )
        places, end = set[str](), time.monotonic() + 40
        while live.live.session.epoch < 2:
            assert time.monotonic() < end
            assert mover.poll() in (None, 0), mover.communicate()[1][-2000:]
            live.wait(0.1)
            live.process()
            attribute = live.stage.GetPrimAtPath("/World/box").GetAttribute(
                "xformOp:translate:circle"
            )
            places.add(str(attribute.Get()))
        said, _ = mover.communicate(timeout=30)
        assert "Moving /World/box for 0.5 s, 1 looking on" in said
        assert "Written into the file as " in said
        assert len(places) > 3, "it was seen to move"
    assert [entry.comment for entry in files.list_checkpoints(scene)] == ["a dance"]
    assert b"double3 xformOp:translate:circle = (" in bytes(files.read_file(scene)[1])
