"""The client's registry of transports, as the foreign package spells it."""

from __future__ import annotations

from downstage.services.transports.transport import (
    Factory,
    known_schemes,
)
from downstage.services.transports.transport import register as _register
from downstage.services.transports.transport import unregister as _unregister

__all__ = ["get_available_transports", "register", "unregister"]


def register(scheme: str, cls: Factory, is_async: bool = False) -> None:
    """Use *cls* (URI, application or None → `Transport`) for *scheme*.

    *is_async* is taken and means nothing: our blocking client works on the same transports.
    """
    del is_async
    _register(scheme, cls)


def unregister(scheme: str, is_async: bool = False) -> None:
    """Forget what `register` said."""
    del is_async
    _unregister(scheme)


def get_available_transports(is_async: bool = False) -> list[str]:
    """The schemes that a client takes, the same for both kinds of client."""
    del is_async
    return known_schemes()
