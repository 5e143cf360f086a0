"""A session's picture as a stream: while it is asked for, over still screens, and no longer."""

from __future__ import annotations

import json
import sys
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from itertools import pairwise
from pathlib import Path

import anyio
import pytest
from aiohttp import WSMsgType, web

from downstage.contracts.video import H264, OPUS, Unit
from downstage.media.hls.h264 import format_of, split_units
from downstage.testing.streaming import TOKEN, GatewayEnd, XDisplay, run_program, run_streamer

pytestmark = [pytest.mark.real, pytest.mark.anyio]

CARD = [sys.executable, "-m", "downstage.apps.test_card"]
VIDEO = "session.session-1.video"
AUDIO = "session.session-1.audio"


@dataclass
class Taker:
    """The streams service's end: a description for each stream, and a socket of batches."""

    url: str = ""
    described: dict[str, str] = field(default_factory=dict[str, str])
    tokens: set[str] = field(default_factory=set[str])
    units: list[Unit] = field(default_factory=list[Unit])
    opened: int = 0
    open_now: int = 0
    news: anyio.Event = field(default_factory=anyio.Event)

    async def until(self, count: int, *, key: bool = False) -> list[Unit]:
        """The first *count* units (that are key frames), once they are here."""
        with anyio.fail_after(20):
            while True:
                found = [unit for unit in self.units if unit.key or not key]
                if len(found) >= count:
                    return found[:count]
                self.news = anyio.Event()
                await self.news.wait()

    async def closed(self) -> None:
        with anyio.fail_after(20):
            while self.open_now:
                self.news = anyio.Event()
                await self.news.wait()

    async def describe(self, request: web.Request) -> web.Response:
        body = await request.json()
        self.described[request.match_info["name"]] = body["content_type"]
        self.tokens.add(request.headers["Authorization"])
        return web.json_response({}, status=201)

    async def push(self, request: web.Request) -> web.WebSocketResponse:
        assert request.match_info["names"] == f"{VIDEO}+{AUDIO}"
        self.tokens.add(request.headers["Authorization"])
        socket = web.WebSocketResponse(max_msg_size=16 << 20)
        await socket.prepare(request)
        self.opened += 1
        self.open_now += 1
        ends = list[tuple[str, int]]()
        async for message in socket:
            if message.type is WSMsgType.TEXT:
                ends = json.loads(message.data)
                continue
            at = 0
            for name, end in ends:
                unit = Unit.unpack(message.data[at:end])
                assert unit is not None
                if name == VIDEO:
                    self.units.append(unit)
                at = end
            self.news.set()
        self.open_now -= 1
        self.news.set()
        return socket


@pytest.fixture
async def taker(anyio_backend: str) -> AsyncIterator[Taker]:
    """A server that takes what is pushed."""
    assert anyio_backend == "asyncio"
    found = Taker()
    application = web.Application()
    application.router.add_put("/v1/streams/{name}", found.describe)
    application.router.add_get("/data/{names}/push", found.push)
    runner = web.AppRunner(application, shutdown_timeout=0.5)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
    yield found
    await runner.cleanup()


async def test_pictures_flow_while_asked_for_also_over_a_still_screen(
    display: XDisplay, gateway: GatewayEnd, taker: Taker, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer:
        await gateway.hear("hello")
        async with run_program([*CARD, "--still"], streamer.environment):
            await streamer.line("FIRST-PICTURE")
            await gateway.tell({"type": "streams.push", "seconds": 60, "url": taker.url})
            keys = await taker.until(8, key=True)
            assert taker.described == {VIDEO: H264, AUDIO: OPUS}
            assert taker.tokens == {f"Bearer {TOKEN}"}
            assert [unit.restart for unit in keys] == [True] + [False] * 7
            found = format_of(split_units(keys[0].data))
            assert found is not None
            assert (found.width, found.height) == (1280, 720)
            gaps = [b.at_us - a.at_us for a, b in pairwise(keys)]
            assert all(gap > 0 for gap in gaps)
            # The usual one: nothing moves, and yet there is a picture twice a second.
            assert sorted(gaps)[len(gaps) // 2] < 800_000
            await gateway.tell({"type": "streams.push", "seconds": 0})
            await taker.closed()
            numbers = [unit.sequence for unit in taker.units]
            assert numbers == list(range(numbers[0], numbers[0] + len(numbers)))
            await gateway.tell({"type": "streams.push", "seconds": 60, "url": taker.url})
            taker.units.clear()
            assert (await taker.until(1))[0].restart
            assert taker.opened == 2


async def test_what_is_asked_for_ends_by_itself_and_nonsense_is_passed_over(
    display: XDisplay, gateway: GatewayEnd, taker: Taker, data: Path
) -> None:
    async with run_streamer(data, display=display) as streamer:
        await gateway.hear("hello")
        async with run_program([*CARD, "--still"], streamer.environment):
            await streamer.line("FIRST-PICTURE")
            for seconds in ("1", None, -1, 10**9):
                await gateway.tell({"type": "streams.push", "seconds": seconds})
            await gateway.tell({"type": "streams.push", "seconds": 1.5, "url": taker.url})
            await taker.until(1, key=True)
            await taker.closed()
            assert taker.opened == 1
