"""RTMP publishers: several at once, each with its key, and what becomes of them."""

from __future__ import annotations

import asyncio
import re
import subprocess
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from downstage.contracts.video import AAC, H264, Unit
from downstage.streams.reading import NEWEST
from downstage.streams.service import Wish
from downstage.testing.streams import StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SOURCES = ["-re", "-f", "lavfi", "-i", "testsrc=s=320x240:r=15", "-f", "lavfi", "-i", "sine"]
CODERS = ["-c:v", "libx264", "-preset", "ultrafast", "-g", "15", "-c:a", "aac", "-ar", "44100"]
DEADLINE_S = 30


@pytest.fixture
async def server(anyio_backend: str, data: Path) -> AsyncIterator[StreamsServer]:
    """With a port for publishers."""
    assert anyio_backend == "asyncio"
    async with streams_server(data, overrides={"streams.rtmp_port": 0}) as running:
        yield running


async def make_key(
    server: StreamsServer, http: aiohttp.ClientSession, name: str, who: str = "alice", **body: Any
) -> dict[str, Any]:
    """A new stream key."""
    url, headers = f"{server.url}/v1/streams/{name}/keys", server.headers(who)
    async with http.post(url, json=body, headers=headers) as answer:
        assert answer.status == 201, await answer.text()
        return await answer.json()


@asynccontextmanager
async def publisher(url: str, *, seconds: float = 60) -> AsyncGenerator[asyncio.subprocess.Process]:
    """FFmpeg that publishes to *url*."""
    command = ["ffmpeg", "-v", "error", *SOURCES, *CODERS, "-t", str(seconds), "-f", "flv", url]
    process = await asyncio.create_subprocess_exec(
        *command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE
    )
    try:
        yield process
    finally:
        if process.returncode is None:
            process.kill()
        with anyio.CancelScope(shield=True):
            await process.communicate()


async def units(server: StreamsServer, name: str, count: int) -> list[Unit]:
    """So many units of the stream *name*, once they come."""
    caller, found = await server.caller("alice"), list[Unit]()
    with anyio.fail_after(DEADLINE_S):
        async with server.streams.reading(caller, Wish({name: NEWEST}, count=64)) as deliveries:
            async for delivery in deliveries:
                read = [Unit.unpack(entry.data) for entry in delivery.entries]
                found += [unit for unit in read if unit is not None]
                if len(found) >= count:
                    return found
    pytest.fail("the stream ended")


async def test_two_publishers_at_once_are_streams_and_are_played(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any, data: Path
) -> None:
    one = await make_key(server, http, "stage")
    two = await make_key(server, http, "hall", label="the hall")
    # As ffmpeg does it, and as OBS does: the key alone as the stream's name.
    async with publisher(one["url"]), publisher(f"{two['server']}/{two['key']}"):
        for name in ("stage", "hall"):
            pictures = await units(server, f"{name}.video", 20)
            assert {unit.key for unit in pictures} == {True, False}
            assert await units(server, f"{name}.audio", 20)
        caller = await server.caller("alice")
        assert (await server.streams.info(caller, "hall.video")).spec.content_type == H264
        assert (await server.streams.info(caller, "hall.audio")).spec.content_type == AAC
        player = tools.Player(http, server, "stage")
        text, path = await player.playlist(segments=3), data / "stage.mp4"
        await player.save(text, path)
        live = await keys_of(server, http, "hall")
        assert [key["live"] for key in live] == [True]
    packets = await anyio.to_thread.run_sync(tools.probe, path)
    assert await anyio.to_thread.run_sync(tools.streams_of, path) == ["h264", "aac"]
    for kind in ("video", "audio"):
        assert [gap for gap in tools.gaps(packets, kind) if abs(gap) > 0.002] == []
    assert not secrets_in(server.host.settings.platform.data, one["key"], two["key"])


async def keys_of(
    server: StreamsServer, http: aiohttp.ClientSession, name: str
) -> list[dict[str, Any]]:
    """The keys of a source as they are listed."""
    url, headers = f"{server.url}/v1/streams/{name}/keys", server.headers("alice")
    async with http.get(url, headers=headers) as answer:
        assert answer.status == 200
        return (await answer.json())["items"]


def secrets_in(folder: Path, *secrets: str) -> list[Path]:
    """Files that hold one of *secrets*, and processes that show it."""
    texts = [path for path in folder.rglob("*") if path.is_file()]
    found = [p for p in texts if any(s.encode() in p.read_bytes() for s in secrets)]
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            line = path.read_bytes()
        except OSError:
            continue
        # The publisher's own command line has it; ours may not.
        if any(s.encode() in line for s in secrets) and b"ffmpeg" not in line:
            found.append(path)
    return found


