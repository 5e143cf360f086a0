"""A streams service with video, and a camera that needs no hardware."""

from __future__ import annotations

import io
import itertools
import re
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import aiohttp
import anyio
import numpy as np
import pytest
from av.audio.frame import AudioFrame
from av.video.frame import VideoFrame
from PIL import Image, ImageDraw

from downstage.contracts.video import Unit
from downstage.media.hls.codecs import audio_codec, video_codec
from downstage.media.hls.codecs import coded as video_coded
from downstage.testing.streams import StreamsServer, streams_server

DEADLINE_S = 30.0
KEEP_TIMES = ("-fps_mode", "passthrough", "-enc_time_base:v", "1/90000")


@dataclass
class Player:
    """Reads playlists and what they name, as a player does."""

    http: aiohttp.ClientSession
    server: StreamsServer
    name: str
    who: str = "alice"

    async def get(self, file: str) -> tuple[int, bytes, Any]:
        """Status, body and headers of a file beside the playlist."""
        url = f"{self.server.url}/hls/{self.name}/{file}"
        async with self.http.get(url, headers=self.server.headers(self.who)) as answer:
            return answer.status, await answer.read(), answer.headers

    async def playlist(self, *needed: str, segments: int = 0) -> str:
        """The playlist once it holds *needed* and so many whole segments."""
        with anyio.fail_after(DEADLINE_S):
            query = ""
            while True:
                status, body, _ = await self.get(f"index.m3u8{query}")
                text = body.decode()
                if status in (404, 503):  # not there yet
                    await anyio.sleep(0.05)
                    continue
                assert status == 200, text
                whole = text.count("#EXTINF")
                if whole >= segments and all(item in text for item in needed):
                    return text
                assert "#EXT-X-ENDLIST" not in text, text
                first = int(re.findall(r"MEDIA-SEQUENCE:(\d+)", text)[0])
                query = f"?_HLS_msn={first + whole}"

    async def save(self, text: str, path: Path) -> Path:
        """All that the playlist *text* names, up to the first discontinuity, as one file."""
        text = text.split("#EXT-X-DISCONTINUITY\n", maxsplit=1)[0]
        files = re.findall(r'MAP:URI="([^"]+)"', text)[:1]
        files += re.findall(r"^(seg-\S+)$", text, re.MULTILINE)
        bodies = [(await self.get(file))[1] for file in files]
        path.write_bytes(b"".join(bodies))
        return path


def probe(path: Path) -> list[dict[str, str]]:
    """Packets of a file as ffprobe sees them; fails where it complains."""
    done = subprocess.run(
        ["ffprobe", "-v", "warning", "-show_packets", "-of", "compact=p=0", str(path)],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    rows = (line.split("|") for line in done.stdout.splitlines() if line.startswith("codec_type"))
    return [dict(item.split("=", 1) for item in row if "=" in item) for row in rows]


def streams_of(path: Path) -> list[str]:
    """Names of the codecs in a file, once all of it was decoded without a complaint."""
    done = subprocess.run(
        ["ffmpeg", "-v", "warning", "-i", str(path), *KEEP_TIMES, "-f", "null", "-"],
        capture_output=True,
        text=True,
        timeout=30,
        check=True,
    )
    assert done.stderr == ""
    command = ["ffprobe", "-v", "error", "-show_entries", "stream=codec_name", "-of", "csv=p=0"]
    told = subprocess.run([*command, str(path)], capture_output=True, text=True, check=True)
    return told.stdout.split()


def gaps(packets: Sequence[dict[str, str]], kind: str) -> list[float]:
    """Seconds between the end of each packet and the next one's time; none may be there."""
    rows = [row for row in packets if row["codec_type"] == kind]
    return [
        float(after["dts_time"]) - float(before["dts_time"]) - float(before["duration_time"])
        for before, after in itertools.pairwise(rows)
    ]


def steps(packets: Sequence[dict[str, str]], kind: str) -> list[float]:
    """Seconds from each packet to the next."""
    times = [float(row["dts_time"]) for row in packets if row["codec_type"] == kind]
    return [after - before for before, after in itertools.pairwise(times)]


def jpeg(number: int, size: tuple[int, int] = (320, 240)) -> bytes:
    """A picture with a bar that moves."""
    picture = Image.new("RGB", size, "navy")
    at = number * 7 % size[0]
    ImageDraw.Draw(picture).rectangle((at, 0, at + 20, size[1]), fill="gold")
    held = io.BytesIO()
    picture.save(held, "JPEG", quality=80)
    return held.getvalue()


@pytest.fixture
async def server(anyio_backend: str, data: Path) -> AsyncIterator[StreamsServer]:
    """Alice and Bob, and an administrator."""
    assert anyio_backend == "asyncio"
    async with streams_server(data) as running:
        yield running


@pytest.fixture
async def http(anyio_backend: str) -> AsyncIterator[aiohttp.ClientSession]:
    """A client without cookies of its own."""
    assert anyio_backend == "asyncio"
    async with aiohttp.ClientSession(cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


Film = Callable[[str], Awaitable[None]]


@pytest.fixture
def film(server: StreamsServer) -> Film:
    """Pushes pictures into a stream, 15 a second, until it is cancelled."""

    async def run(stream: str) -> None:
        caller = await server.caller("alice")
        pictures = [jpeg(number) for number in range(40)]
        producer = server.streams.producer(caller, [stream])
        try:
            for number in itertools.count():
                producer.put(stream, pictures[number % 40])
                await anyio.sleep(1 / 15)
        finally:
            producer.close()

    return run


def coded(
    seconds: float, *, silence: tuple[float, float] = (0, 0)
) -> tuple[list[Unit], list[Unit]]:
    """Units of pictures (10 a second, a key frame each second) and of Opus sound."""
    encoder = video_codec("libx264", "w")
    encoder.width, encoder.height, encoder.pix_fmt = 64, 48, "yuv420p"
    encoder.time_base, encoder.gop_size = Fraction(1, 10), 10
    encoder.options = {"preset": "ultrafast", "tune": "zerolatency"}
    pictures = list[Unit]()
    for number in range(int(seconds * 10)):
        for data, key in video_coded(encoder, VideoFrame(64, 48, "yuv420p")):
            pictures.append(Unit(data, number * 100_000, number, key, restart=number == 0))
    voice = audio_codec("libopus", "w")
    voice.sample_rate, voice.layout, voice.format = 48_000, "stereo", "s16"
    sounds = list[Unit]()
    for number in range(int(seconds * 50)):
        frame = AudioFrame.from_ndarray(np.zeros((1, 1920), np.int16), "s16", "stereo")
        frame.sample_rate = 48_000
        for data, _ in video_coded(voice, frame):
            if not silence[0] <= number / 50 < silence[1]:
                sounds.append(Unit(data, number * 20_000, number))
    return pictures, sounds


@pytest.fixture
def tools() -> SimpleNamespace:
    """What tests of this folder share."""
    return SimpleNamespace(
        Player=Player,
        probe=probe,
        streams_of=streams_of,
        gaps=gaps,
        steps=steps,
        jpeg=jpeg,
        coded=coded,
    )
