"""Forged headers by raw HTTP, at real servers: TCP, a trusted proxy, a unix socket."""

from __future__ import annotations

import json
import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import anyio
import pytest
from fastapi import FastAPI, Request

from downstage.services.registry import create_app, register_endpoint
from downstage.services.server import Server, open_port, open_unix

pytestmark = [pytest.mark.real, pytest.mark.anyio]

FORGED = (
    b"X-Forwarded-User: root\r\nX_Forwarded_User: root\r\nX-Forwarded-For: 203.0.113.7\r\n"
    b"X_Forwarded_For: 127.0.0.1\r\nX-Forwarded-Proto: https\r\nX-Own: kept\r\n"
)


@pytest.fixture
def app() -> FastAPI:
    app = create_app("Test")

    async def seen(request: Request) -> dict[str, Any]:
        return {
            "headers": sorted(request.headers.keys()),
            "client": request.client.host if request.client else None,
            "scheme": request.url.scheme,
        }

    register_endpoint("get", "/seen", seen, app=app)
    return app


@asynccontextmanager
async def serving(
    app: FastAPI, sock: socket.socket, trusted: list[str] | None
) -> AsyncGenerator[None]:
    server = Server(app, [sock], trusted=trusted)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(server.run)
        await server.wait_started()
        yield
        server.stop()


async def ask(stream: anyio.abc.SocketStream) -> dict[str, Any]:
    async with stream:
        await stream.send(b"GET /seen HTTP/1.1\r\nHost: h\r\nConnection: close\r\n" + FORGED)
        await stream.send(b"\r\n")
        answer = b""
        with anyio.fail_after(10):
            async for part in stream:
                answer += part
    return json.loads(answer.partition(b"\r\n\r\n")[2])


@pytest.mark.parametrize("trusted", [None, [], ["10.0.0.0/8"]])
async def test_A15_a_stranger_is_whom_the_connection_says(
    app: FastAPI, trusted: list[str] | None
) -> None:
    sock = open_port("127.0.0.1", 0)
    async with serving(app, sock, trusted):
        seen = await ask(await anyio.connect_tcp(*sock.getsockname()))
    assert seen["headers"] == ["connection", "host", "x-own", "x-request-id"]
    assert (seen["client"], seen["scheme"]) == ("127.0.0.1", "http")


async def test_A15_a_listed_proxy_is_believed_but_for_underscores(app: FastAPI) -> None:
    sock = open_port("127.0.0.1", 0)
    async with serving(app, sock, ["127.0.0.0/8"]):
        seen = await ask(await anyio.connect_tcp(*sock.getsockname()))
    assert (seen["client"], seen["scheme"]) == ("203.0.113.7", "https")
    assert {name for name in seen["headers"] if "forwarded" in name} == {
        "x-forwarded-for",
        "x-forwarded-proto",
        "x-forwarded-user",
    }


async def test_A15_a_unix_socket_is_no_proxy(app: FastAPI, data: Path) -> None:
    path = data / "s.sock"
    async with serving(app, open_unix(path), ["127.0.0.0/8", "0.0.0.0/0", "::/0"]):
        seen = await ask(await anyio.connect_unix(path))
    assert seen["headers"] == ["connection", "host", "x-own", "x-request-id"]
    assert seen["scheme"] == "http"
    assert seen["client"] in (None, "")
