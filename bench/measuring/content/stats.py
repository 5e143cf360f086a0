"""How many times a second something is looked at: socket, batch, and the bare query."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path
from typing import Any

import msgspec

from downstage.content.model import Caller
from downstage.content.service import open_content
from downstage.contracts.content import SOCKET_PROTOCOL
from downstage.kernel.clock import SystemClock
from measuring.content.places import Places, row

__all__ = ["measure"]

DEPTH = "/a/b/c/d/e"
FILES = 1000
SECONDS = 0.5
IN_FLIGHT = 64
BATCH = 1000
encode, decode = msgspec.msgpack.Encoder().encode, msgspec.msgpack.Decoder().decode


async def measure(places: Places, rounds: int) -> list[dict[str, Any]]:
    """Pipelined and batched, to the same query and coding in this process."""
    paths = [f"{DEPTH}/f{number}" for number in range(FILES)]
    floor = await _floor(places.folder / "floor", paths)
    results: dict[str, list[float]] = {
        key: [] for key in ("one", "pipelined", "batched", "floor", "floor_batched")
    }
    async with places.http.ws_connect(
        f"{places.url}/v1/files-socket", headers=places.ours, protocols=(SOCKET_PROTOCOL,),
        max_msg_size=0, compress=0,
    ) as socket:  # fmt: skip
        await _call(socket, "hello", [[1]])
        for path in paths:
            await _call(socket, "write", [path, b"x"])
        for _ in range(rounds):
            results["floor"].append(floor(1))
            results["floor_batched"].append(floor(BATCH))
            results["one"].append(await _pipelined(socket, paths, 1))
            results["pipelined"].append(await _pipelined(socket, paths, IN_FLIGHT))
            results["batched"].append(await _batched(socket, paths))
    in_process, in_batches = results["floor"], results["floor_batched"]
    which = "query + msgpack in process"
    return [
        row("stat, 1 in flight", which, results["one"], in_process, "/s", goal=None),
        row("stat, 64 in flight", which, results["pipelined"], in_process, "/s", goal=0.4),
        row("stat, 1000 a message", which, results["batched"], in_batches, "/s", goal=0.9),
    ]


async def _floor(folder: Path, paths: list[str]) -> Any:
    """The same entries, asked for and packed by one thread without any network."""
    folder.mkdir(parents=True)
    content = await open_content(folder, clock=SystemClock())
    caller = Caller("alice", "alice")
    for path in paths:
        await content.write(caller, path, b"x")

    def run(at_once: int) -> float:
        asked = [[(path, 0) for path in paths[i : i + at_once]] for i in range(0, FILES, at_once)]
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < SECONDS:
            for some in asked:
                decode(encode(content.stat_many(caller, some)))
            count += FILES
        return count / (time.perf_counter() - began)

    return run


async def _call(socket: Any, op: str, args: list[Any]) -> Any:
    await socket.send_bytes(encode([[1, op, args]]))
    number, status, body = decode((await socket.receive(10)).data)[0]
    assert number == 1, number
    assert status < 400, body
    return body


async def _pipelined(socket: Any, paths: list[str], in_flight: int) -> float:
    sent = received = 0
    began = time.perf_counter()
    ends = began + SECONDS
    while time.perf_counter() < ends or received < sent:
        room = in_flight - (sent - received)
        if room > 0 and time.perf_counter() < ends:
            calls = [[sent + i + 1, "stat", [paths[(sent + i) % FILES]]] for i in range(room)]
            await socket.send_bytes(encode(calls))
            sent += room
        answers = decode((await socket.receive(10)).data)
        assert all(answer[1] < 400 for answer in answers)
        received += len(answers)
    return received / (time.perf_counter() - began)


async def _batched(socket: Any, paths: list[str]) -> float:
    message = encode([[1, "stat_many", [[[path, 0] for path in paths[:BATCH]]]]])
    began, count = time.perf_counter(), 0
    # Two messages on their way: while one is answered the next is being read.
    await socket.send_bytes(message)
    while time.perf_counter() - began < SECONDS:
        await socket.send_bytes(message)
        answers = decode((await socket.receive(10)).data)[0][2]
        assert len(answers) == BATCH
        count += BATCH
    await socket.receive(10)
    count += BATCH
    await asyncio.sleep(0)
    return count / (time.perf_counter() - began)
