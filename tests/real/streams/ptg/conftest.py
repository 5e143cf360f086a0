"""A server in demo mode, and a client that behaves as the stock one does."""

from __future__ import annotations

import base64
import json
import shutil
import tempfile
from collections.abc import AsyncGenerator, AsyncIterator, Callable, Iterator, Sequence
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import anyio
import anyio.to_thread
import httpx
import pytest
import requests
from websockets.asyncio.client import connect

from downstage.streams.dialects.ptg.screen import Screen
from downstage.streams.model import AUTO
from downstage.streams.reading import LAST, Wish
from downstage.testing.leaks import Snapshot, leaks_since
from downstage.testing.streams import StreamsServer, streams_server


class Stock:
    """What the data server's own client does, by its description.

    By HTTP it shows the cookie that signing in left, and nothing else. It reads its token itself,
    by plain base64. Its sockets show the token. Its booleans are Python's.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self.session = requests.Session()
        self.token = ""
        self.said: dict[str, Any] = {}

    async def sign_in(self, name: str, password: str, **params: Any) -> requests.Response:
        form = {"username": name, "password": password}
        answer = await self.call("POST", "token", data=form, params=params)
        held = self.session.cookies.get("authorization")
        if held:
            self.token = held.strip('"').removeprefix("Bearer ")
            head, payload, _ = self.token.split(".")
            _plainly(head)
            self.said = _plainly(payload)
        return answer

    async def call(self, method: str, *parts: object, **options: Any) -> requests.Response:
        """A request; what is None in its query is left out."""
        url = "/".join((self.url, *map(str, parts)))
        given = options.pop("params", {})
        params = {key: value for key, value in given.items() if value is not None}
        send = partial(self.session.request, method, url, params=params, timeout=20, **options)
        return await anyio.to_thread.run_sync(send)

    async def get(self, *parts: object, **params: Any) -> Any:
        answer = await self.call("GET", *parts, params=params)
        answer.raise_for_status()
        return answer.json()

    async def put(self, *parts: object, json: Any = None, **params: Any) -> Any:
        answer = await self.call("PUT", *parts, json=json, params=params)
        answer.raise_for_status()
        return answer.json()

    async def delete(self, *parts: object) -> Any:
        answer = await self.call("DELETE", *parts)
        answer.raise_for_status()
        return answer.json()

    async def data(self, stream: str, **params: Any) -> list[tuple[str, str, bytes]]:
        answer = await self.call("GET", "data", stream, params=params)
        answer.raise_for_status()
        return unpack(json.loads(answer.headers["entry-offset"]), answer.content)

    async def upload(self, streams: Sequence[str] | str, data: Sequence[bytes]) -> Any:
        """Form fields are named after the streams; several streams go to ``*``."""
        several = not isinstance(streams, str)
        names = list(streams) if several else [str(streams)] * len(data)
        form = dict(zip(names, data, strict=True))
        place = "*" if several else streams
        answer = await self.call("POST", "data", place, files=form)
        answer.raise_for_status()
        return answer.json()

    def socket(self, *parts: str, **params: Any) -> Any:
        query = urlencode({key: value for key, value in params.items() if value is not None})
        url = "/".join((self.url.replace("http", "ws", 1), *parts))
        headers = {"Authorization": f"Bearer {self.token}"}
        return connect(
            f"{url}?{query}" if query else url,
            additional_headers=headers,
            max_size=2**24,
            close_timeout=10,
        )


def _plainly(part: str) -> dict[str, Any]:
    return json.loads(base64.b64decode(part + "===").decode("utf-8"))


def unpack(offsets: list[Any], content: bytes) -> list[tuple[str, str, bytes]]:
    """Entries as the stock client reads them: offsets say where they begin."""
    bounds = [*(row[2] for row in offsets), None]
    return [
        (row[0], row[1], content[start:end])
        for row, start, end in zip(offsets, bounds, bounds[1:], strict=False)
    ]


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    found = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    yield found
    shutil.rmtree(found, ignore_errors=True)


@pytest.fixture(scope="module")
async def demo(folder: Path, anyio_backend: str) -> AsyncIterator[StreamsServer]:
    """A demo on loopback: one server for all tests of a module."""
    overrides = {"platform.demo": True, "identity.login_attempts": 1000}
    async with streams_server(folder / "demo", overrides=overrides) as server:
        headers = server.headers("alice")
        async with httpx.AsyncClient(base_url=server.url, headers=headers) as client:
            await client.get("/recipes")  # opens the documents
        async with _reader(server):
            yield server


@asynccontextmanager
async def _reader(server: StreamsServer) -> AsyncGenerator[None]:
    """Somebody who reads all the time: what readers share stays open, and is no test's leak."""
    caller, screen = await server.caller("alice"), Screen(latest=True)
    subscription = server.streams.subscribe(caller, Wish({"warm": LAST}), screen)
    await server.streams.append(caller, [("warm", AUTO, b"")])
    assert await screen.take(10) is not None
    yield
    await subscription.close()


@pytest.fixture(autouse=True)
async def settled(demo: StreamsServer) -> AsyncIterator[None]:
    """The server has noticed that a test's clients have gone, before what is left is looked at."""
    before = Snapshot.take()
    yield
    with anyio.move_on_after(5):
        while leaks_since(before, patience_s=0):
            await anyio.sleep(0.01)


@pytest.fixture
async def stock(demo: StreamsServer) -> AsyncIterator[Stock]:
    """The stock client, signed in to the demo as its users do."""
    client = Stock(demo.url)
    answer = await client.sign_in("tester", "tester")
    assert answer.status_code == 200, answer.text
    yield client
    client.session.close()


@pytest.fixture
async def clients() -> AsyncIterator[Callable[[str], Stock]]:
    """Makes further clients, closed at the end."""
    made: list[Stock] = []

    def make(url: str) -> Stock:
        made.append(Stock(url))
        return made[-1]

    yield make
    for client in made:
        client.session.close()
