"""Signalling through one gateway beside a raw relay: the same messages, the same client.

One exchange is what two ends of a peer connection say: an offer, its answer, eight candidates each
way. The gateway reads, checks and addresses each message; the raw relay hands it on. Both stand in
a process of their own and take turns; a ratio is taken within a round.
"""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp

from downstage.testing.platform import PlatformProcess
from measuring.counting import client, create
from measuring.cpu import shoot
from measuring.paper import Notes, paper_platform

__all__ = ["relay_rates"]

CANDIDATES = 8
MESSAGES = 2 + 2 * CANDIDATES
CANDIDATE = "candidate:{n} 1 udp 2130706431 127.0.0.1 {port} typ host generation 0 ufrag abcd"
SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n" + "a=rtpmap:96 H264/90000\r\n" * 120
"""Some 3 KB, as an offer of a browser has."""
WAIT_S = 15.0


@dataclass(slots=True)
class Pair:
    """Two ends that talk through something."""

    viewer: aiohttp.ClientWebSocketResponse
    streamer: aiohttp.ClientWebSocketResponse
    peer: str | None
    """Through a gateway, the streamer's messages are about this peer; None: they are plain."""

    async def exchange(self) -> None:
        """All messages of one exchange; both ends have read what was for them."""
        await self._tell({"type": "offer", "sdp": SDP})
        for number in range(CANDIDATES):
            await self._tell(_candidate(number))
        for _ in range(1 + CANDIDATES):
            await self._read(self.viewer)
        await self.viewer.send_str(json.dumps({"type": "answer", "sdp": SDP}))
        for number in range(CANDIDATES):
            await self.viewer.send_str(json.dumps(_candidate(number)))
        for _ in range(1 + CANDIDATES):
            await self._read(self.streamer)

    async def _tell(self, payload: dict[str, Any]) -> None:
        if self.peer is None:
            await self.streamer.send_str(json.dumps(payload))
            return
        message = {"type": "peer.signal", "peer": self.peer, "payload": payload}
        await self.streamer.send_str(json.dumps(message))

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            message = await socket.receive(WAIT_S)
            if message.type is not aiohttp.WSMsgType.TEXT:
                raise RuntimeError(f"the other side hung up: {message}")
            read = json.loads(message.data)
            if read["type"] in ("offer", "answer", "candidate", "peer.signal"):
                return


def _candidate(number: int) -> dict[str, Any]:
    return {"type": "candidate", "candidate": CANDIDATE.format(n=number, port=50_000 + number)}


async def relay_rates(pairs: int, rounds: int, slice_s: float) -> dict[str, Any]:
    """Messages a second through each, and of each's CPU; *pairs* talk at once."""
    async with AsyncExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-")))
        platform = stack.enter_context(paper_platform(folder / "data", capacity=1000))
        ours = await _through_gateway(stack, platform, folder / "data", pairs)
        subjects = {
            "gateway": (ours, platform.pid),
            "raw": await _through_raw(stack, pairs),
            "raw_same_server": await _through_raw(stack, pairs, "asgi"),
        }
        rows: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        before = os.getloadavg()[0]
        for talking, pid in subjects.values():
            await _talk(talking, 0.3, pid)
        for number in range(rounds):
            for name in sorted(subjects, reverse=bool(number % 2)):
                talking, pid = subjects[name]
                rows[name].append(await _talk(talking, slice_s, pid))
    ratios = {name: _ratios(rows["gateway"], rows[name]) for name in ("raw", "raw_same_server")}
    return {
        "pairs": pairs,
        "messages_s": {name: round(_median(found, 0)) for name, found in rows.items()},
        "cpu_us_a_message": {name: round(_median(found, 1), 1) for name, found in rows.items()},
        "ratio_to": ratios,
        "load_before": before,
        "load_after": os.getloadavg()[0],
    }


