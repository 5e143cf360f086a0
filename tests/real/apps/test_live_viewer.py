"""The viewer on a stage of a content server that another program edits."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

import anyio
import numpy as np
import pytest

from downstage.testing.content import ContentServer, content_server

pytest.importorskip("pxr", reason="pip install 'downstage[demo]'")
pytestmark = [pytest.mark.real, pytest.mark.anyio, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
ACCENT = np.array([255, 179, 71])
PATH = "/Projects/two cubes.usda"
STAGE = b"""#usda 1.0
(
    subLayers = [@./gone.usda@]
    upAxis = "Z"
)
def Cube "Green"
{
    color3f[] primvars:displayColor = [(0.05, 0.5, 0.1)]
}
def Cube "Red"
{
    color3f[] primvars:displayColor = [(0.6, 0.05, 0.05)]
    double3 xformOp:translate = (5, 0, 0)
    uniform token[] xformOpOrder = ["xformOp:translate"]
}
"""


@dataclass
class Place:
    """A stage, and what a program needs to get there."""

    server: ContentServer
    url: str
    environment: dict[str, str]
    stop: Callable[[], Awaitable[None]]


@pytest.fixture
async def place(tmp_path: Path) -> AsyncIterator[Place]:
    async with AsyncExitStack() as stack:
        server = await stack.enter_async_context(content_server(tmp_path / "data"))
        alice = await server.caller("alice")
        await server.content.write(alice, PATH, STAGE)
        authority = server.url.partition("://")[2]
        token = tmp_path / "token"
        token.write_text(server.token("alice"))
        environment = {
            "DOWNSTAGE_TOKEN_FILE": str(token),
            "DOWNSTAGE_CONTENT_HOST": authority,
            "DOWNSTAGE_CLIENT_CACHE": str(tmp_path / "cache" / "files"),
        }
        url = f"omniverse://{authority}{PATH.replace(' ', '%20')}"
        yield Place(server, url, environment, stack.aclose)


def greens(picture: np.ndarray) -> np.ndarray:
    red, green = picture[:, :, 0].astype(int), picture[:, :, 1].astype(int)
    return np.argwhere(green > red + 30)


def middle(spots: np.ndarray) -> np.ndarray:
    return spots.mean(axis=0) if len(spots) else np.zeros(2)


def accents(picture: np.ndarray) -> int:
    """Pixels of words that a person should read."""
    return int((np.abs(picture.astype(int) - ACCENT).sum(axis=2) < 60).sum())


async def test_what_a_program_moves_moves_in_the_picture(desk, place: Place) -> None:
    async with desk("usd_viewer", place.url, environment=place.environment) as viewer:
        await viewer.until(lambda: len(greens(viewer.look())) > 500, within_s=40)
        await viewer.until(viewer.rests, within_s=40)
        before = greens(viewer.look())
        command = [sys.executable, "examples/live-edit/move.py", place.url]
        command += ["--prim", "/Green", "--seconds", "2"]
        done = await anyio.run_process(
            command, cwd=ROOT, env={**os.environ, **place.environment}, check=False
        )
        assert done.returncode == 0, done.stderr.decode()
        said = done.stdout.decode()
        assert "Moving /Green for 2 s, 1 looking on" in said
        await viewer.until(
            lambda: np.abs(middle(greens(viewer.look())) - middle(before)).max() > 15, within_s=20
        )
        await viewer.until(viewer.rests, within_s=40)
        after = greens(viewer.look())
        assert 0.6 < len(after) / len(before) < 1.2, "it is no more where it was"


async def test_what_is_missing_and_that_the_server_is_away_is_told(desk, place: Place) -> None:
    async with desk("usd_viewer", place.url, environment=place.environment) as viewer:
        await viewer.until(lambda: len(greens(viewer.look())) > 500, within_s=40)
        await viewer.until(viewer.rests, within_s=40)
        told = accents(viewer.look())
        assert told > 50, "a layer that is not there"
        await place.stop()
        await viewer.until(lambda: abs(accents(viewer.look()) - told) > 20)
        await viewer.until(viewer.rests, within_s=40)
        assert len(greens(viewer.look())) > 500, "the last state stays"
