"""Sockets of a streams server, as tests use them."""

from __future__ import annotations

import json
import secrets
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlencode

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus

from downstage.testing.streams import StreamsProcess

__all__ = ["Pull", "Wire", "name"]

LONG_S = 20


def name(prefix: str = "s") -> str:
    """A stream that no other test uses."""
    return f"{prefix}-{secrets.token_hex(6)}"


class Socket:
    """An open socket; nothing of it waits for ever."""

    def __init__(self, socket: ClientConnection) -> None:
        self._socket = socket

    async def send(self, *messages: str | bytes) -> None:
        with anyio.fail_after(LONG_S):
            for message in messages:
                await self._socket.send(message)

    async def receive(self) -> str | bytes:
        with anyio.fail_after(LONG_S):
            return await self._socket.recv()

    async def text(self) -> str:
        message = await self.receive()
        assert isinstance(message, str), message[:50]
        return message

    async def json(self) -> Any:
        return json.loads(await self.text())

    async def closed(self) -> tuple[int, str]:
        """Code and reason by which the server closes it; what comes before is passed over."""
        with anyio.fail_after(LONG_S), pytest.raises(ConnectionClosed) as closed:
            await self._read_all()
        assert closed.value.rcvd is not None, "it broke without a word"
        return closed.value.rcvd.code, closed.value.rcvd.reason

    async def _read_all(self) -> None:
        while True:
            await self._socket.recv()

    async def close(self) -> None:
        await self._socket.close()

    async def batch(self, rows: Any, body: bytes) -> None:
        await self.send(rows if isinstance(rows, str) else json.dumps(rows), body)


class Pull(Socket):
    """One that pulls."""

    async def pair(self) -> tuple[list[list[Any]], bytes]:
        """What comes next, as it is sent."""
        header = await self.json()
        body = await self.receive()
        assert isinstance(body, bytes)
        return header, body

    async def entries(self) -> list[tuple[str, str, bytes]]:
        """The same, cut."""
        header, body = await self.pair()
        ends = [*(int(row[2]) for row in header[1:]), len(body)]
        rows = zip(header, ends, strict=True)
        return [(row[0], row[1], body[row[2] : end]) for row, end in rows]

    async def take(self, count: int) -> list[tuple[str, str, bytes]]:
        """So many entries, of as many messages as they come in."""
        found: list[tuple[str, str, bytes]] = []
        while len(found) < count:
            found += await self.entries()
        return found

    async def is_silent(self, seconds: float = 0.3) -> bool:
        with anyio.move_on_after(seconds):
            await self._socket.recv()
            return False
        return True


@dataclass(slots=True)
class Wire:
    """Opens sockets."""

    server: StreamsProcess

    @asynccontextmanager
    async def _open(
        self, path: str, who: str | None, query: dict[str, Any]
    ) -> AsyncGenerator[ClientConnection]:
        url = f"{self.server.ws_url}{path}"
        if query:
            url += "?" + urlencode(query)
        headers = self.server.headers(who) if who else {}
        async with connect(
            url, additional_headers=headers, max_size=None, max_queue=None, proxy=None
        ) as socket:
            yield socket

    @asynccontextmanager
    async def push(
        self,
        ids: str,
        *,
        who: str | None = "alice",
        at: str = "/data",
        slash: str = "",
        **query: Any,
    ) -> AsyncGenerator[Socket]:
        path = f"{at}/{quote(ids, safe='+*')}/push{slash}"
        async with self._open(path, who, query) as socket:
            yield Socket(socket)

    @asynccontextmanager
    async def pull(
        self, ids: str, *, who: str | None = "alice", at: str = "/data", **query: Any
    ) -> AsyncGenerator[Pull]:
        async with self._open(f"{at}/{quote(ids, safe='+*')}/pull", who, query) as socket:
            yield Pull(socket)

    async def put(self, stream: str, *payloads: bytes, ids: list[str] | None = None) -> list[str]:
        """Store entries; their ids."""
        if not payloads:
            return []
        rows: list[list[Any]] = []
        at = 0
        for number, data in enumerate(payloads):
            at += len(data)
            rows.append([stream, *([ids[number]] if ids else []), at])
        async with self.push("*", ack=True) as socket:
            await socket.batch(rows, b"".join(payloads))
            return (await socket.text()).split(",")

    async def stored(self, stream: str) -> list[bytes]:
        """Payloads that a stream holds, by a reader that begins at the start."""
        found: list[bytes] = []
        async with self.pull(stream, last_entry_id=0, count=4096, timeout=300) as socket:
            try:
                while True:
                    found += [data for _, _, data in await socket.entries()]
            except ConnectionClosed:
                return found

    async def refused(self, path: str, who: str | None = "alice") -> int:
        """The status by which a socket is not opened."""
        with pytest.raises(InvalidStatus) as refused:
            async with self._open(path, who, {}):
                pass
        return refused.value.response.status_code
