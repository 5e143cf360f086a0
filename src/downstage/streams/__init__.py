"""Streams: entries of bytes in order, pushed, pulled, recorded, replayed, watched.

For programs that use them, `Client` and `AsyncClient` (see `downstage.client.streams`) are here,
too; they load when asked for, and nothing of the service with them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from downstage.client.streams import AsyncClient, Client, Entry, Gap, Receipt

__all__ = ["AsyncClient", "Client", "Entry", "Gap", "Receipt"]


def __getattr__(name: str) -> Any:
    """Load the client when it is asked for."""
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from downstage.client import streams

    return getattr(streams, name)
