"""Viewers that are programs: create to first picture, sessions a core, a second viewer's cost."""

from __future__ import annotations

import asyncio
import json
import os
import statistics
import tempfile
import time
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import av

from downstage.contracts.streamer import KEY_FRAME, MEDIA_HEADER, VIDEO
from downstage.testing.platform import PlatformProcess
from measuring.counting import client, create, end
from measuring.cpu import matching, shoot, spent

__all__ = ["per_core", "second_viewer", "to_first_picture"]

WAIT_S = 60.0
ACKNOWLEDGED_S = 0.08
QUIET = {"DOWNSTAGE_MEDIA__AUDIO": "false", "DOWNSTAGE_GATEWAY__IDLE_LEASE": "3600"}
WARM = """
name = "warm-card"
title = "Test card that waits"
command = ["{python}", "-m", "downstage.apps.test_card"]
arguments = ["--size", "{width}x{height}", "--fps", "{fps}"]
[environment]
SDL_FRAMEBUFFER_ACCELERATION = "0"
[profiles.main.pool]
size = 1
"""


@asynccontextmanager
async def stage(
    *arguments: str, capacity: int = 4
) -> AsyncGenerator[tuple[PlatformProcess, aiohttp.ClientSession]]:
    """A real platform, and somebody signed in."""
    environment = {**QUIET, "DOWNSTAGE_MANAGER__CAPACITY": str(capacity)}
    environment |= {"DOWNSTAGE_MANAGER__CPUS": "1000"}
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:
        data = Path(folder) / "data"
        with PlatformProcess(data, *arguments, environment=environment) as platform:
            async with client(platform) as http:
                yield platform, http


async def until_ready(http: aiohttp.ClientSession, session_id: str) -> None:
    """Follow its events until it has a picture.

    Raises:
        RuntimeError: it ended instead.
    """
    async with asyncio.timeout(WAIT_S), http.get(f"/v1/sessions/{session_id}/events") as answer:
        async for line in answer.content:
            if line.startswith(b"data:"):
                session = json.loads(line[5:])
                if session["state"] in ("ready", "active"):
                    return
                if session["state"] == "ended":
                    raise RuntimeError(f"it ended: {session['reason']} {session['detail']}")


@dataclass(slots=True)
class Watcher:
    """A viewer on a session's media socket, which it acknowledges as a page does."""

    session_id: str
    pictures: int = 0
    first_at: float = 0.0
    """When the first picture was decoded, by the clock of `time.perf_counter`."""
    decodes: bool = True
    _decoder: Any = field(default=None)

    async def run(self, http: aiohttp.ClientSession) -> None:
        """Watch until cancelled, or the session ends."""
        path = f"/v1/sessions/{self.session_id}/media"
        async with http.ws_connect(path, compress=0, max_msg_size=8 * 2**20) as socket:
            told = 0.0
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    continue
                kind, flags, _, sequence, _ = MEDIA_HEADER.unpack_from(message.data)
                if kind != VIDEO:
                    continue
                self.pictures += 1
                if not self.first_at and (flags & KEY_FRAME or self._decoder):
                    self._decode(message.data[MEDIA_HEADER.size :])
                now = time.perf_counter()
                if now - told > ACKNOWLEDGED_S:
                    told = now
                    await socket.send_str(f'["a",{sequence}]')

    def _decode(self, payload: bytes) -> None:
        """One picture is enough; who only counts pictures decodes none after it."""
        if self._decoder is None:
            self._decoder = av.CodecContext.create("h264", "r")
            self._decoder.thread_count = 1
            self._decoder.flags |= av.codec.context.Flags.low_delay
        if self._decoder.decode(av.Packet(payload)):
            self.first_at = time.perf_counter()

    async def seen(self) -> float:
        """When the first picture was decoded."""
        async with asyncio.timeout(WAIT_S):
            while not self.first_at:
                await asyncio.sleep(0.001)
        return self.first_at


# Create to first picture


async def to_first_picture(count: int) -> dict[str, Any]:
    """Seconds from the request to a decoded picture, cold and from a pool, in turns."""
    rows: dict[str, list[float]] = {"cold": [], "warm": []}
    with tempfile.TemporaryDirectory(prefix="ds-") as folder:
        home = Path(folder) / "warm-card"
        home.mkdir()
        (home / "application.toml").write_text(WARM)
        async with stage("--app-folder", folder, capacity=6) as (platform, http):
            for _ in range(count):
                await _pool_is_full(platform)
                rows["cold"].append(await _first(http, "test-card"))
                rows["warm"].append(await _first(http, "warm-card"))
    return {
        name: {
            "starts": len(found),
            "p50_s": round(statistics.median(found), 2),
            "least_s": round(min(found), 2),
            "most_s": round(max(found), 2),
        }
        for name, found in rows.items()
    }


