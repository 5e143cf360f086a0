"""What a handler of sockets is given and what it gives: words alone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol, runtime_checkable

from starlette.requests import HTTPConnection

from downstage.kernel.errors import (
    BadId,
    BadMessage,
    Lagged,
    PlatformError,
    TooLarge,
    TooMany,
    Unavailable,
)
from downstage.services.sockets.frames import Data, Packet

__all__ = [
    "CLOSE",
    "Handover",
    "Listener",
    "Socket",
    "SocketHandler",
    "SocketRequest",
    "close_of",
]

FIRST_OF_OURS = 500


class CLOSE(IntEnum):
    """Codes by which sockets are closed (RFC 6455, 7.4)."""

    NORMAL = 1000
    GOING_AWAY = 1001
    PROTOCOL = 1002
    UNSUPPORTED = 1003
    BAD_DATA = 1007
    POLICY = 1008
    TOO_BIG = 1009
    OURS = 1011
    TRY_LATER = 1013


def close_of(error: PlatformError) -> tuple[CLOSE, str]:
    """Code and reason that say *error* on a socket; 1011 is kept for what is our fault."""
    code = CLOSE.OURS if error.status >= FIRST_OF_OURS else CLOSE.POLICY
    if isinstance(error, BadMessage | BadId):
        code = CLOSE.BAD_DATA
    elif isinstance(error, TooLarge):
        code = CLOSE.TOO_BIG
    elif isinstance(error, Lagged | TooMany | Unavailable) or error.status == 507:  # noqa: PLR2004
        code = CLOSE.TRY_LATER
    return code, error.code


class SocketRequest(HTTPConnection):
    """The request that opens a socket: headers, cookies, query, client, as Starlette tells them."""

    @property
    def request_id(self) -> str:
        """By which this socket is found in the log."""
        found: str = self.scope.get("request_id", "")
        return found

    @property
    def raw_path(self) -> str:
        """The path as it was sent: escapes are not read, there is no query."""
        raw: bytes | None = self.scope.get("raw_path")
        found: str = raw.decode("latin-1") if raw else self.scope["path"]
        return found


class Socket(Protocol):
    """An open socket. Nothing of it waits: what cannot leave yet is buffered, see `buffered`."""

    @property
    def is_open(self) -> bool:
        """Whether what is sent now may still arrive."""
        ...

    def send_text(self, text: str | bytes) -> None:
        """Send one text message; bytes are UTF-8."""
        ...

    def send_bytes(self, data: Data) -> None:
        """Send one binary message."""
        ...

    def send_buffers(self, parts: Sequence[Data]) -> None:
        """Send one binary message that *parts* make together; they are not copied."""
        ...

    def send_packet(self, packet: Packet) -> None:
        """Send messages that were encoded before, once for many sockets."""
        ...

    def buffered(self) -> int:
        """Bytes that were sent and have not left this process."""
        ...

    def pause(self) -> None:
        """Read no more from the peer, as soon as the message that is being told has been."""
        ...

    def resume(self) -> None:
        """Read on."""
        ...

    def close(self, code: int = CLOSE.NORMAL, reason: str = "") -> None:
        """Say why it ends, and end it within seconds; what was sent before leaves first."""
        ...


@dataclass(frozen=True, slots=True)
class Handover:
    """A connection whose request is not answered yet, for another process to serve."""

    handle: int
    """Descriptor of the connection; a copy of it lives on, this one is closed."""
    request: SocketRequest
    answer: bytes
    """What is to be written first: the socket is open then."""
    early: bytes
    """What came together with the request, and is read already."""
    limit: int
    """Bytes of a message."""
    idle_s: float
    """How long the peer may be silent."""
    ended: Callable[[], None]
    """To be called once, when the connection has gone."""


class Listener:
    """Who hears of what happens on one socket. Methods are called on the loop and do not wait.

    A `PlatformError` that one of them raises closes the socket with its code as the reason.
    """

    def elsewhere(self, handover: Handover) -> bool:
        """Whether the connection was sent to another process: nothing else is called then.

        Asked once, before `on_open`, where the connection is one that can be handed over.
        """
        del handover
        return False

    def on_open(self, socket: Socket) -> None:
        """It is open; called once, before all others."""

    def on_text(self, text: str) -> None:
        """One text message."""

    def on_binary(self, data: bytes) -> None:
        """One binary message; *data* may be kept."""

    def on_drained(self) -> None:
        """Much had been waiting to leave (a MiB or so), and most of it has left."""

    def on_close(self) -> None:
        """It has ended, whoever ended it; called once, after all others."""


@runtime_checkable
class SocketHandler(Protocol):
    """Lets sockets in."""

    async def open(self, request: SocketRequest) -> Listener:
        """Who listens to the socket that *request* asks for.

        Raises:
            PlatformError: no socket is opened; this is the answer, over HTTP.
        """
        ...
