"""Small pictures of stages, drawn without any display."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pygame
import pytest

pytest.importorskip("pxr", reason="pip install 'downstage[demo]'")
pytestmark = pytest.mark.real

PROGRAM = [sys.executable, "-m", "downstage.apps.usd_viewer.thumbnail"]


def draw(*arguments: str) -> subprocess.CompletedProcess[str]:
    without_display = {k: v for k, v in os.environ.items() if k != "DISPLAY"}
    return subprocess.run(
        [*PROGRAM, *arguments],
        env=without_display,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )


def test_a_stage_becomes_a_picture_of_itself(tmp_path: Path) -> None:
    cube = tmp_path / "cube.usda"
    cube.write_text(
        '#usda 1.0\n(\n    upAxis = "Y"\n)\ndef Cube "Cube"\n{\n'
        "    color3f[] primvars:displayColor = [(0.1, 0.9, 0.1)]\n}\n"
    )
    done = draw(str(cube), str(tmp_path / "cube.png"), "--size", "160x90")
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    pixels = pygame.surfarray.array3d(pygame.image.load(str(tmp_path / "cube.png")))
    assert pixels.shape == (160, 90, 3)
    red, green, blue = pixels[80, 45].astype(int)  # the cube stands in the middle, green
    assert green > red + 40
    assert green > blue + 40
    corner = pixels[2, 2].astype(int)  # the room behind it, dark
    assert corner.max() < 60
    assert np.unique(pixels.reshape(-1, 3), axis=0).shape[0] > 50
    assert sorted(path.name for path in tmp_path.iterdir()) == ["cube.png", "cube.usda"]


def test_what_cannot_be_drawn_is_told_in_one_line(tmp_path: Path) -> None:
    broken = tmp_path / "broken.usda"
    broken.write_text("#usda 1.0\ndef {{{")
    done = draw(str(broken), str(tmp_path / "broken.png"))
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "broken.png").exists()
