"""What a transport does: one call there, one answer back, whole or piece by piece."""

from __future__ import annotations

from collections.abc import AsyncIterable, AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

import msgspec

from downstage.services.errors import TransportNotFoundError

__all__ = [
    "MAX_ANSWER",
    "MAX_MESSAGE",
    "Answer",
    "Body",
    "Call",
    "Socket",
    "SocketClosed",
    "Stream",
    "Transport",
    "create",
    "known_schemes",
    "register",
    "unregister",
]

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is read whole; a stream has no such bound."""
MAX_MESSAGE = 16 * 1024 * 1024
"""Bytes of one WebSocket message."""

Body = bytes | AsyncIterable[bytes]
"""A request body: whole, or in pieces as they come."""


# Both are made for every call: a class of msgspec's is made in a quarter of a dataclass's time.


class Call(msgspec.Struct):
    """One request: the path is percent-encoded, the body encoded; "" is the address itself.

    Nobody changes one that has been handed over.
    """

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = msgspec.field(default_factory=dict[str, str])
    body: Body = b""
    timeout_s: float | None = 60.0
    """Until the whole answer is there (`request`) or its head is (`stream`); None is for ever."""
    read_timeout_s: float | None = 60.0
    """Longest silence between two pieces of an answer."""

    def __rich_repr__(self) -> list[tuple[str, Any]]:
        """Without what may be secret: query, headers, body."""
        shown = ("method", "path", "timeout_s", "read_timeout_s")
        return [(name, getattr(self, name)) for name in shown]

    def __repr__(self) -> str:
        """As `__rich_repr__`."""
        return f"Call({', '.join(f'{name}={value!r}' for name, value in self.__rich_repr__())})"


class Answer(msgspec.Struct):
    """One answer: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Stream(Protocol):
    """An answer whose head has come and whose body comes in pieces: iterate once.

    Iteration raises `ServiceUnavailableError` where the answer breaks off or falls silent.
    """

    status: int
    headers: dict[str, str]

    def __aiter__(self) -> AsyncIterator[bytes]:
        """Pieces of the body, never empty."""
        ...


class SocketClosed(Exception):
    """The WebSocket is closed; `code` as RFC 6455 has it (1006: it broke off)."""

    def __init__(self, code: int, reason: str = "") -> None:
        super().__init__(f"closed with {code}" + (f": {reason}" if reason else ""))
        self.code = code
        self.reason = reason


class Socket(Protocol):
    """An open WebSocket."""

    subprotocol: str | None

    async def send(self, message: str | bytes) -> None:
        """Send one message; raises `SocketClosed` after the close."""
        ...

    async def receive(self) -> str | bytes:
        """The next message; raises `SocketClosed` when there is none any more."""
        ...

    async def close(self, code: int = 1000, reason: str = "") -> None:
        """Close it; safe to repeat."""
        ...


class Transport(Protocol):
    """Carries calls to one service; safe to use from many tasks at once.

    Redirects are not followed here. Cancelling a call, or leaving a stream early, reaches the
    handler within a second. An error answer (status >= 400) is an answer like any other.
    """

    async def request(self, call: Call) -> Answer:
        """Carry *call* and read the whole answer.

        Raises:
            ServiceUnavailableError: no answer could be had (refused, time-out, larger than
                `MAX_ANSWER`).
            ServiceNotFoundError: nobody serves that address (``nats://`` without responders).
        """
        ...

    def stream(self, call: Call) -> AbstractAsyncContextManager[Stream]:
        """Carry *call*; inside, the head is there and the body is read piece by piece.

        Raises:
            ServiceUnavailableError, ServiceNotFoundError: as `request`.
        """
        ...

    def socket(
        self, call: Call, subprotocols: tuple[str, ...] = ()
    ) -> AbstractAsyncContextManager[Socket]:
        """Open a WebSocket at the call's path, query and headers; closed at exit.

        Raises:
            BaseServiceError: it was refused; carries status, headers and body where they came.
            NotImplementedError: this scheme carries no WebSockets.
        """
        ...


Factory = Callable[[str, Any], Transport]
BUILT_IN = {
    "local": "downstage.services.transports.local",
    "http": "downstage.services.transports.http",
    "https": "downstage.services.transports.http",
    "ws": "downstage.services.transports.http",
    "wss": "downstage.services.transports.http",
    "unix": "downstage.services.transports.http",
    "nats": "downstage.services.transports.nats",
}
"""Modules that register these schemes when they are imported: at their first use."""

_factories: dict[str, Factory] = {}


def register(scheme: str, factory: Factory) -> None:
    """Use *factory* (URI, application or None → transport) for URIs of *scheme*."""
    _factories[scheme] = factory


def unregister(scheme: str) -> None:
    """Forget what `register` said; a built-in scheme comes back at its next use."""
    _factories.pop(scheme, None)


def known_schemes() -> list[str]:
    """Schemes that `create` knows, sorted."""
    return sorted({*_factories, *BUILT_IN})


def create(uri: str, app: Any = None) -> Transport:
    """The transport for *uri*.

    Raises:
        ValueError: no scheme.
        TransportNotFoundError: unknown scheme; the text names the known ones.
    """
    scheme = urlsplit(uri).scheme
    if not scheme or "://" not in uri:
        raise ValueError(f"The address {uri!r} has no scheme, such as http:// or local://.")
    if scheme not in _factories and scheme in BUILT_IN:
        module = import_module(BUILT_IN[scheme])
        # After `unregister` the module is imported already and registers nothing by itself.
        _factories.setdefault(scheme, module.TRANSPORTS[scheme])
    try:
        factory = _factories[scheme]
    except KeyError:
        known = ", ".join(known_schemes())
        raise TransportNotFoundError(f"No transport for {scheme}://; known: {known}.") from None
    return factory(uri, app)
