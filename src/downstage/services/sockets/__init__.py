"""WebSockets without a framework: listeners that are called for each message, at the wire's speed.

A front may carry a `SocketHandler` in place of an application. Our own server then reads and writes
such sockets itself (`wire`); over any other ASGI server, and for calls within the process, the same
handler is served by an adaptor (`asgi`). What holds for one holds for the other.
"""

from __future__ import annotations

from downstage.services.sockets.asgi import AsgiSockets
from downstage.services.sockets.frames import BINARY, TEXT, Packet
from downstage.services.sockets.words import (
    CLOSE,
    Handover,
    Listener,
    Socket,
    SocketHandler,
    SocketRequest,
    close_of,
)

__all__ = [
    "BINARY",
    "CLOSE",
    "TEXT",
    "AsgiSockets",
    "Handover",
    "Listener",
    "Packet",
    "Socket",
    "SocketHandler",
    "SocketRequest",
    "close_of",
]
