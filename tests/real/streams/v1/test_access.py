"""Who gets in, over HTTP and by sockets, with which token; and what is never told of it."""

from __future__ import annotations

import asyncio
import json
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import pytest

from downstage.cli.platform import check_binding
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import load
from downstage.testing.streams import StreamsProcess, StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SAMPLE = (  # as the data server's page prints it for everybody
    "eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9.eyJzdWIiOiJwdGciLCJleHAiOjE2NTI1NDU3MTl9"
    ".8S6dal-Q97TfJZG7rYLQWe5n3IovU9qCmtPYo7voNN4"
)
EVIL = ("https://evil", "null", "{home}.evil.example")
DEADLINE_S = 20


async def upgrade(url: str, path: str, *lines: str) -> tuple[int, dict[str, str], str]:
    """Ask for a WebSocket; the answer's status, headers and body."""
    place = urlsplit(url)
    reader, writer = await asyncio.open_connection(place.hostname, place.port)
    key = "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13"
    head = [f"GET {path} HTTP/1.1", f"Host: {place.netloc}", "Upgrade: websocket"]
    writer.write("\r\n".join([*head, "Connection: Upgrade", key, *lines, "", ""]).encode())
    async with asyncio.timeout(DEADLINE_S):
        text = (await reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = text.split("\r\n")
        headers = {k.lower(): v for k, _, v in (line.partition(": ") for line in rest) if k}
        body = await reader.readexactly(int(headers.get("content-length", 0)))
    writer.close()
    await writer.wait_closed()
    return int(first.split()[1]), headers, body.decode()


def bearer(server: StreamsServer, name: str = "alice") -> str:
    return f"Authorization: Bearer {server.token(name)}"


def cookie(server: StreamsServer, name: str = "alice") -> str:
    return f'Cookie: authorization="Bearer {server.token(name)}"'


PATHS = ("/v1/streams/{}/pull", "/v1/streams/{}/push", "/data/{}/pull", "/data/{}/push")


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("origin", EVIL)
async def test_A01_a_page_of_somebody_else_opens_no_socket(
    server: StreamsServer, fresh: str, path: str, origin: str
) -> None:
    line = f"Origin: {origin.format(home=server.url)}"
    refused = server.callers.refused["origin"]
    for proof in (cookie(server), bearer(server)):
        status, _, body = await upgrade(server.url, path.format(fresh), line, proof)
        assert (status, json.loads(body)["code"]) == (403, "forbidden")
    assert server.callers.refused["origin"] == refused + 2
    assert server.callers.count == 0
    lines = server.extension.metrics()
    assert f'downstage_streams_callers_refused_total{{cause="origin"}} {refused + 2}' in lines


@pytest.mark.parametrize("path", PATHS)
async def test_A02_without_origin_a_header_opens_a_socket_and_a_cookie_does_not(
    server: StreamsServer, fresh: str, path: str
) -> None:
    status, _, _ = await upgrade(server.url, path.format(fresh), bearer(server))
    assert status == 101
    status, _, _ = await upgrade(server.url, path.format(fresh), cookie(server))
    assert status == (403 if path.startswith("/data") else 401)  # ours look at no cookie
    home = f"Origin: {server.url}"
    status, _, _ = await upgrade(server.url, path.format(fresh), cookie(server), home)
    assert status == (101 if path.startswith("/data") else 401)


@pytest.mark.parametrize("path", PATHS)
async def test_who_is_unknown_is_told_so_before_the_socket_opens(
    server: StreamsServer, fresh: str, path: str
) -> None:
    path = path.format(fresh)
    forged = server.token("alice")[:-6] + "AAAAAA"
    for lines, query in (
        ((), ""),
        ((f"Authorization: Bearer {forged}",), ""),
        (("Authorization: Bearer x",), ""),
        ((), f"?token={server.token('alice')}"),
        ((), "?token=nothing"),
    ):
        status, headers, body = await upgrade(server.url, path + query, *lines)
        assert (status, headers["www-authenticate"]) == (401, "Bearer")
        assert json.loads(body)["code"] in ("unauthenticated", "invalid-token")


async def test_a_ticket_opens_one_socket_of_its_kind(
    server: StreamsServer, api: Any, fresh: str
) -> None:
    async def ticket(purpose: str) -> str:
        answer = await api.json("POST", "/v1/streams/tickets", 201, json={"purpose": purpose})
        return f"/v1/streams/{fresh}/pull?token={answer['ticket']}"

    home = f"Origin: {server.url}"
    address = await ticket("pull")
    assert (await upgrade(server.url, address, home))[0] == 101
    assert (await upgrade(server.url, address, home))[0] == 401
    for purpose in ("push", "read"):
        assert (await upgrade(server.url, await ticket(purpose), home))[0] == 401
    await api.json("POST", "/v1/streams/tickets", 422, json={"purpose": "all"})


async def test_a_ticket_to_read_reads_and_does_nothing_else(
    server: StreamsServer, session: aiohttp.ClientSession, api: Any, fresh: str
) -> None:
    await api.push(fresh, b"x")

    async def spend(method: str, path: str, purpose: str = "read", **more: Any) -> int:
        made = await api.json("POST", "/v1/streams/tickets", 201, json={"purpose": purpose})
        url = f"{server.url}{path}?token={made['ticket']}"
        async with session.request(method, url, **more) as answer:
            return answer.status

    entries = f"/v1/streams/{fresh}/entries"
    assert await spend("GET", f"{entries}/newest") == 200
    assert await spend("GET", f"{entries}/newest", "push") == 401
    assert await spend("POST", entries, "read", data=b"x") == 401
    assert await spend("POST", entries, "push", data=b"x") == 201
    assert await spend("DELETE", f"/v1/streams/{fresh}", "read") == 401
    for purpose in ("read", "push"):  # none buys another, or a minute would last for ever
        assert await spend("POST", "/v1/streams/tickets", purpose, json={}) in (401, 403)


async def test_a_bounded_token_sees_its_streams_and_no_others(
    server: StreamsServer, session: aiohttp.ClientSession, api: Any, fresh: str
) -> None:
    mine, other = f"{fresh}-mine", f"{fresh}-other"
    for name in (mine, other):
        await api.push(name, b"x", "text/plain")
    reader = await server.program_token("alice", streams={f"{fresh}-m*": ["read"]})
    writer = await server.program_token("alice", streams={f"{fresh}-w*": ["write"]})

    async def ask(token: str, method: str, path: str, **more: Any) -> tuple[int, str]:
        headers = {"authorization": f"Bearer {token}", "x-request-id": "same"}
        async with session.request(method, server.url + path, headers=headers, **more) as answer:
            return answer.status, (await answer.text()).replace(other, "X").replace("none", "X")

    status, body = await ask(reader, "GET", f"/v1/streams?pattern={fresh}*")
    assert json.loads(body)["items"] == [mine]
    assert (await ask(reader, "GET", f"/v1/streams/{mine}/entries"))[0] == 200
    assert (await ask(reader, "POST", f"/v1/streams/{mine}/entries", data=b"x"))[0] == 403
    for path in ("", "/entries", "/entries/newest"):
        hidden = await ask(reader, "GET", f"/v1/streams/{other}{path}")
        absent = await ask(reader, "GET", f"/v1/streams/none{path}")
        assert hidden == absent
        assert hidden[0] == 404
    status, _ = await ask(reader, "GET", f"/v1/streams-at?streams={mine},{other}&time=1")
    assert status == 404
    cam = f"/v1/streams/{fresh}-w1/entries"
    assert (await ask(writer, "POST", cam, data=b"x"))[0] == 201
    assert (await ask(writer, "GET", cam))[0] == 404
    assert (await ask(writer, "POST", f"/v1/streams/{other}/entries", data=b"x"))[0] in (403, 404)
    assert (await ask(writer, "GET", "/v1/streams"))[1] == '{"items":[],"next":null}'


async def test_C10_streams_of_another_tenant_are_not_there(
    server: StreamsServer, session: aiohttp.ClientSession, api: Any, fresh: str
) -> None:
    await api.push(fresh, b"secret")
    alice = await server.host.authenticator.principal(server.token("alice"))
    foreign = replace(alice, tenant="other", token_id="", subject="eve")
    signed = await server.identity.keys.sign(foreign, timedelta(minutes=5))
    headers = {"authorization": f"Bearer {signed.token}"}
    for path in ("", "/entries", "/entries/newest"):
        await api.json("GET", f"/v1/streams/{fresh}{path}", 404, headers=headers)
    assert fresh not in (await api.json("GET", "/v1/streams", headers=headers))["items"]
    for name in (f"main:{fresh}", f"other:{fresh}", f"main.{fresh}"):
        await api.json("GET", f"/v1/streams/{name}", 404, headers=headers)
    async with api.request(
        "POST", f"/v1/streams/{fresh}/entries", data=b"theirs", headers=headers
    ) as answer:
        assert answer.status == 201
    await api.json("DELETE", f"/v1/streams/{fresh}", 204, headers=headers)
    async with api.request("GET", f"/v1/streams/{fresh}/entries/newest") as answer:
        assert await answer.read() == b"secret"


@pytest.fixture
async def demo(data: Path, anyio_backend: str) -> AsyncIterator[StreamsServer]:
    async with streams_server(data / "d", overrides={"platform.demo": True}) as running:
        yield running


async def test_A11_the_published_sample_token_works_in_a_demo_here_alone(
    demo: StreamsServer, server: StreamsServer, session: aiohttp.ClientSession, fresh: str
) -> None:
    headers = {"authorization": f"Bearer {SAMPLE}"}

    async def ask(url: str, **more: Any) -> tuple[int, Any]:
        async with session.get(f"{url}/v1/streams", **more) as answer:
            return answer.status, await answer.json()

    assert (await ask(demo.url, headers=headers))[0] == 200
    assert (await ask(demo.url, params={"token": SAMPLE}))[0] == 200
    assert (await upgrade(demo.url, f"/data/{fresh}/push?token={SAMPLE}"))[0] == 101
    for more in ({"headers": headers}, {"params": {"token": SAMPLE}}):
        status, problem = await ask(server.url, **more)
        assert (status, problem["code"]) == (401, "invalid-token")
        assert "--demo" in problem["detail"]
    rebound = {**headers, "host": "evil.example"}
    assert (await ask(demo.url, headers=rebound))[0] == 401
    elsewhere = {**headers, "x-forwarded-for": "192.0.2.1"}
    assert (await ask(demo.url, headers=elsewhere))[0] in (200, 401)  # nobody believes it


def test_A11_a_demo_refuses_to_start_where_others_reach_it(data: Path) -> None:
    settings = load(environment={}, overrides={"platform.demo": True, "platform.host": "0.0.0.0"})
    with pytest.raises(SetupError, match="on this machine alone"):
        check_binding(settings)


@pytest.fixture(scope="module")
def process() -> Iterator[StreamsProcess]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    with StreamsProcess(folder / "d") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


async def test_A12_names_of_any_size_are_refused_and_logged_in_short_lines(
    process: StreamsProcess, session: aiohttp.ClientSession
) -> None:
    place = urlsplit(process.url)
    huge = b"x" * (10 << 20)

    async def raw(head: bytes) -> int:
        """Send *head* as far as it is taken; the status of the answer."""
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        writer.write(head)
        async with asyncio.timeout(DEADLINE_S):
            line = await reader.readline()
        writer.transport.abort()
        return int(line.split()[1])

    bearer_line = f"Authorization: {process.headers('alice')['authorization']}\r\n".encode()
    assert await raw(b"GET /v1/streams/" + huge + b" HTTP/1.1\r\nHost: x\r\n\r\n") in (414, 431)
    for name in (b"Idempotency-Key: ", b"Authorization: Bearer ", b"Cookie: authorization="):
        head = b"POST /v1/streams/a/entries HTTP/1.1\r\nHost: x\r\n" + name + huge + b"\r\n\r\n"
        assert await raw(head) == 431
    strange = "\x1b[31mred\x1b[0m\n\r2026 [error] forged"
    for name in (strange, "\x00", "é" * 60, "a" * 60_000):
        url = f"{process.url}/v1/streams/{name}"
        async with session.get(url, headers=process.headers("alice")) as answer:
            assert answer.status in (404, 422), name
    body = json.dumps({"description": huge.decode()}).encode()
    head = f"PUT /v1/streams/a HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n".encode()
    assert await raw(head + b"Content-Type: application/json\r\n" + bearer_line + b"\r\n") == 413
    query = {"token": strange}
    async with session.get(f"{process.url}/v1/streams", params=query) as answer:
        assert answer.status == 401
    lines = process.output().split("\n")
    assert len(lines) > 5
    for line in lines:
        assert len(line) <= 1024, line[:200]
        assert not any(ord(letter) < 32 for letter in line), line
        assert "forged" not in line or "\\n" in line


async def test_a_token_in_an_address_is_in_no_log(
    process: StreamsProcess, session: aiohttp.ClientSession
) -> None:
    secret = "a-ticket-that-nobody-may-read"
    headers = process.headers("alice")
    token = headers["authorization"].removeprefix("Bearer ")
    for path in ("/v1/streams", "/streams", "/data/x/pull", "/nothing"):
        for shown in (secret, token):
            async with session.get(f"{process.url}{path}?token={shown}") as answer:
                assert answer.status in (401, 404, 422, 426, 400)
        await upgrade(process.url, f"/data/x/pull?token={secret}")
    text = process.output()
    assert secret not in text
    assert token not in text
    command = Path(f"/proc/{process.pid}/cmdline").read_bytes()
    assert token.encode() not in command
