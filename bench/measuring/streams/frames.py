"""Clients that cost next to nothing: frames are masked before the clock starts, and sent whole."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass

from websockets.frames import Frame, Opcode

__all__ = ["Reader", "Wave", "connect", "wave"]

MOST = 8 << 20
"""Bytes of different frames that are made; they are sent again and again."""


@dataclass(frozen=True, slots=True)
class Wave:
    """Frames that are sent at once."""

    data: bytes
    entries: int
    parts: tuple[bytes, ...]
    """The same, one for each batch."""
    last: bytes
    """Payload of the last entry."""


def wave(size: int, batch: int, *, stream: str) -> Wave:
    """Masked frames with random entries of *size* bytes; *batch* 1: no headers."""
    batches = max(1, min(4096, MOST // (size * batch)))
    parts, last = list[bytes](), b""
    ends = [[stream, size * (number + 1)] for number in range(batch)]
    header = Frame(Opcode.TEXT, json.dumps(ends).encode()).serialize(mask=True)
    for _ in range(batches):
        body = os.urandom(size * batch)
        last = body[-size:]
        frame = Frame(Opcode.BINARY, body).serialize(mask=True)
        parts.append(frame if batch == 1 else header + frame)
    return Wave(b"".join(parts), batches * batch, tuple(parts), last)


def connect(port: int, path: str, token: str = "") -> socket.socket:
    """An open socket of *path*; blocking."""
    sock = socket.create_connection(("127.0.0.1", port), 30)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    lines = [f"GET {path} HTTP/1.1", f"Host: 127.0.0.1:{port}", "Connection: Upgrade"]
    lines += ["Upgrade: websocket", "Sec-WebSocket-Version: 13"]
    lines += ["Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="]
    lines += [f"Authorization: Bearer {token}"] if token else []
    sock.sendall("\r\n".join([*lines, "", ""]).encode())
    head = b""
    while b"\r\n\r\n" not in head:
        more = sock.recv(1)
        if not more:
            raise ConnectionError("the server hung up")
        head += more
    if not head.startswith(b"HTTP/1.1 101"):
        raise ConnectionError(head.decode() + sock.recv(4096).decode())
    return sock


class Reader:
    """Messages of a server, read without being looked into more than needed."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._buffer = bytearray(1 << 20)
        self._view = memoryview(self._buffer)
        self._at = self._end = 0

    def message(self) -> tuple[int, memoryview]:
        """Opcode and payload of the next one; a view that holds until the next call."""
        self._need(2)
        size, head = self._buffer[self._at + 1], 2
        if size == 126:
            self._need(4)
            size, head = int.from_bytes(self._view[self._at + 2 : self._at + 4], "big"), 4
        elif size == 127:
            self._need(10)
            size, head = int.from_bytes(self._view[self._at + 2 : self._at + 10], "big"), 10
        self._need(head + size)
        opcode = self._buffer[self._at] & 15
        start = self._at + head
        self._at = start + size
        return opcode, self._view[start : self._at]

    def delivery(self) -> tuple[int, memoryview, memoryview]:
        """Entries of the next two messages: how many, what is said of them, payloads."""
        while True:
            opcode, view = self.message()
            if opcode == 1:
                header = bytes(view)
                break
            if opcode == 8:
                raise ConnectionError(bytes(view).decode("latin-1"))
        _, body = self.message()
        return header.count(b"["[0:1]) - 1, memoryview(header), body

    def _need(self, count: int) -> None:
        while self._end - self._at < count:
            if self._at and len(self._buffer) - self._at < max(count, 65536):
                left = self._end - self._at
                self._view[:left] = self._view[self._at : self._end]
                self._at, self._end = 0, left
            if len(self._buffer) - self._at < count:
                bigger = bytearray(2 * count)
                left = self._end - self._at
                bigger[:left] = self._view[self._at : self._end]
                self._buffer, self._view = bigger, memoryview(bigger)
                self._at, self._end = 0, left
            got = self._sock.recv_into(self._view[self._end :])
            if not got:
                raise ConnectionError("the server hung up")
            self._end += got
