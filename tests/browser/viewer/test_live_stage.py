"""Two people look at one stage, a third one's program moves a prim in it: both see it move."""

from __future__ import annotations

import base64
import io
import os
import sys
import urllib.request
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import quote

import anyio
import numpy as np
import pygame
import pytest

from downstage.testing.platform import PlatformProcess

pytest.importorskip("pxr", reason="pip install 'downstage[demo]'")
pytestmark = [pytest.mark.browser, pytest.mark.anyio, pytest.mark.timeout(180)]

ROOT = Path(__file__).parents[3]
PATH = "/Projects/one cube.usda"
STAGE = b"""#usda 1.0
(
    upAxis = "Z"
)
def Cube "Marks"
{
    float3 xformOp:scale = (8, 0.1, 0.1)
    uniform token[] xformOpOrder = ["xformOp:scale"]
}
def Cube "Green"
{
    color3f[] primvars:displayColor = [(0.05, 0.6, 0.1)]
    double3 xformOp:translate = (4, 0, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"]
}
"""


def put(platform: PlatformProcess) -> str:
    """Lay the stage into the platform's files; its address."""
    request = urllib.request.Request(
        f"{platform.url}/v1/files{quote(PATH)}",
        method="PUT",
        data=STAGE,
        headers={"authorization": f"Bearer {platform.facts['token']}"},
    )
    with urllib.request.urlopen(request, timeout=20):
        return f"omniverse://{platform.url.partition('://')[2]}{quote(PATH)}"


async def greens(page: Any) -> float:
    """How far right the green things are on the page, 0 to 1; -1 where there are none."""
    shot = await page.browser.call("Page.captureScreenshot", format="png")
    picture = pygame.image.load(io.BytesIO(base64.b64decode(shot["data"])))
    pixels = pygame.surfarray.array3d(picture).astype(int)
    columns = np.argwhere(pixels[:, :, 1] > pixels[:, :, 0] + 30)[:, 0]
    return float(columns.mean() / len(pixels)) if len(columns) > 500 else -1


async def until(holds: Callable[[float], bool], page: Any, seconds: float = 40) -> float:
    end, seen = anyio.current_time() + seconds, list[float]()
    while anyio.current_time() < end:
        seen.append(await greens(page))
        if holds(seen[-1]):
            return seen[-1]
    stats = await page.stats()
    pytest.fail(f"it never came: {sorted(set(seen))} in {len(seen)} looks; {stats}")


async def test_what_a_program_moves_moves_for_all_who_look(
    platform: PlatformProcess, open_page: Any
) -> None:
    stage = put(platform)
    made = [platform.create("usd-viewer", stage=stage)["id"] for _ in range(2)]
    links = [platform.link(session, resolution="640x360") for session in made]
    command = [sys.executable, "examples/live-edit/move.py", stage, "--prim", "/Green"]
    async with open_page(links[0], own=True) as one, open_page(links[1], own=True) as two:
        for page in (one, two):
            await page.until_playing(40)
        before = [await until(lambda found: found >= 0, page) for page in (one, two)]
        assert before[0] == pytest.approx(before[1], abs=0.02), "both see it in its place"
        done = await anyio.run_process(
            [*command, "--seconds", "2", "--radius", "4"],
            cwd=ROOT,
            env={**os.environ, "DOWNSTAGE_PLATFORM__DATA": str(platform.data)},
            check=False,
        )
        assert done.returncode == 0, done.stderr
        assert b"2 looking on" in done.stdout
        after = [
            await until(lambda found: 0 <= found < before[0] - 0.15, page) for page in (one, two)
        ]
        assert after[0] == pytest.approx(after[1], abs=0.1), "and on its other side"
    for session in made:
        platform.call("DELETE", f"/v1/sessions/{session}")
        platform.wait_state(session, "ended")