async def test_a_wrong_key_is_refused_and_a_revoked_one_cut_off(
    server: StreamsServer, http: aiohttp.ClientSession
) -> None:
    made = await make_key(server, http, "cam")
    wrong = re.sub(r"key=.*", "key=wrong", made["url"])
    elsewhere = made["url"].replace("/live/cam?", "/live/other?")
    for url in (wrong, elsewhere, made["server"] + "/cam", made["server"] + "/guess"):
        async with publisher(url, seconds=10) as process:
            with anyio.fail_after(DEADLINE_S):
                assert await process.wait() != 0, url
    async with publisher(made["url"]) as process:
        await units(server, "cam.video", 5)
        async with publisher(made["url"]) as second:
            with anyio.fail_after(DEADLINE_S):
                assert await second.wait() != 0
        url = f"{server.url}/v1/streams/cam/keys/{made['id']}"
        async with http.delete(url, headers=server.headers("bob")) as answer:
            assert answer.status == 204  # whoever may write the stream rules its keys
        await ended(server, "cam")
    async with publisher(made["url"], seconds=10) as process:
        with anyio.fail_after(DEADLINE_S):
            assert await process.wait() != 0


async def ended(server: StreamsServer, name: str) -> None:
    """Return once the source said that it ended."""
    caller = await server.caller("alice")
    with anyio.fail_after(DEADLINE_S):
        while True:
            last = await server.streams.read(
                caller, {f"{name}.video": NEWEST}, count=1, order="newest"
            )
            unit = Unit.unpack(last[0].data) if last else None
            if unit is not None and unit.end:
                return
            await anyio.sleep(0.05)


async def test_a_publisher_that_dies_ends_its_stream(
    server: StreamsServer, http: aiohttp.ClientSession
) -> None:
    made = await make_key(server, http, "cam")
    async with publisher(made["url"]) as process:
        await units(server, "cam.video", 5)
        process.kill()
        await ended(server, "cam")
        assert [key["live"] for key in await keys_of(server, http, "cam")] == [False]
    async with publisher(made["url"]):
        assert (await units(server, "cam.video", 5))[-1].end is False


async def test_pictures_become_jpeg_where_that_is_wanted(
    server: StreamsServer, http: aiohttp.ClientSession
) -> None:
    made = await make_key(server, http, "shots", wanted="images", max_fps=5)
    caller = await server.caller("alice")
    async with publisher(made["url"]):
        with anyio.fail_after(DEADLINE_S):
            while True:
                found = await server.streams.read(
                    caller, {"shots": NEWEST}, count=5, order="newest"
                )
                if len(found) == 5:
                    break
                await anyio.sleep(0.05)
    assert all(entry.data.startswith(b"\xff\xd8\xff") for entry in found)
    assert (await server.streams.info(caller, "shots")).spec.content_type == "image/jpeg"


async def test_nobody_plays_from_the_publishers_port(
    server: StreamsServer, http: aiohttp.ClientSession
) -> None:
    made = await make_key(server, http, "cam")
    async with publisher(made["url"]):
        await units(server, "cam.video", 5)
        command = ["ffprobe", "-v", "error", "-rw_timeout", "3000000", f"{made['server']}/cam"]
        done = await anyio.run_process(command, check=False)
        assert done.returncode != 0


async def test_without_nginx_one_publisher_is_taken_on_loopback(
    data: Path, http: aiohttp.ClientSession
) -> None:
    overrides = {"streams.rtmp_port": 0, "streams.rtmp_server": "pyav"}
    async with streams_server(data, overrides=overrides) as server:
        made = await make_key(server, http, "solo")
        wrong = re.sub("key=.*", "key=wrong", made["url"])
        assert await published(wrong) != 0
        assert await published(made["url"]) == 0
        await ended(server, "solo")
        caller = await server.caller("alice")
        info = await server.streams.info(caller, "solo.video")
        assert info.spec.content_type == H264
        assert info.length > 20


async def published(url: str) -> int | None:
    """Exit code of a publisher of two seconds, once the port took its connection."""
    with anyio.fail_after(DEADLINE_S):
        while True:
            async with publisher(url, seconds=2) as process:
                _, said = await process.communicate()
            # Between two publishers nobody listens for a moment.
            if b"Connection refused" not in said:
                return process.returncode
