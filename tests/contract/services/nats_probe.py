"""An application that shows what reaches a handler over NATS, and the fixtures around it."""

from __future__ import annotations

import asyncio
import hashlib
import os
from collections.abc import AsyncIterator, Iterator
from typing import Any

import anyio
import nats
import pytest

from downstage.bus.nats_pool import close_connections
from downstage.services import nats_served
from downstage.services.nats_service import serve_nats
from downstage.services.transports import Call, nats_exchange
from downstage.testing.nats import NatsServer


@pytest.fixture(scope="module")
def nats_server() -> Iterator[NatsServer]:
    with NatsServer() as server:
        yield server


@pytest.fixture(autouse=True)
async def closed() -> AsyncIterator[None]:
    yield
    await close_connections()


@pytest.fixture
def endless_patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody is given up for their silence: what ends then was told, however late."""
    for module in (nats_served, nats_exchange):
        monkeypatch.setattr(module, "SILENT_TICKS", 10**9)


@pytest.fixture
async def app(nats_server: NatsServer) -> AsyncIterator[Handlers]:
    handlers = Handlers()
    async with serve_nats(handlers, f"{nats_server.url}/svc", drain_s=0.2):
        yield handlers
        handlers.release.set()


@pytest.fixture
async def outside(nats_server: NatsServer) -> AsyncIterator[Any]:
    client = await nats.connect(nats_server.url)
    yield client
    await client.close()


class Handlers:
    """An application, and what it noticed."""

    def __init__(self) -> None:
        self.started = anyio.Event()
        self.cancelled = anyio.Event()
        self.release = anyio.Event()
        self.scopes: list[dict[str, Any]] = []
        self.sent = 0
        self.at_once = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        self.scopes.append(scope)
        self.at_once += 1
        try:
            await getattr(self, scope["path"].split("/")[1])(scope, receive, send)
        except asyncio.CancelledError:
            self.cancelled.set()
            raise
        finally:
            self.at_once -= 1

    async def echo(self, scope: Any, receive: Any, send: Any) -> None:
        body = await whole(receive)
        await answer(send, scope["path"].encode() + b"?" + scope["query_string"] + b":" + body)

    async def digest(self, scope: Any, receive: Any, send: Any) -> None:
        digest, size = hashlib.sha256(), 0
        while True:
            message = await receive()
            assert message["type"] == "http.request", message
            digest.update(message["body"])
            size += len(message["body"])
            if not message["more_body"]:
                break
        await answer(send, f"{size} {digest.hexdigest()}".encode())

    async def big(self, scope: Any, receive: Any, send: Any) -> None:
        await answer(send, pattern(int(scope["query_string"].strip(b"="))))

    async def endless(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        while True:
            await send({"type": "http.response.body", "body": b"x" * 65536, "more_body": True})
            self.sent += 65536

    async def never(self, scope: Any, receive: Any, send: Any) -> None:
        self.started.set()
        await self.release.wait()
        await answer(send, b"late")

    async def silent(self, scope: Any, receive: Any, send: Any) -> None:
        """A head, and then nothing."""
        await send({"type": "http.response.start", "status": 200, "headers": []})
        self.started.set()
        await self.release.wait()
        await send({"type": "http.response.body", "body": b"at last"})

    async def crash(self, scope: Any, receive: Any, send: Any) -> None:
        raise RuntimeError("a defect")

    async def broken(self, scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"x", "more_body": True})
        raise RuntimeError("a defect")

    async def mute(self, scope: Any, receive: Any, send: Any) -> None:
        return

    async def after(self, scope: Any, receive: Any, send: Any) -> None:
        """Answers, and then works on."""
        await answer(send, b"done")
        await self.release.wait()
        self.started.set()


async def whole(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message["body"]
        if not message["more_body"]:
            return body


async def answer(send: Any, body: bytes, status: int = 200) -> None:
    headers = [(b"X-Pid", str(os.getpid()).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


def pattern(size: int) -> bytes:
    block = bytes(range(256)) * 256 + b"odd"
    return (block * (size // len(block) + 1))[:size]


def get(path: str, **more: Any) -> Call:
    return Call("GET", path, **{"timeout_s": 10, **more})
