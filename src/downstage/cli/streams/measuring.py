"""``bench``: how fast the way to a server and back is, from here. Quick; not a benchmark."""

from __future__ import annotations

import asyncio
import json
import os
import secrets
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass

from rich.table import Table

from downstage.cli.content.shown import size_of
from downstage.cli.running import run
from downstage.cli.streams.desk import client_at, err, out
from downstage.cli.streams.options import At
from downstage.client.streams import AsyncClient
from downstage.kernel.errors import PlatformError, SetupError

__all__ = ["bench"]

KEPT_BYTES = 32 << 20
LATENCIES = 200
MOST_SIZE = 8 << 20
MOST_BATCH = 1 << 20
WAIT_S = 10.0


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one size of entries."""

    size: int
    push_s: float
    """Entries a second that were stored and acknowledged."""
    push_no_ack_s: float
    pull_s: float
    latency_p50_ms: float
    """From one program to another, through the server."""
    latency_p99_ms: float


def bench(at: At | None, sizes: Sequence[int], *, seconds: float, as_json: bool) -> None:
    """Measure, and tell."""
    if seconds <= 0 or any(not 1 <= size <= MOST_SIZE for size in sizes):
        raise SetupError(f"--seconds is above 0, --size from 1 to {MOST_SIZE}.")
    with client_at(at) as outer:
        found = list[Figures]()
        for size in sizes:
            if not as_json:
                err().print(f"Measuring entries of {size_of(size)} …", style="dim")
            found.append(run(_measured(outer.url, size, seconds)))
    if as_json:
        for one in found:
            print(json.dumps(asdict(one)))
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for name in ("SIZE", "PUSH", "PUSH --no-ack", "PULL", "DELAY p50", "p99"):
        table.add_column(name, justify="right", no_wrap=True)
    for one in found:
        table.add_row(
            size_of(one.size),
            *(_speed(rate, one.size) for rate in (one.push_s, one.push_no_ack_s, one.pull_s)),
            f"{one.latency_p50_ms:.2f} ms",
            f"{one.latency_p99_ms:.2f} ms",
        )
    out().print(table)


def _speed(rate: float, size: int) -> str:
    return f"{rate:,.0f}/s\n{size_of(round(rate * size))}/s"


async def _measured(url: str, size: int, seconds: float) -> Figures:
    """With streams of its own, which are deleted after it."""
    stream, filled = (f"bench-{secrets.token_hex(6)}" for _ in range(2))
    count = max(2, min(5000, KEPT_BYTES // size))
    data = os.urandom(size)
    async with AsyncClient(url, patience_s=WAIT_S) as client:
        for name in (stream, filled):
            await client.describe(name, retention={"count": 2 * count, "bytes": 4 * KEPT_BYTES})
        try:
            acked = await _pushed(client, stream, data, seconds, ack=True)
            plain = await _pushed(client, stream, data, seconds, ack=False)
            # Of one that keeps all it gets: nothing falls out under the reader.
            async with client.push(filled) as push:
                for _ in range(count):
                    await push.send(data)
            pulled = await _pulled(client, filled, count, seconds)
            latencies = await _latencies(client, stream, data)
        finally:
            with suppress(PlatformError):
                await client.delete(stream)
                await client.delete(filled)
    middle, last = latencies[len(latencies) // 2], latencies[int(len(latencies) * 0.99)]
    return Figures(size, acked, plain, pulled, middle * 1000, last * 1000)


async def _pushed(
    client: AsyncClient, stream: str, data: bytes, seconds: float, *, ack: bool
) -> float:
    async with client.push(stream, ack=ack, batch_bytes=MOST_BATCH, in_flight=8 << 20) as push:
        began, count = time.perf_counter(), 0
        while time.perf_counter() - began < seconds:
            for _ in range(16):
                await push.send(data)
            count += 16
            await asyncio.sleep(0)
        await push.flush(WAIT_S)
        if not ack:
            # What has left need not have arrived: the last one is stored when it can be read.
            await _until_stored(client, stream)
        return count / (time.perf_counter() - began)


async def _until_stored(client: AsyncClient, stream: str) -> None:
    added, end = -1, time.perf_counter() + WAIT_S
    while time.perf_counter() < end:
        now = (await client.info(stream)).added
        if now == added:
            return
        added = now
        await asyncio.sleep(0.02)


async def _pulled(client: AsyncClient, stream: str, kept: int, seconds: float) -> float:
    began, count = time.perf_counter(), 0
    while time.perf_counter() - began < seconds:
        async with client.pull(stream, last="0", count=kept, timeout=WAIT_S) as pull:
            while found := await pull.take(256):
                count += len(found)
    return count / (time.perf_counter() - began)


async def _latencies(client: AsyncClient, stream: str, data: bytes) -> list[float]:
    found = list[float]()
    last = (await client.info(stream)).last_id
    async with (
        client.pull(stream, last=last, timeout=WAIT_S) as pull,
        client.push(stream, ack=False) as push,
    ):
        await push.send(data)
        await pull.take(1)  # both are connected
        for _ in range(LATENCIES):
            began = time.perf_counter()
            await push.send(data)
            await pull.take(1)
            found.append(time.perf_counter() - began)
    return sorted(found)
