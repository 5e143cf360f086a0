"""What a viewer sends is what the application gets, on both kinds of display."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from aiohttp import ClientSession, ClientWebSocketResponse, UnixConnector

from downstage.testing.streaming import GatewayEnd, Streamer, XDisplay, run_streamer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

LISTENER = """
import json, pygame, sys
pygame.display.init()
pygame.display.set_mode((1280, 720))
pygame.key.start_text_input()
kinds = (pygame.MOUSEMOTION, pygame.MOUSEBUTTONDOWN, pygame.MOUSEWHEEL, pygame.KEYDOWN,
         pygame.KEYUP, pygame.TEXTINPUT)
while True:
    pygame.display.flip()
    for event in pygame.event.get():
        if event.type == pygame.QUIT: sys.exit()
        if event.type in kinds:
            told = {k: v for k, v in event.dict.items() if isinstance(v, (int, str, float, tuple))}
            print(json.dumps([pygame.event.event_name(event.type), told]), flush=True)
    pygame.time.wait(5)
"""


class Ear:
    """What the application says it got."""

    def __init__(self, streamer: Streamer, socket: ClientWebSocketResponse, process: Any) -> None:
        self.streamer, self.socket = streamer, socket
        self._out = process.stdout
        self._rest = b""
        self._events: list[list[Any]] = []

    async def send(self, *message: object) -> None:
        """An input message."""
        await self.socket.send_str(json.dumps(message))

    async def heard(self, kind: str) -> dict[str, Any]:
        """The next event of *kind*; others before it are dropped."""
        with anyio.fail_after(10):
            while True:
                while self._events:
                    name, content = self._events.pop(0)
                    if name == kind:
                        return content
                self._rest += await self._out.receive()
                *lines, self._rest = self._rest.split(b"\n")
                self._events += [json.loads(line) for line in lines if line.startswith(b"[")]


@asynccontextmanager
async def listening(
    data: Path, gateway: GatewayEnd, display: XDisplay | None
) -> AsyncIterator[Ear]:
    """An application that listens, and a viewer that acts."""
    async with run_streamer(data, display=display) as streamer:
        process = await anyio.open_process(
            [sys.executable, "-c", LISTENER], env={**quiet_environment(), **streamer.environment}
        )
        try:
            await gateway.hear("ready")
            connector = UnixConnector(str(data / "media.sock"))
            async with (
                ClientSession(connector=connector) as session,
                session.ws_connect(
                    "http://streamer/media?peer=p&role=controller", max_msg_size=0
                ) as socket,
            ):
                yield Ear(streamer, socket, process)
        finally:
            process.kill()
            with anyio.CancelScope(shield=True):
                await process.aclose()


def quiet_environment() -> dict[str, str]:
    """The environment of this process, with quiet libraries."""
    return {**os.environ, "PYGAME_HIDE_SUPPORT_PROMPT": "1"}


@pytest.mark.parametrize("kind", ["x11", "wayland"])
async def test_what_is_sent_is_what_the_application_gets(
    display: XDisplay, gateway: GatewayEnd, data: Path, kind: str
) -> None:
    async with listening(data, gateway, display if kind == "x11" else None) as ear:
        await ear.send("m", 0.25, 0.5)
        await ear.send("m", 0.5, 0.5)
        place = (await ear.heard("MouseMotion"))["pos"]
        while not 600 < place[0] < 700:
            place = (await ear.heard("MouseMotion"))["pos"]
        assert 638 <= place[0] <= 641
        assert 358 <= place[1] <= 361
        await ear.send("r", 10, -5)
        moved = (await ear.heard("MouseMotion"))["pos"]
        assert (moved[0] - place[0], moved[1] - place[1]) == (10, -5)
        await ear.send("b", 2, 1)
        await ear.send("b", 2, 0)
        assert (await ear.heard("MouseButtonDown"))["button"] == 3
        await ear.send("w", 0, 100)
        assert (await ear.heard("MouseWheel"))["y"] == -1
        await ear.send("k", "KeyB", 1)
        assert (await ear.heard("KeyDown"))["key"] == ord("b")
        await ear.send("u")
        assert (await ear.heard("KeyUp"))["key"] == ord("b")
        await ear.send("x", "héllo → 日本!")
        typed = ""
        while len(typed) < 11:
            text = (await ear.heard("TextInput"))["text"]
            typed += "" if text == "b" else text
        assert typed == "héllo → 日本!"


@pytest.mark.parametrize("kind", ["x11", "wayland"])
async def test_keys_held_by_a_viewer_that_vanishes_go_up(
    display: XDisplay, gateway: GatewayEnd, data: Path, kind: str
) -> None:
    async with listening(data, gateway, display if kind == "x11" else None) as ear:
        await ear.send("m", 0.5, 0.5)
        await ear.send("k", "ShiftLeft", 1)
        down = await ear.heard("KeyDown")
        await ear.socket.close()
        assert (await ear.heard("KeyUp"))["key"] == down["key"]
