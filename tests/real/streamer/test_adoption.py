"""A streamer that runs for nobody: it waits, and takes a session when its configuration has one."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import anyio
import pytest

from downstage.testing.streaming import (
    TOKEN,
    GatewayEnd,
    Streamer,
    XDisplay,
    run_program,
    run_streamer,
)

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CARD = [sys.executable, "-m", "downstage.apps.test_card"]
NOBODY = {"session_id": None, "instance_token": None, "link_url": None, "instance_id": "waiting"}


def give(streamer: Streamer, gateway: GatewayEnd, session: str) -> None:
    """Write a session into the configuration, as a keeper does, and wake the streamer."""
    path = streamer.folder / "streamer.json"
    brought = {
        "instance_id": "instance-1",
        "session_id": session,
        "instance_token": TOKEN,
        "link_url": f"unix://{gateway.socket}",
        "display": {"width": 1000, "height": 601, "fps": 60},
    }
    draft = path.with_suffix(".new")
    draft.write_text(json.dumps({**streamer.config, **brought}))
    draft.replace(path)
    os.kill(streamer.process.pid, signal.SIGHUP)


@pytest.mark.parametrize("kind", ["x11", "wayland"])
async def test_a_waiting_streamer_takes_a_session_and_its_size(
    display: XDisplay, gateway: GatewayEnd, data: Path, kind: str
) -> None:
    x11 = display if kind == "x11" else None
    async with (
        run_streamer(data, display=x11, **NOBODY) as streamer,
        run_program(CARD, streamer.environment) as card,
    ):
        await streamer.line("FIRST-PICTURE")
        os.kill(streamer.process.pid, signal.SIGHUP)  # nothing new: it waits on
        assert not gateway.links, "it dialled for nobody"
        give(streamer, gateway, "session-1")
        hello = await gateway.hear("hello")
        assert (hello["instance_id"], hello["session_id"]) == ("instance-1", "session-1")
        assert gateway.tokens == [f"Bearer {TOKEN}"]
        ready = await gateway.hear("ready", width=1000, height=600)
        assert ready["encoder"]
        give(streamer, gateway, "session-2")  # it is taken for good
        with anyio.move_on_after(0.5):
            await gateway.hear("hello")
            pytest.fail("it changed sessions")
        assert card.poll() is None
        assert streamer.process.returncode is None


async def test_a_session_that_comes_before_the_picture_is_told_of_it(
    display: XDisplay, gateway: GatewayEnd, data: Path
) -> None:
    async with run_streamer(data, display=display, **NOBODY) as streamer:
        give(streamer, gateway, "session-1")
        await gateway.hear("hello")
        async with run_program(CARD, streamer.environment):
            await gateway.hear("ready")
