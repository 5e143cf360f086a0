"""The line between two processes of ours: packets, and with some of them an open connection."""

from __future__ import annotations

import asyncio
import os
import socket
import struct
from collections import deque
from collections.abc import Callable

import msgspec

from downstage.kernel.logging import get_logger
from downstage.streams.workers.messages import Message

__all__ = ["MAX_PACKET", "Channel", "pair"]

MAX_PACKET = 128 * 1024
MOST_AT_ONCE = 64
"""Packets that are read in one turn of the loop."""
HANDLE = struct.Struct("i")
BUSY = 64
"""Packets that wait: whoever may leave something untold does so then."""
Hear = Callable[[Message, int | None], None]
log = get_logger(__name__)
_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Message).decode


def pair() -> tuple[socket.socket, socket.socket]:
    """Both ends."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    for end in (ours, theirs):
        end.setblocking(False)
    return ours, theirs


class Channel:
    """One end; used on the loop alone.

    Args:
        sock: of `pair`; closed with this.
        hear: called for each message, with the descriptor that came with it, which is its then.
        lost: called once when the other end has gone.
    """

    def __init__(self, sock: socket.socket, hear: Hear, lost: Callable[[], None]) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._hear = hear
        self._lost = lost
        self._waiting: deque[tuple[bytes, int | None]] = deque()
        self._is_open = True
        self._loop.add_reader(sock.fileno(), self._read)

    @property
    def is_busy(self) -> bool:
        """Whether the other end does not keep up, or has gone."""
        return not self._is_open or len(self._waiting) > BUSY

    def send(self, message: Message, handle: int | None = None) -> bool:
        """Send *message*, and with it a copy of *handle*; False: it cannot be.

        *handle* stays the caller's.
        """
        data = _encode(message)
        if not self._is_open or len(data) > MAX_PACKET:
            return False
        self._waiting.append((data, None if handle is None else os.dup(handle)))
        if len(self._waiting) == 1:
            self._write()
        return self._is_open

    def _write(self) -> None:
        while self._waiting:
            data, handle = self._waiting[0]
            try:
                if handle is None:
                    self._sock.send(data)
                else:
                    socket.send_fds(self._sock, [data], [handle])
            except BlockingIOError:
                self._loop.add_writer(self._sock.fileno(), self._write)
                return
            except OSError:
                self._break()
                return
            self._waiting.popleft()
            if handle is not None:
                os.close(handle)
        self._loop.remove_writer(self._sock.fileno())

    def _read(self) -> None:
        for _ in range(MOST_AT_ONCE):
            if not self._is_open:
                return
            try:
                data, handle = _receive(self._sock)
            except BlockingIOError:
                return
            except OSError:
                data, handle = b"", None
            if not data:
                self._break()
                return
            self._tell(data, handle)

    def _tell(self, data: bytes, handle: int | None) -> None:
        try:
            message = _decode(data)
        except msgspec.DecodeError:
            log.exception("streams.message_unread")
            if handle is not None:
                os.close(handle)
            return
        try:
            self._hear(message, handle)
        except Exception:  # the edge: one message's defect must not deafen us
            log.exception("streams.message_failed", kind=type(message).__name__)

    def _break(self) -> None:
        if self._is_open:
            self.close()
            self._lost()

    def close(self) -> None:
        """Say and hear nothing more. Safe to repeat."""
        if self._is_open:
            self._is_open = False
            self._loop.remove_reader(self._sock.fileno())
            self._loop.remove_writer(self._sock.fileno())
            self._sock.close()
        for _, handle in self._waiting:
            if handle is not None:
                os.close(handle)
        self._waiting.clear()


def _receive(sock: socket.socket) -> tuple[bytes, int | None]:
    """One packet and what came with it, which no child of ours inherits (`recv_fds` forgets)."""
    data, extra, _, _ = sock.recvmsg(
        MAX_PACKET, socket.CMSG_SPACE(HANDLE.size), socket.MSG_CMSG_CLOEXEC
    )
    for level, kind, payload in extra:
        if level == socket.SOL_SOCKET and kind == socket.SCM_RIGHTS:
            return data, int(HANDLE.unpack(payload[: HANDLE.size])[0])
    return data, None
