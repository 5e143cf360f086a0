"""Who asks behind a proxy, and that nobody else may say so.

A proxy that we trust, by its network, tells the caller's address and scheme in
``X-Forwarded-For`` and ``X-Forwarded-Proto``. From anybody else such headers are forgeries: they
are ignored, and taken out before a handler could believe them. Their spellings with underscores,
which some frameworks take for the same header, are taken out whoever sends them.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import lru_cache
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import cast

from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["VETTED", "Forwarded", "is_forged"]

VETTED = "downstage.forwarded"
"""Key of the scope: a server has checked that these headers come from a trusted proxy."""
MAX_HOPS = 32
SCHEMES = {"http": "ws", "https": "wss", "ws": "ws", "wss": "wss"}
FAMILY = re.compile(
    rb"(x-)?forwarded(-.*)?|x-real-ip|x-client-ip|true-client-ip|cf-connecting-ip"
    rb"|x-cluster-client-ip|x-envoy-.*|x-original-.*|x-rewrite-url"
    rb"|(x-)?remote-(user|group|groups|email|name|addr)|x-auth-request-.*|x-authenticated-.*"
    rb"|x-webauth-.*|x-(ssl-)?client-(cert|verify|dn|s-dn|san).*|ssl-client-.*"
)
"""Headers by which proxies say who asks, where from, and for what."""


@lru_cache(maxsize=4096)
def is_forged(name: bytes) -> bool:
    """Whether only a proxy that we trust may send the header *name* (in lower case)."""
    return len(name) <= 128 and FAMILY.fullmatch(name.replace(b"_", b"-")) is not None  # noqa: PLR2004


class Forwarded:
    """In front of an application: believes trusted proxies, and nobody else.

    Args:
        app: what is served.
        trusted: addresses or networks (CIDR) of proxies. Callers on unix sockets have no address
            and are never trusted.
    """

    def __init__(self, app: ASGIApp, trusted: Sequence[str]) -> None:
        self._app = app
        self._networks = [ip_network(item) for item in trusted]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Take the caller from the headers of a trusted proxy."""
        self.read(scope)
        await self._app(scope, receive, send)

    def read(self, scope: Scope) -> None:
        """Put the caller of *scope* right."""
        if scope["type"] in ("http", "websocket") and self._networks:
            client = cast("tuple[str, int] | None", scope.get("client"))
            if client and self._is_trusted(client[0]):
                self._believe(scope)

    def _believe(self, scope: Scope) -> None:
        headers = cast("list[tuple[bytes, bytes]]", scope["headers"])
        kept = [h for h in headers if b"_" not in h[0] or not is_forged(h[0])]
        scope["headers"] = kept
        scope[VETTED] = True
        protocols = [value for name, value in kept if name == b"x-forwarded-proto"]
        if protocols:
            scheme = protocols[-1].decode("latin-1").strip().lower()
            if scheme in SCHEMES:
                plain = scheme.replace("ws", "http")
                scope["scheme"] = SCHEMES[plain] if scope["type"] == "websocket" else plain
        hops = b",".join(value for name, value in kept if name == b"x-forwarded-for")
        found = self._caller(hops.decode("latin-1"))
        if found is not None:
            scope["client"] = (found, 0)

    def _caller(self, hops: str) -> str | None:
        """The last hop that no trusted proxy is: each proxy adds whom it saw at the end."""
        nearest = None
        for hop in reversed([part.strip() for part in hops.split(",")][-MAX_HOPS:]):
            address = _address(hop)
            if address is None:
                return nearest
            nearest = address
            if not self._is_trusted(address):
                return address
        return nearest

    def _is_trusted(self, host: str) -> bool:
        return _is_within(host, tuple(self._networks))


@lru_cache(maxsize=4096)
def _is_within(host: str, networks: tuple[IPv4Network | IPv6Network, ...]) -> bool:
    try:
        address = ip_address(host.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(address, "ipv4_mapped", None)
    return any((mapped or address) in network for network in networks)


def _address(hop: str) -> str | None:
    """The address of one hop: with or without port and brackets; None where it is none."""
    host = hop
    if hop.startswith("["):
        host = hop[1:].partition("]")[0]
    elif hop.count(":") == 1:
        host = hop.partition(":")[0]
    try:
        return str(ip_address(host))
    except ValueError:
        return None
