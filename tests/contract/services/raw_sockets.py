"""A peer that speaks RFC 6455 byte by byte, well or badly, and a handler that answers it."""

from __future__ import annotations

import json
import struct
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import anyio
import anyio.abc

from downstage.kernel.errors import (
    BadFrame,
    Forbidden,
    NotFound,
    PlatformError,
    TooMany,
    Unauthenticated,
)
from downstage.services.sockets import BINARY, TEXT, Listener, Packet, Socket, SocketRequest

__all__ = ["KEY", "Closed", "Echo", "Frame", "Gate", "Peer", "frame"]

KEY = "dGhlIHNhbXBsZSBub25jZQ=="
ACCEPT = "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
"""Of the RFC's own example."""
MASK = b"\x0f\xf0\x55\xaa"
REFUSALS: dict[str, PlatformError] = {
    "401": Unauthenticated("Not authenticated"),
    "403": Forbidden("Not yours."),
    "404": NotFound("There is no such thing."),
    "429": TooMany("Too often.", retry_after_s=7),
}


class Echo(Listener):
    """Sends back what comes; some texts are orders."""

    def __init__(self, request: SocketRequest) -> None:
        self.request = request
        self.received = list[str | bytes]()
        self.events = list[str]()
        self.socket: Socket

    def on_open(self, socket: Socket) -> None:
        self.socket = socket
        self.events.append("open")

    def on_text(self, text: str) -> None:
        order, _, rest = text.partition(" ")
        if order == "close":
            code, _, reason = rest.partition(" ")
            self.socket.close(int(code), reason)
            self.socket.send_text("never sent")
        elif order == "fail":
            raise BadFrame("This batch is out of form.")
        elif order == "crash":
            raise ZeroDivisionError
        elif order == "pause":
            self.socket.pause()
        elif order == "many":
            for _ in range(int(rest)):
                self.socket.send_bytes(bytes(1 << 16))
        elif order == "packet":
            part = bytes(int(rest))
            self.socket.send_packet(Packet((TEXT, [b"[1,", b"2]"]), (BINARY, [b"<", part, b">"])))
            self.socket.send_buffers([b"a", memoryview(b"bcd")[1:], bytearray(b"e")])
        elif order == "request":
            seen = self.request
            facts = [seen.raw_path, seen.url.path, seen.query_params["q"], seen.headers["x-own"]]
            facts += [seen.url.scheme, seen.request_id, "x-forwarded-user" in seen.headers]
            self.socket.send_text(json.dumps(facts))
        else:
            self.received.append(text)
            self.socket.send_text(text)

    def on_binary(self, data: bytes) -> None:
        self.received.append(data)
        self.socket.send_bytes(data)

    def on_drained(self) -> None:
        self.events.append("drained")

    def on_close(self) -> None:
        self.events.append("close")


class Gate:
    """Lets everybody in but those who ask for a refusal."""

    def __init__(self) -> None:
        self.listeners = list[Echo]()

    async def open(self, request: SocketRequest) -> Listener:
        name = request.query_params.get("as", "")
        if name == "crash":
            raise ZeroDivisionError
        if name in REFUSALS:
            raise REFUSALS[name]
        await anyio.sleep(0)
        self.listeners.append(Echo(request))
        return self.listeners[-1]

    @property
    def last(self) -> Echo:
        return self.listeners[-1]


class Closed(Exception):
    """The peer ended the connection without another frame."""


@dataclass(frozen=True, slots=True)
class Frame:
    opcode: int
    data: bytes

    @property
    def close(self) -> tuple[int, str]:
        assert self.opcode == 8, self
        return int.from_bytes(self.data[:2], "big"), self.data[2:].decode()


def frame(
    opcode: int, data: bytes = b"", *, fin: bool = True, rsv: int = 0, mask: bytes | None = MASK
) -> bytes:
    """One frame of a client; *mask* None leaves it out, which no client may."""
    size, bit = len(data), 0x80 if mask is not None else 0
    head = bytes((fin << 7 | rsv << 4 | opcode,))
    if size < 126:
        head += bytes((bit | size,))
    elif size < 65536:
        head += struct.pack("!BH", bit | 126, size)
    else:
        head += struct.pack("!BQ", bit | 127, size)
    if mask is None:
        return head + data
    number = int.from_bytes(mask * (-(-size // 4)), "big") >> 8 * (-size % 4)
    masked = (int.from_bytes(data, "big") ^ number).to_bytes(size, "big")
    return head + mask + masked


@dataclass(slots=True)
class Peer:
    """A client on a connection of its own."""

    stream: anyio.abc.ByteStream
    status: int = 0
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    _buffer: bytearray = field(default_factory=bytearray)

    async def shake(self, path: str = "/raw/x/echo", extra: Sequence[str] = ()) -> None:
        lines = [f"GET {path} HTTP/1.1", "Host: localhost", "Upgrade: websocket"]
        lines += ["Connection: keep-alive, Upgrade", f"Sec-WebSocket-Key: {KEY}"]
        lines += ["Sec-WebSocket-Version: 13", *extra, "", ""]
        await self.ask("\r\n".join(lines).encode())

    async def ask(self, request: bytes) -> None:
        await self.stream.send(request)
        head = await self._until(b"\r\n\r\n")
        first, *lines = head.decode().split("\r\n")
        self.status = int(first.split()[1])
        pairs = (line.split(": ", 1) for line in lines if line)
        self.headers = {name.lower(): value for name, value in pairs}
        if self.status != 101:
            self.body = await self.exactly(int(self.headers["content-length"]))

    @property
    def problem(self) -> dict[str, Any]:
        return json.loads(self.body)

    async def send(self, *frames: bytes) -> None:
        await self.stream.send(b"".join(frames))

    async def frame(self) -> Frame:
        """The next frame, pings left out."""
        while True:
            first, size = await self.exactly(2)
            assert not size & 0x80, "a server does not mask"
            assert not first & 0x70, "no extension was agreed"
            assert first & 0x80, "ours are whole"
            if size >= 126:
                size = int.from_bytes(await self.exactly(2 if size == 126 else 8), "big")
            found = Frame(first & 0x0F, await self.exactly(size))
            if found.opcode != 9:
                return found

    async def end(self) -> None:
        """Wait until the connection ends; whatever still comes is read."""
        try:
            while True:
                await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            pass

    async def exactly(self, size: int) -> bytes:
        while len(self._buffer) < size:
            await self._more()
        found = bytes(self._buffer[:size])
        del self._buffer[:size]
        return found

    async def _until(self, end: bytes) -> bytes:
        while end not in self._buffer:
            await self._more()
        return await self.exactly(self._buffer.index(end) + len(end))

    async def _more(self) -> None:
        try:
            self._buffer += await self.stream.receive()
        except (anyio.EndOfStream, anyio.BrokenResourceError):
            raise Closed from None
