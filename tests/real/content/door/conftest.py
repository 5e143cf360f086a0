"""One content service for the modules here, in this process, and calls that speak to it raw."""

from __future__ import annotations

import asyncio
import itertools
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import aiohttp
import msgspec
import pytest
from aiohttp import ClientWebSocketResponse

from downstage.testing.content import ContentServer, content_server

DEADLINE_S = 10.0
numbers = itertools.count(1)


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[ContentServer]:
    """The service; each test works below a folder of its own."""
    assert anyio_backend == "asyncio"
    data = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    try:
        async with content_server(data) as running:
            yield running
    finally:
        shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def home() -> str:
    """A folder that no other test uses."""
    return f"/t{next(numbers)}"


@dataclass
class Raw:
    """An HTTP answer, read to its end."""

    status: int
    headers: dict[str, str]
    body: bytes


@pytest.fixture
def raw(server: ContentServer) -> Callable[..., Any]:
    """Sends a request as it is written: nobody tidies the path on the way."""

    async def ask(
        target: str, *, method: str = "GET", who: str | None = "alice", more: str = "",
        body: bytes = b"", url: str = "",
    ) -> Raw:  # fmt: skip
        place = urlsplit(url or server.url)
        reader, writer = await asyncio.open_connection(place.hostname, place.port)
        token = f"Authorization: Bearer {server.token(who)}\r\n" if who else ""
        length = f"Content-Length: {len(body)}\r\n" if body or method in ("PUT", "POST") else ""
        fields = f"Host: x\r\nConnection: close\r\n{token}{length}{more}"
        head = f"{method} {target} HTTP/1.1\r\n{fields}\r\n"
        writer.write(head.encode("latin-1") + body)
        text = await asyncio.wait_for(reader.read(), DEADLINE_S)
        writer.close()
        await writer.wait_closed()
        top, _, rest = text.partition(b"\r\n\r\n")
        lines = top.decode("latin-1").split("\r\n")
        known = dict(line.split(": ", 1) for line in lines[1:])
        return Raw(int(lines[0].split()[1]), {k.lower(): v for k, v in known.items()}, rest)

    return ask


class Line:
    """A socket whose calls are numbered."""

    def __init__(self, socket: ClientWebSocketResponse) -> None:
        self.socket = socket
        self._ids = itertools.count(1)
        self._waiting: list[list[Any]] = []

    async def tell(self, op: str, *args: Any) -> int:
        """Send a call; its id."""
        call_id = next(self._ids)
        await self.socket.send_bytes(msgspec.msgpack.encode([[call_id, op, list(args)]]))
        return call_id

    async def ask(self, op: str, *args: Any) -> Any:
        """Send a call, wait for its answer; only for what succeeds."""
        status, body = await self.outcome(op, *args)
        assert status == 200, (op, args, status, body)
        return body

    async def outcome(self, op: str, *args: Any) -> tuple[int, Any]:
        """Send a call, wait for its answer, whatever that is."""
        call_id = await self.tell(op, *args)
        return await self.answered(call_id)

    async def answered(self, call_id: int) -> tuple[int, Any]:
        """Status and body of the answer to a call."""
        _, status, body = await self._heard(call_id, int)
        return status, body

    async def pushed(self, call_id: int) -> tuple[str, Any]:
        """Kind and body of the next message that comes under an open call's id."""
        _, kind, body = await self._heard(call_id, str)
        return kind, body

    async def _heard(self, call_id: int, kind: type) -> list[Any]:
        while True:
            for message in self._waiting:
                if message[0] == call_id and isinstance(message[1], kind):
                    self._waiting.remove(message)
                    return message
            answer = await self.socket.receive(DEADLINE_S)
            assert answer.type is aiohttp.WSMsgType.BINARY, answer
            self._waiting += msgspec.msgpack.decode(answer.data)

    async def closed(self) -> tuple[int | None, str]:
        """Code and reason of the close that comes."""
        while True:
            answer = await self.socket.receive(DEADLINE_S)
            if answer.type is aiohttp.WSMsgType.CLOSE:
                return answer.data, str(answer.extra)
            assert answer.type is aiohttp.WSMsgType.BINARY, answer


@pytest.fixture
def line(server: ContentServer) -> Callable[..., Any]:
    """``async with line("alice") as alice``: an open socket."""

    @asynccontextmanager
    async def opened(
        who: str, headers: dict[str, str] | None = None, protocols: tuple[str, ...] = ()
    ) -> AsyncGenerator[Line]:
        async with (
            aiohttp.ClientSession() as session,
            session.ws_connect(
                f"{server.url}/v1/files-socket",
                headers=server.headers(who) if headers is None else headers,
                protocols=protocols,
                max_msg_size=0,
                autoclose=False,
            ) as socket,
        ):
            yield Line(socket)

    return opened
