"""Readers that do not read, producers that go away, and crowds that wait: nobody else is hurt."""

from __future__ import annotations

import os
import resource
import socket
import statistics
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import anyio
import pytest
import requests
from measuring.streams.frames import Reader, connect, wave
from websockets.frames import Frame, Opcode

from .wire import Wire, name

pytestmark = [pytest.mark.real, pytest.mark.anyio]

MB = 1_000_000
CROWD = 2000


def rss(pid: int) -> int:
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGESIZE")


def port_of(wire: Wire) -> int:
    return int(wire.server.url.rsplit(":", 1)[1])


def opened(wire: Wire, path: str) -> socket.socket:
    sock = connect(port_of(wire), path, wire.server.tokens["alice"])
    sock.settimeout(30)
    return sock


def ids_of(reader: Reader, count: int) -> Iterator[bytes]:
    """Ids of so many entries, one in each delivery."""
    for _ in range(count):
        entries, header, _ = reader.delivery()
        assert entries == 1
        yield bytes(header).split(b'"')[3]


def test_C09_one_slow_reader_of_large_entries_hurts_nobody(wire: Wire) -> None:
    stream, count = name(), 60
    made = wave(MB, 1, stream=stream)
    with ExitStack() as stack:

        def socket_at(what: str) -> socket.socket:
            return stack.enter_context(opened(wire, f"/data/{stream}/{what}"))

        push, fast = socket_at("push?ack=true"), Reader(socket_at("pull"))
        acks, told = Reader(push), list[bytes]()

        def turn() -> float:
            """Push one and pull it: how long that took."""
            began = time.perf_counter()
            push.sendall(made.parts[len(told) % len(made.parts)])
            told.append(bytes(acks.message()[1]))
            assert next(ids_of(fast, 1)) == told[-1]
            return time.perf_counter() - began

        turn()
        alone = statistics.median(turn() for _ in range(count))
        slow = socket_at("pull?latest=false")
        time.sleep(0.2)
        first = len(told)
        before = rss(wire.server.pid)
        beside = statistics.median(turn() for _ in range(count))
        assert rss(wire.server.pid) - before < 40 << 20  # of 60 MB that it did not read
        assert beside < 5 * alone
        # It loses nothing: what did not fit is read from the store when it reads on.
        assert list(ids_of(Reader(slow), count)) == told[first:]


async def test_C09_who_falls_too_far_behind_is_told(wire: Wire) -> None:
    stream = name()
    answer = await anyio.to_thread.run_sync(
        lambda: requests.put(
            f"{wire.server.url}/streams/{stream}",
            json={"max_len": 5},
            headers=wire.server.headers("alice"),
            timeout=20,
        )
    )
    assert answer.status_code == 200
    await wire.put(stream, b"first")
    with ExitStack() as stack:
        lagging, skipping = (
            Reader(stack.enter_context(opened(wire, f"/data/{stream}/pull?{query}")))
            for query in ("latest=false", "latest=true")
        )
        time.sleep(0.2)
        payload = bytes(500_000)
        async with wire.push(stream, ack=True) as push:
            for _ in range(60):
                await push.send(payload)
                last = await push.text()
        with pytest.raises(ConnectionError, match="lagged"):
            list(ids_of(lagging, 60))
        with anyio.fail_after(20):
            while next(ids_of(skipping, 1)).decode() != last:
                pass


async def test_a_producer_that_dies_in_a_batch_leaves_nothing_half(wire: Wire) -> None:
    stream = name()
    with opened(wire, f"/data/{stream}/push?batch=true&ack=true") as sock:
        header = Frame(Opcode.TEXT, b"[1000, 2000]").serialize(mask=True)
        whole = Frame(Opcode.BINARY, bytes(2000)).serialize(mask=True)
        sock.sendall(header + whole)
        assert bytes(Reader(sock).message()[1]).count(b",") == 1
        sock.sendall(header + whole[:-1])
    with opened(wire, f"/data/{stream}/push?batch=true") as sock:
        sock.sendall(header)
    assert len(await wire.stored(stream)) == 2


async def test_T03_a_crowd_that_waits_costs_little(wire: Wire) -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    soft = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 2 * CROWD), hard))
    try:
        stream = name()
        before = rss(wire.server.pid)
        with ExitStack() as stack:
            crowd = [
                stack.enter_context(opened(wire, f"/data/{stream}/pull")) for _ in range(CROWD)
            ]
            assert (rss(wire.server.pid) - before) / CROWD < 30_000
            with anyio.fail_after(20):
                (id_,) = await wire.put(stream, b"to all of them")
                for sock in (crowd[0], crowd[CROWD // 2], crowd[-1]):
                    assert next(ids_of(Reader(sock), 1)) == id_.encode()
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
