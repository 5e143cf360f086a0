"""Cameras and servers that are pulled, and where that does not lead."""

from __future__ import annotations

import asyncio
import base64
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import anyio
import pytest

from downstage.contracts.video import H264, Unit
from downstage.media.hls.h264 import split_units
from downstage.streams.reading import NEWEST
from downstage.streams.service import Wish
from downstage.testing.streams import StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

DEADLINE_S = 30
LARGEST = 1200
PASSWORD = "pass-of-the-camera"


@dataclass
class Camera:
    """An RTSP server with one film: RTP over its own connection, Basic authentication."""

    film: list[Unit]
    redirect: str | None = None
    port: int = 0
    asked: list[str] = field(default_factory=list[str])
    connections: int = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode()
                method = head.partition(" ")[0]
                self.asked.append(method)
                number = head.lower().partition("cseq:")[2].split()[0]
                writer.write(self._answer(method, head, number).encode())
                if method == "PLAY":
                    await self._play(writer)
                    break
        writer.close()

    def _answer(self, method: str, head: str, number: str) -> str:
        begin = f"\r\nCSeq: {number}\r\n"
        if method == "OPTIONS":
            return f"RTSP/1.0 200 OK{begin}Public: DESCRIBE, SETUP, PLAY\r\n\r\n"
        if self.redirect is not None:
            return f"RTSP/1.0 302 Moved{begin}Location: {self.redirect}\r\n\r\n"
        told = base64.b64encode(f"eye:{PASSWORD}".encode()).decode()
        if f"Basic {told}" not in head:
            return f'RTSP/1.0 401 No{begin}WWW-Authenticate: Basic realm="cam"\r\n\r\n'
        if method == "DESCRIBE":
            body = self._description()
            kind = f"Content-Type: application/sdp\r\nContent-Length: {len(body)}\r\n"
            return f"RTSP/1.0 200 OK{begin}{kind}\r\n{body}"
        if method == "SETUP":
            way = "Transport: RTP/AVP/TCP;unicast;interleaved=0-1\r\nSession: 1\r\n"
            return f"RTSP/1.0 200 OK{begin}{way}\r\n"
        return f"RTSP/1.0 200 OK{begin}Session: 1\r\n\r\n"

    def _description(self) -> str:
        sets = [u for u in split_units(self.film[0].data) if u[0] & 31 in (7, 8)]
        told = ",".join(base64.b64encode(unit).decode() for unit in sets)
        lines = ["v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=cam", "t=0 0", "m=video 0 RTP/AVP 96"]
        lines += ["a=rtpmap:96 H264/90000", "a=control:track0"]
        lines += [f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={told}", ""]
        return "\r\n".join(lines)

    async def _play(self, writer: asyncio.StreamWriter) -> None:
        sequence = 0
        for unit in self.film:
            units = split_units(unit.data)
            for at, nal in enumerate(units):
                for piece, is_last in _pieces(nal):
                    mark = 0x80 if is_last and at == len(units) - 1 else 0
                    head = bytes((0x80, mark | 96)) + sequence.to_bytes(2, "big")
                    head += (unit.at_us * 9 // 100).to_bytes(4, "big") + b"\0\0\0\7"
                    body = head + piece
                    writer.write(b"$\0" + len(body).to_bytes(2, "big") + body)
                    sequence = sequence + 1 & 0xFFFF
            await writer.drain()
            await asyncio.sleep(0.02)


def _pieces(nal: bytes) -> list[tuple[bytes, bool]]:
    """One unit as RTP payloads (RFC 6184): whole, or in fragments."""
    if len(nal) <= LARGEST:
        return [(nal, True)]
    found = list[tuple[bytes, bool]]()
    body, mark = nal[1:], nal[0] & 0xE0 | 28
    for at in range(0, len(body), LARGEST):
        first, last = at == 0, at + LARGEST >= len(body)
        kind = nal[0] & 31 | (0x80 if first else 0) | (0x40 if last else 0)
        found.append((bytes((mark, kind)) + body[at : at + LARGEST], last))
    return found


@asynccontextmanager
async def camera(tools: Any, redirect: str | None = None) -> AsyncGenerator[Camera]:
    """One on a free port."""
    film, _ = tools.coded(seconds=10)
    found = Camera(film, redirect)
    server = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = server.sockets[0].getsockname()[1]
    async with server:
        yield found


@pytest.fixture
async def server(anyio_backend: str, data: Path) -> AsyncIterator[StreamsServer]:
    """The operator named the cameras of this machine."""
    assert anyio_backend == "asyncio"
    async with streams_server(data, overrides={"streams.pull_hosts": ["127.0.0.1"]}) as running:
        yield running


async def put(
    server: StreamsServer, http: aiohttp.ClientSession, name: str, url: str, **more: Any
) -> tuple[int, Any]:
    """Let *url* be pulled."""
    path, headers = f"{server.url}/v1/streams/{name}/source", server.headers("alice")
    async with http.put(path, json={"url": url, **more}, headers=headers) as answer:
        return answer.status, await answer.json()


async def source(server: StreamsServer, http: aiohttp.ClientSession, name: str) -> Any:
    """How it stands."""
    path = f"{server.url}/v1/streams/{name}/source"
    async with http.get(path, headers=server.headers("alice")) as answer:
        return await answer.json()


async def units(server: StreamsServer, name: str, count: int) -> list[Unit]:
    """So many units of the stream *name*."""
    caller, found = await server.caller("alice"), list[Unit]()
    with anyio.fail_after(DEADLINE_S):
        async with server.streams.reading(caller, Wish({name: NEWEST}, count=64)) as deliveries:
            async for delivery in deliveries:
                read = [Unit.unpack(entry.data) for entry in delivery.entries]
                found += [unit for unit in read if unit is not None and not unit.end]
                if len(found) >= count:
                    return found
    pytest.fail("the stream ended")


async def test_a_camera_is_pulled_and_pulled_again_and_its_password_stays_secret(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any
) -> None:
    async with camera(tools) as eye:
        url = f"rtsp://eye:{PASSWORD}@127.0.0.1:{eye.port}/film"
        status, body = await put(server, http, "door", url)
        assert status == 201
        assert body["url"] == f"rtsp://127.0.0.1:{eye.port}/film"
        found = await units(server, "door.video", 20)
        assert any(unit.key for unit in found)
        caller = await server.caller("alice")
        assert (await server.streams.info(caller, "door.video")).spec.content_type == H264
        with anyio.fail_after(DEADLINE_S):
            while eye.asked.count("PLAY") < 2:  # the film is over: it is connected to again
                await anyio.sleep(0.05)
        assert PASSWORD not in str(await source(server, http, "door"))
        assert (await put(server, http, "door", url))[0] == 200
        path = f"{server.url}/v1/streams/door/source"
        async with http.delete(path, headers=server.headers("alice")) as answer:
            assert answer.status == 204
        async with http.get(path, headers=server.headers("alice")) as answer:
            assert answer.status == 404


async def test_C05_what_is_not_public_and_not_named_is_not_connected_to(
    server: StreamsServer, http: aiohttp.ClientSession
) -> None:
    for url in ("rtsp://169.254.169.254/x", "rtsp://10.0.0.1/x", "rtmp://[::1]/live/x"):
        status, body = await put(server, http, "cam", url)
        assert (status, body["code"]) == (403, "forbidden"), url
    for url in (
        "http://127.0.0.1/x", "file:///etc/passwd", "rtsp:///x", "rtsp://127.0.0.1/a b",
        "rtsps://127.0.0.1/x", "concat:/etc/passwd", "rtsp://127.0.0.1:0/x",
    ):  # fmt: skip
        status, body = await put(server, http, "cam", url)
        assert (status, body["code"]) == (422, "invalid-field"), url


async def test_C05_a_redirect_is_not_followed(
    server: StreamsServer, http: aiohttp.ClientSession, tools: Any
) -> None:
    async with camera(tools) as hidden:
        target = f"rtsp://eye:{PASSWORD}@127.0.0.1:{hidden.port}/film"
        async with camera(tools, redirect=target) as eye:
            await put(server, http, "cam", f"rtsp://127.0.0.1:{eye.port}/film")
            with anyio.fail_after(DEADLINE_S):
                while (await source(server, http, "cam"))["error"] is None:
                    await anyio.sleep(0.05)
            assert "elsewhere" in (await source(server, http, "cam"))["error"]
            assert eye.connections >= 1
        assert hidden.connections == 0


async def test_a_source_that_is_not_there_is_said_to_be_so_and_survives_a_restart(
    data: Path, http: aiohttp.ClientSession
) -> None:
    overrides = {"streams.pull_hosts": ["127.0.0.1"]}
    async with streams_server(data, overrides=overrides) as server:
        assert (await put(server, http, "gone", "rtsp://127.0.0.1:9/x", max_fps=5))[0] == 201
        with anyio.fail_after(DEADLINE_S):
            while (await source(server, http, "gone"))["error"] is None:
                await anyio.sleep(0.05)
    async with streams_server(data, overrides=overrides) as server:
        with anyio.fail_after(DEADLINE_S):
            while "max_fps" not in (told := await source(server, http, "gone")):
                await anyio.sleep(0.05)
        assert told["max_fps"] == 5