async def _first(http: aiohttp.ClientSession, application: str) -> float:
    began = time.perf_counter()
    session_id = (await create(http, application=application))["id"]
    await until_ready(http, session_id)
    watcher = Watcher(session_id)
    task = asyncio.create_task(watcher.run(http))
    try:
        return await watcher.seen() - began
    finally:
        task.cancel()
        with suppress(asyncio.CancelledError):
            await task
        await end(http, session_id)
        await asyncio.sleep(1.0)  # what ended is gone before the next begins


async def _pool_is_full(platform: PlatformProcess) -> None:
    """Until one waits that shows a picture already."""
    facts = json.loads((platform.data / "run" / "platform.json").read_text())
    async with asyncio.timeout(WAIT_S), aiohttp.ClientSession(facts["operator_url"]) as http:
        while True:
            async with http.get("/metrics") as answer:
                text = await answer.text()
            full = [line for line in text.splitlines() if line.startswith("downstage_pool_waiting")]
            if (
                full
                and all(float(line.rsplit(" ", 1)[1]) >= 1 for line in full)
                and _running(text) == 1
            ):
                await asyncio.sleep(1.0)
                return
            await asyncio.sleep(0.1)


def _running(metrics: str) -> int:
    """Instances of this machine that show a picture, and no others that come or go."""
    found = {
        state: int(float(line.rsplit(" ", 1)[1]))
        for line in metrics.splitlines()
        for state in ("starting", "running", "ending")
        if line.startswith("downstage_node_instances") and f'state="{state}"' in line
    }
    return -1 if found.get("starting") or found.get("ending") else found.get("running", 0)


# Sessions a core


async def per_core(most: int, seconds: float, least_fps: float = 25.0) -> dict[str, Any]:
    """Start sessions with one viewer each until one of them sees less than *least_fps*."""
    rows = list[dict[str, Any]]()
    async with stage(capacity=most + 1) as (platform, http), AsyncExitStack() as stack:
        watchers = list[Watcher]()
        tasks = list[asyncio.Task[None]]()
        stack.callback(lambda: [task.cancel() for task in tasks])
        for number in range(1, most + 1):
            session_id = (await create(http))["id"]
            await until_ready(http, session_id)
            watchers.append(Watcher(session_id))
            tasks.append(asyncio.create_task(watchers[-1].run(http)))
            await watchers[-1].seen()
            await asyncio.sleep(1.0)
            rows.append({"sessions": number, **await _rates(platform, watchers, seconds)})
            if rows[-1]["least_fps"] < least_fps:
                break
    held = [row["sessions"] for row in rows if row["least_fps"] >= least_fps]
    cores = os.cpu_count() or 1
    return {
        "cores": cores,
        "sessions": max(held, default=0),
        "sessions_a_core": round(max(held, default=0) / cores, 2),
        "rows": rows,
    }


async def _rates(
    platform: PlatformProcess, watchers: list[Watcher], seconds: float
) -> dict[str, Any]:
    groups = _groups(platform)
    counts, before = [watcher.pictures for watcher in watchers], shoot(groups)
    await asyncio.sleep(seconds)
    after = shoot(groups)
    passed = after.at - before.at
    rates = [(w.pictures - was) / passed for w, was in zip(watchers, counts, strict=True)]
    used = spent(before, after)
    return {"least_fps": round(min(rates), 1), "mean_fps": round(statistics.mean(rates), 1)} | used


def _groups(platform: PlatformProcess) -> dict[str, set[int]]:
    every = set(platform.processes())
    return {
        "card": matching("downstage.apps.test_card", every),
        "xvfb": matching("Xvfb", every),
        "server": every,
        "viewers": {os.getpid()},
    }


# A second viewer


async def second_viewer(rounds: int, seconds: float) -> dict[str, Any]:
    """The server's CPU for a second viewer, as a share of what the first one costs.

    The session runs without, with one, and with two viewers, by turns. What the first costs is
    everything that serves: capture and encoder work for whoever looks.
    """
    found: dict[int, list[float]] = {1: [], 2: []}
    rates, others = list[float](), list[float]()
    async with stage() as (platform, http):
        session_id = (await create(http))["id"]
        await until_ready(http, session_id)
        for _ in range(rounds):
            watchers = [Watcher(session_id), Watcher(session_id)]
            tasks = list[asyncio.Task[None]]()
            for number, watcher in enumerate(watchers, start=1):
                tasks.append(asyncio.create_task(watcher.run(http)))
                await watcher.seen()
                await asyncio.sleep(1.0)
                row = await _rates(platform, watchers[:number], seconds)
                found[number].append(row["server"])
                others.append(row["other"])
                rates.append(row["least_fps"])
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        await end(http, session_id)
    shares = [(two - one) / one for one, two in zip(found[1], found[2], strict=True)]
    return {
        "rounds": rounds,
        "one_viewer_cpu": round(statistics.median(found[1]), 1),
        "two_viewers_cpu": round(statistics.median(found[2]), 1),
        "second_to_first": round(statistics.median(shares), 2),
        "least_most": [round(min(shares), 2), round(max(shares), 2)],
        "least_fps": min(rates),
        "other_cpu": round(statistics.median(others), 1),
    }
