"""HLS of streams of a running service, checked by FFmpeg's own tools."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import anyio.to_thread
import pytest

from downstage.contracts.video import H264, OPUS, Unit
from downstage.testing.streams import StreamsServer

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_an_image_stream_is_played_and_its_segments_are_clean(
    server: StreamsServer, http: aiohttp.ClientSession, film: Any, tools: Any, data: Path
) -> None:
    player, text, path = tools.Player(http, server, "cam"), "", data / "cam.mp4"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(film, "cam")
        text = await player.playlist(segments=3)
        await player.save(text, path)
        # Another player, which knows nothing of parts and waits for nothing.
        bearer = f"Authorization: Bearer {server.tokens['alice']}\r\n"
        command = ["ffprobe", "-v", "error", "-headers", bearer, "-show_entries"]
        command += ["stream=codec_name", "-of", "csv=p=0", f"{server.url}/hls/cam/index.m3u8"]
        told = await anyio.run_process(command)
        assert (set(told.stdout.split()), told.stderr) == ({b"h264"}, b"")
        tasks.cancel_scope.cancel()
    packets = await anyio.to_thread.run_sync(tools.probe, path)
    assert await anyio.to_thread.run_sync(tools.streams_of, path) == ["h264"]
    steps = tools.steps(packets, "video")
    assert all(0 < step < 1 for step in steps), steps
    declared = [float(item) for item in re.findall(r"#EXTINF:([\d.]+)", text)]
    assert sum(steps) == pytest.approx(sum(declared), abs=0.5)
    assert max(declared) <= int(re.findall(r"TARGETDURATION:(\d+)", text)[0])


async def test_a_still_picture_goes_on_and_idle_is_off_the_air(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any, monkeypatch: Any
) -> None:
    from downstage.streams.video import channel

    caller = await server.caller("alice")
    await server.streams.append(caller, [("still", b"*", tools.jpeg(0))])
    player = tools.Player(http, server, "still")
    text = await player.playlist(segments=2)
    assert "#EXT-X-ENDLIST" not in text
    monkeypatch.setattr(channel, "IDLE_S", 0.5)
    parts: Any = server.extension._parts  # pyright: ignore[reportPrivateUsage]
    hls = next(part for part in parts if hasattr(part, "hls"))
    with anyio.fail_after(10):
        while "downstage_hls_channels 0" not in hls.metrics():
            await anyio.sleep(0.05)
    assert (await player.get("init-0.mp4"))[0] == 404


async def test_what_may_not_be_read_or_is_no_picture_is_refused(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any
) -> None:
    caller = await server.caller("alice")
    await server.streams.append(caller, [("text", b"*", b"hello"), ("cam", b"*", tools.jpeg(0))])
    await server.streams.describe(caller, "json", {"content_type": "application/json"})
    await server.streams.append(caller, [("json", b"*", b"{}")])
    for name, status in (("text", 415), ("json", 415), ("none", 404), ("session.x", 503)):
        got = await tools.Player(http, server, name).get("index.m3u8")
        assert got[0] == status, (name, got)
    bounded = await server.program_token("alice", "streams:read", streams={"other*": ["read"]})
    server.tokens["bounded"] = bounded
    assert (await tools.Player(http, server, "cam", "bounded").get("index.m3u8"))[0] == 404


async def test_coded_pictures_and_sound_are_passed_on_without_gaps(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any, data: Path
) -> None:
    caller = await server.caller("alice")
    await server.streams.describe(caller, "pass.video", {"content_type": H264})
    await server.streams.describe(caller, "pass.audio", {"content_type": OPUS})
    pictures, sounds = tools.coded(seconds=9, silence=(3, 5))
    items = [("pass.video", b"*", unit.pack()) for unit in pictures]
    items += [("pass.audio", b"*", unit.pack()) for unit in sounds]
    player = tools.Player(http, server, "pass")
    # Written at once: all of it is younger than the seconds that are read back.
    await server.streams.append(caller, items)
    text = await player.playlist(segments=3)
    path = await player.save(text, data / "pass.mp4")
    packets = await anyio.to_thread.run_sync(tools.probe, path)
    assert await anyio.to_thread.run_sync(tools.streams_of, path) == ["h264", "aac"]
    assert [gap for gap in tools.gaps(packets, "video") if abs(gap) > 0.001] == []
    assert [gap for gap in tools.gaps(packets, "audio") if abs(gap) > 0.001] == []


async def test_a_source_that_says_it_has_ended_ends_the_playlist(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any
) -> None:
    caller = await server.caller("alice")
    await server.streams.describe(caller, "over.video", {"content_type": H264})
    pictures, _ = tools.coded(seconds=4)
    units = [*pictures, Unit(b"", 0, 0, end=True)]
    player = tools.Player(http, server, "over.video")
    await server.streams.append(caller, [("over.video", b"*", unit.pack()) for unit in units])
    text = await player.playlist("#EXT-X-ENDLIST")
    last = re.findall(r"^(seg-\S+)$", text, re.MULTILINE)[-1]
    assert (await player.get(last))[0] == 200
