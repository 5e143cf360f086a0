"""One server of streams for the modules here, and ways to call it."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
import uuid
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from downstage.testing.streams import StreamsServer, streams_server

MAX_MESSAGE = 2 << 20


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[StreamsServer]:
    """Each test works with names of its own."""
    data = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    overrides = {"streams.max_message": MAX_MESSAGE, "streams.keep_count": 5000}
    async with streams_server(data / "d", overrides=overrides) as running:
        yield running
    shutil.rmtree(data, ignore_errors=True)


@pytest.fixture
def fresh() -> str:
    """A name that no other test uses."""
    return f"t{uuid.uuid4().hex[:10]}"


class Api:
    """Calls it, as somebody."""

    def __init__(self, session: aiohttp.ClientSession, server: StreamsServer, who: str) -> None:
        self._session = session
        self._url = server.url
        self._headers = server.headers(who)

    def request(self, method: str, path: str, **more: Any) -> Any:
        headers = {**self._headers, **more.pop("headers", {})}
        return self._session.request(method, self._url + path, headers=headers, **more)

    async def json(self, method: str, path: str, expect: int = 200, **more: Any) -> Any:
        async with self.request(method, path, **more) as answer:
            assert answer.status == expect, (answer.status, await answer.text())
            return await answer.json() if answer.status != 204 else None

    async def push(self, stream: str, body: Any, kind: str = "", **query: str) -> list[str]:
        headers = {"content-type": kind or "application/octet-stream"}
        path = f"/v1/streams/{stream}/entries"
        answer = await self.json("POST", path, 201, data=body, headers=headers, params=query)
        return list(answer["ids"])


@pytest.fixture
async def session() -> AsyncIterator[aiohttp.ClientSession]:
    """A client whose connections the server has closed, too, at the end."""
    before = sockets()
    async with aiohttp.ClientSession() as opened:
        yield opened
    async with asyncio.timeout(10):
        while sockets() > before:
            await asyncio.sleep(0.005)


def sockets() -> int:
    """Open sockets of this process."""
    links = (Path("/proc/self/fd", name) for name in os.listdir("/proc/self/fd"))  # noqa: PTH208
    return sum(_target(link).startswith("socket:") for link in links)


def _target(link: Path) -> str:
    try:
        return str(link.readlink())
    except OSError:
        return ""


@pytest.fixture
def api(session: aiohttp.ClientSession, server: StreamsServer) -> Api:
    """As alice."""
    return Api(session, server, "alice")


@pytest.fixture
def boss(session: aiohttp.ClientSession, server: StreamsServer) -> Api:
    """As an administrator."""
    return Api(session, server, "admin")
