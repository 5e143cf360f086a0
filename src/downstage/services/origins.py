"""Which pages are ours: those at the platform's own addresses, and those that settings name."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import urlsplit

__all__ = ["LOOPBACK", "own_origins"]

LOOPBACK = ("127.0.0.1", "localhost", "[::1]")
"""Names of one and the same host, as they stand in an address."""


def own_origins(public: str, further: Iterable[str]) -> frozenset[str]:
    """Origins of our pages: the public address, its other names on loopback, and *further*."""
    parts = urlsplit(public)
    found = {f"{parts.scheme}://{parts.netloc}".lower()}
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    if host in LOOPBACK:
        port = f":{parts.port}" if parts.port else ""
        found |= {f"{parts.scheme}://{name}{port}" for name in LOOPBACK}
    return frozenset(found | {item.rstrip("/").lower() for item in further})
