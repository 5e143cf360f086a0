"""Resumable uploads as tus has them, events, and what stands still."""

from __future__ import annotations

import asyncio
import base64
import json
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import aiohttp
import pytest
from blake3 import blake3

from downstage.testing.content import ContentServer, content_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

TUS = {"tus-resumable": "1.0.0"}
OFFSET = "application/offset+octet-stream"


@pytest.fixture
async def alice(server: ContentServer) -> AsyncIterator[aiohttp.ClientSession]:
    headers = server.headers("alice") | TUS
    async with aiohttp.ClientSession(server.url, headers=headers) as session:
        yield session


def metadata(**fields: str) -> str:
    pairs = [f"{key} {base64.b64encode(text.encode()).decode()}" for key, text in fields.items()]
    return ",".join(pairs)


async def begin(session: aiohttp.ClientSession, size: int, path: str, **more: str) -> str:
    fields = {"upload-length": str(size), "upload-metadata": metadata(path=path, **more)}
    async with session.post("/v1/files-uploads", headers=fields) as answer:
        assert answer.status == 201, await answer.text()
        assert answer.headers["upload-offset"] == "0"
        assert "upload-expires" in answer.headers
        return answer.headers["location"]


async def send(
    session: aiohttp.ClientSession, place: str, offset: int, body: bytes
) -> tuple[int, dict[str, str]]:
    fields = {"upload-offset": str(offset), "content-type": OFFSET}
    async with session.patch(place, data=body, headers=fields) as answer:
        return answer.status, {k.lower(): v for k, v in answer.headers.items()}


async def test_an_upload_goes_on_where_it_was_cut_off(
    alice: aiohttp.ClientSession, home: str
) -> None:
    body = bytes(range(256)) * 1000
    place = await begin(alice, len(body), f"{home}/a", message="by parts")
    status, headers = await send(alice, place, 0, body[:100_000])
    assert (status, headers["upload-offset"]) == (204, "100000")
    assert (await send(alice, place, 5, body[5:]))[0] == 409
    async with alice.head(place) as answer:
        assert (answer.status, answer.headers["upload-offset"]) == (200, "100000")
        assert answer.headers["upload-length"] == str(len(body))
    status, headers = await send(alice, place, 100_000, body[100_000:])
    assert (status, headers["etag"]) == (204, f'"{blake3(body).hexdigest()}"')
    async with alice.head(place) as answer:  # the last answer may have been lost
        assert (answer.status, answer.headers["upload-offset"]) == (200, str(len(body)))
    async with alice.get(f"/v1/files{home}/a") as answer:
        assert await answer.read() == body
    async with alice.get("/v1/files-checkpoints", params={"path": f"{home}/a"}) as answer:
        assert (await answer.json())["items"][0]["comment"] == "by parts"


async def test_what_a_broken_line_brought_counts(
    alice: aiohttp.ClientSession, server: ContentServer, home: str
) -> None:
    place = await begin(alice, 300_000, f"{home}/a")
    host, port = server.url.removeprefix("http://").split(":")
    _, writer = await asyncio.open_connection(host, int(port))
    head = (
        f"PATCH {place} HTTP/1.1\r\nHost: x\r\nTus-Resumable: 1.0.0\r\nUpload-Offset: 0\r\n"
        f"Content-Type: {OFFSET}\r\nAuthorization: Bearer {server.token('alice')}\r\n"
        "Content-Length: 300000\r\n\r\n"
    )
    writer.write(head.encode() + bytes(150_000))
    await writer.drain()
    writer.transport.abort()
    with suppress(OSError):
        await writer.wait_closed()
    for _ in range(1000):
        async with alice.head(place) as answer:
            if answer.headers["upload-offset"] == "150000":
                break
        await asyncio.sleep(0.02)
    status, headers = await send(alice, place, 150_000, bytes(150_000))
    assert (status, headers["etag"]) == (204, f'"{blake3(bytes(300_000)).hexdigest()}"')


