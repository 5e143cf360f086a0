"""What a transport does: one call there, one answer back."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module
from typing import Any, Protocol
from urllib.parse import urlsplit

from downstage.services.errors import TransportNotFoundError

__all__ = ["MAX_ANSWER", "Answer", "Call", "Transport", "create", "register"]

MAX_ANSWER = 64 * 1024 * 1024
"""Bytes of an answer that is read whole."""


@dataclass(frozen=True, slots=True)
class Call:
    """One request: the path is percent-encoded, the body encoded; "" is the address itself."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    headers: dict[str, str] = field(default_factory=dict[str, str])
    body: bytes = b""
    timeout_s: float = 60.0


@dataclass(frozen=True, slots=True)
class Answer:
    """One answer: header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Transport(Protocol):
    """Carries calls to one service; safe to use from many tasks at once."""

    async def request(self, call: Call) -> Answer:
        """Carry *call*.

        Raises:
            ServiceUnavailableError: no answer could be had (refused, time-out).
        """
        ...


Factory = Callable[[str, Any], Transport]
BUILT_IN = {
    "local": "downstage.services.transports.local",
    "http": "downstage.services.transports.http",
    "https": "downstage.services.transports.http",
}
"""Modules that register these schemes when they are imported: at their first use."""

_factories: dict[str, Factory] = {}


def register(scheme: str, factory: Factory) -> None:
    """Use *factory* (URI, application or None → transport) for URIs of *scheme*."""
    _factories[scheme] = factory


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
        import_module(BUILT_IN[scheme])
    try:
        factory = _factories[scheme]
    except KeyError:
        known = ", ".join(sorted({*_factories, *BUILT_IN}))
        raise TransportNotFoundError(f"No transport for {scheme}://; known: {known}.") from None
    return factory(uri, app)