def _ratios(ours: list[tuple[float, float]], theirs: list[tuple[float, float]]) -> dict[str, Any]:
    """Messages a second to those of another, and the same by CPU; above 1, ours is faster."""
    rates = [a[0] / b[0] for a, b in zip(ours, theirs, strict=True)]
    by_cpu = [b[1] / a[1] for a, b in zip(ours, theirs, strict=True)]
    return {
        "messages": round(statistics.median(rates), 2),
        "least_most": [round(min(rates), 2), round(max(rates), 2)],
        "by_cpu": round(statistics.median(by_cpu), 2),
    }


def _median(rows: list[tuple[float, float]], column: int) -> float:
    return statistics.median(row[column] for row in rows)


async def _talk(pairs: list[Pair], seconds: float, pid: int) -> tuple[float, float]:
    """Messages a second, and microseconds of the relay's CPU for each."""
    count, end = 0, time.perf_counter() + seconds

    async def work(pair: Pair) -> None:
        nonlocal count
        while time.perf_counter() < end:
            await pair.exchange()
            count += MESSAGES

    before, began = shoot({"relay": {pid}}), time.perf_counter()
    async with asyncio.TaskGroup() as tasks:
        for pair in pairs:
            tasks.create_task(work(pair))
    passed, after = time.perf_counter() - began, shoot({"relay": {pid}})
    cpu = sum(after.groups["relay"].values()) - sum(before.groups["relay"].values())
    return count / passed, cpu / count * 1e6


async def _through_raw(stack: AsyncExitStack, pairs: int, *words: str) -> tuple[list[Pair], int]:
    command = [sys.executable, str(Path(__file__).with_name("raw_relay.py")), *words]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    stack.callback(_end, process)
    assert process.stdout is not None
    url = process.stdout.readline().strip()
    http = await stack.enter_async_context(aiohttp.ClientSession())

    async def dial(number: int) -> aiohttp.ClientWebSocketResponse:
        return await stack.enter_async_context(http.ws_connect(f"{url}/{number}", compress=0))

    found = [Pair(await dial(number), await dial(number), None) for number in range(pairs)]
    return found, process.pid


def _end(process: subprocess.Popen[str]) -> None:
    process.kill()
    process.wait()


async def _through_gateway(
    stack: AsyncExitStack, platform: PlatformProcess, data: Path, pairs: int
) -> list[Pair]:
    http = await stack.enter_async_context(client(platform))
    connector = aiohttp.UnixConnector(str(data / "run" / "platform.sock"))
    unix = await stack.enter_async_context(aiohttp.ClientSession(connector=connector))
    notes, found = Notes(data), list[Pair]()
    for _ in range(pairs):
        session = await create(http)
        begun = next(note for note in notes.new() if note["what"] == "start")
        found.append(await _meet(stack, (http, unix), platform.url, session["id"], begun))
    return found


async def _meet(
    stack: AsyncExitStack,
    clients: tuple[aiohttp.ClientSession, aiohttp.ClientSession],
    origin: str,
    session_id: str,
    begun: dict[str, Any],
) -> Pair:
    """A streamer on the link and a viewer on its socket, who wants an offer."""
    http, unix = clients
    link: Callable[..., Awaitable[Any]] = stack.enter_async_context
    streamer = await link(
        unix.ws_connect(
            f"http://gateway/v1/instances/{begun['instance']}/link",
            headers={"authorization": f"Bearer {begun['token']}"},
            compress=0,
        )
    )
    named = {"instance_id": begun["instance"], "session_id": session_id}
    await streamer.send_str(json.dumps({"type": "hello", **named, "peers": []}))
    picture = {"width": 1280, "height": 720, "encoder": "x264", "audio": False}
    await streamer.send_str(json.dumps({"type": "ready", **picture}))
    async with http.post(f"/v1/sessions/{session_id}/seat", json={}) as answer:
        seat = await answer.json()
    viewer = await link(
        http.ws_connect(
            f"/v1/sessions/{session_id}/signalling",
            protocols=["downstage.v1", f"downstage.ticket.{seat['signalling_ticket']}"],
            headers={"origin": origin},
            compress=0,
        )
    )
    await viewer.send_str(json.dumps({"type": "want", "transport": "webrtc"}))
    while True:
        heard = json.loads((await streamer.receive(WAIT_S)).data)
        if heard["type"] == "peer.open":
            return Pair(viewer, streamer, heard["peer"])