async def test_an_upload_is_its_owners_and_ends_by_delete(
    alice: aiohttp.ClientSession, server: ContentServer, home: str
) -> None:
    place = await begin(alice, 10, f"{home}/a")
    async with alice.head(place, headers=server.headers("bob")) as answer:
        assert answer.status == 410
    async with alice.delete(place) as answer:
        assert answer.status == 204
    assert (await send(alice, place, 0, bytes(10)))[0] == 410
    async with alice.options("/v1/files-uploads") as answer:
        assert "termination" in answer.headers["tus-extension"]
    async with alice.head(place, headers={"tus-resumable": "0.2.2"}) as answer:
        assert (answer.status, answer.headers["tus-version"]) == (412, "1.0.0")
    fields = {"upload-length": "0", "upload-metadata": metadata(filename=f"{home}/empty")}
    async with alice.post("/v1/files-uploads", headers=fields) as answer:
        assert (answer.status, answer.headers["etag"]) == (201, f'"{blake3(b"").hexdigest()}"')
    async with alice.get(f"/v1/files{home}/empty") as answer:
        assert (answer.status, await answer.read()) == (200, b"")


@pytest.mark.parametrize(
    ("fields", "status"),
    [
        ({"upload-length": "x"}, 422),
        ({"upload-length": "10"}, 422),
        ({"upload-length": "10", "upload-metadata": "path !!!"}, 400),
        ({"upload-length": "10", "upload-metadata": metadata(path="/a/../b")}, 400),
        ({"upload-length": str(2**52), "upload-metadata": metadata(path="/a")}, 422),
        ({"upload-length": str(2**49), "upload-metadata": metadata(path="/a")}, 507),
    ],
)
async def test_uploads_that_cannot_be_are_refused_at_once(
    alice: aiohttp.ClientSession, fields: dict[str, str], status: int
) -> None:
    async with alice.post("/v1/files-uploads", headers=fields) as answer:
        assert answer.status == status
        assert answer.headers["tus-resumable"] == "1.0.0"


async def test_events_are_followed_and_resumed(alice: aiohttp.ClientSession, home: str) -> None:
    await (await alice.put(f"/v1/files{home}/a", data=b"1")).read()

    async def events(count: int, **headers: str) -> list[dict[str, str]]:
        found, fields = list[dict[str, str]](), dict[str, str]()
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        async with alice.get("/v1/files-events", params={"path": home}, headers=named) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            async for line in answer.content:
                name, _, value = line.decode().strip().partition(": ")
                if not name and fields:
                    found.append(fields)
                    fields = {}
                    if len(found) == 1 and not headers:
                        await (await alice.put(f"/v1/files{home}/b", data=b"2")).read()
                elif name:
                    fields[name] = value
                if len(found) == count:
                    return found
        raise AssertionError

    async with asyncio.timeout(10):
        ready, created = await events(2)
        assert (ready["event"], created["event"]) == ("ready", "created")
        assert json.loads(created["data"])["path"] == f"{home}/b"
        again = await events(2, last_event_id=ready["id"])
        assert again[1]["id"] == created["id"]
    async with alice.get("/v1/files-events", params={"path": f"{home}/none"}) as answer:
        assert answer.status == 404


async def test_T03_what_stands_still_is_cut_off_and_what_moves_is_not(data: Path) -> None:
    async with content_server(data, overrides={"content.idle_deadline": 1.5}) as server:
        alice = await server.caller("alice")
        await server.content.write(alice, "/large", bytes(8 * 1024 * 1024))
        host, port = server.url.removeprefix("http://").split(":")
        token = f"Authorization: Bearer {server.token('alice')}\r\nHost: x\r\n"

        async def put(name: str, pieces: int, pause_s: float) -> bytes:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(
                f"PUT /v1/files/{name} HTTP/1.1\r\n{token}Content-Length: 100000\r\n\r\n".encode()
            )
            for _ in range(pieces):
                writer.write(bytes(10_000))
                await asyncio.sleep(pause_s)
            answer = await asyncio.wait_for(reader.read(64), 20)
            writer.transport.abort()
            return answer

        async def got() -> int:
            reader, writer = await asyncio.open_connection(host, int(port))
            writer.write(f"GET /v1/files/large HTTP/1.1\r\n{token}\r\n".encode())
            await reader.readexactly(1000)
            writer.transport.pause_reading()  # type: ignore[attr-defined]
            await asyncio.sleep(4)
            writer.transport.resume_reading()  # type: ignore[attr-defined]
            rest = await asyncio.wait_for(reader.read(-1), 20)
            writer.close()
            return len(rest)

        # The second takes longer than the deadline, but it moves.
        stands, moves, read = await asyncio.gather(put("a", 5, 0), put("b", 10, 0.25), got())
        assert b" 504 " in stands
        assert b" 201 " in moves
        assert read < 8 * 1024 * 1024
