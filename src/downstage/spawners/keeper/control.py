"""The keeper's control socket: who is attached, what they ask, what they are told."""

from __future__ import annotations

import contextlib
import json
import os
import socket
from collections.abc import Callable
from typing import Any, cast

from downstage.spawners.keeper.loop import Loop

__all__ = ["Control"]

MAX_REQUEST = 256 * 1024
MAX_UNSENT = 1024 * 1024
MAX_PEERS = 8


class _Peer:
    def __init__(self, connection: socket.socket) -> None:
        self.connection = connection
        self.received = b""
        self.unsent = b""
        self.is_attached = False


class Control:
    """Listen on ``keeper.sock`` of the present folder; JSON lines both ways."""

    def __init__(
        self,
        loop: Loop,
        on_request: Callable[[dict[str, Any]], None],
        on_attached: Callable[[bool], None],
    ) -> None:
        self._loop, self._on_request, self._on_attached = loop, on_request, on_attached
        self._peers: dict[int, _Peer] = {}
        self._report = b""
        self.has_told = False
        # The path of an address has 108 bytes at most, a folder's may be longer: bind by name.
        self._server = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._server.bind("keeper.sock")
        os.chmod("keeper.sock", 0o600)  # noqa: PTH101 - relative to the folder on purpose
        self._server.listen(MAX_PEERS)
        self._server.setblocking(False)
        loop.on_readable(self._server.fileno(), self._accept)

    def tell(self, report: dict[str, Any]) -> None:
        """Send *report* to all that are attached, and later to those who attach."""
        self._report = json.dumps(report).encode() + b"\n"
        for peer in list(self._peers.values()):
            if peer.is_attached:
                self._send(peer, self._report)

    def close(self, patience: float) -> None:
        """Send what is unsent, within *patience* seconds, and close."""
        self._loop.forget(self._server.fileno())
        self._server.close()
        for peer in list(self._peers.values()):
            peer.connection.settimeout(patience)
            with contextlib.suppress(OSError):
                peer.connection.sendall(peer.unsent)
            peer.connection.close()

    def _accept(self) -> None:
        try:
            connection, _ = self._server.accept()
        except OSError:
            return
        if len(self._peers) >= MAX_PEERS:
            connection.close()
            return
        connection.setblocking(False)
        peer = _Peer(connection)
        self._peers[connection.fileno()] = peer
        self._watch(peer)

    def _watch(self, peer: _Peer) -> None:
        handle = peer.connection.fileno()
        self._loop.on_ready(handle, lambda: self._serve(peer), write=bool(peer.unsent))

    def _serve(self, peer: _Peer) -> None:
        if peer.connection.fileno() < 0:
            return
        if peer.unsent:
            self._send(peer, b"")
        try:
            data = peer.connection.recv(4096)
        except BlockingIOError:
            return
        except OSError:
            data = b""
        peer.received += data
        if not data or len(peer.received) > MAX_REQUEST:
            self._drop(peer)
            return
        *lines, peer.received = peer.received.split(b"\n")
        for line in lines:
            self._take(peer, line)

    def _take(self, peer: _Peer, line: bytes) -> None:
        try:
            request: object = json.loads(line)
        except ValueError:
            self._drop(peer)
            return
        if not isinstance(request, dict):
            self._drop(peer)
            return
        asked = cast("dict[str, Any]", request)
        if asked.get("do") == "attach":
            peer.is_attached = self.has_told = True
            self._send(peer, self._report)
            self._on_attached(True)
        else:
            self._on_request(asked)

    def _send(self, peer: _Peer, data: bytes) -> None:
        peer.unsent += data
        try:
            sent = peer.connection.send(peer.unsent)
        except BlockingIOError:
            sent = 0
        except OSError:
            self._drop(peer)
            return
        peer.unsent = peer.unsent[sent:]
        if len(peer.unsent) > MAX_UNSENT:
            self._drop(peer)
            return
        self._watch(peer)

    def _drop(self, peer: _Peer) -> None:
        handle = peer.connection.fileno()
        if handle < 0:
            return
        self._loop.forget(handle)
        del self._peers[handle]
        peer.connection.close()
        if peer.is_attached and not any(other.is_attached for other in self._peers.values()):
            self._on_attached(False)
