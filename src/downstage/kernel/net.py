"""Connections outward to addresses that others chose: only to the public internet.

A name is resolved once, every address it has is checked, and the connection goes to an address
that was checked: a name that answers differently a moment later changes nothing. The only I/O of
this layer.
"""

from __future__ import annotations

import socket
from collections.abc import Awaitable, Callable, Collection, Sequence
from ipaddress import IPv4Address, IPv6Address, ip_address, ip_network
from urllib.parse import urlsplit

import anyio

from downstage.kernel.errors import BadUrl, Forbidden, Upstream

__all__ = ["Guard", "Resolver", "inner_address", "is_loopback", "is_public", "system_resolver"]

Resolver = Callable[[str, int], Awaitable[Sequence[str]]]
"""The addresses of a host, as text."""

RESOLVE_S = 10.0
"""Seconds that a name may take."""

_CLOSED = tuple(
    ip_network(network)
    for network in (
        "0.0.0.0/8",
        "10.0.0.0/8",
        "100.64.0.0/10",  # carriers', and some clouds' metadata
        "127.0.0.0/8",
        "169.254.0.0/16",  # link-local, and most clouds' metadata
        "172.16.0.0/12",
        "192.0.0.0/24",
        "192.0.2.0/24",
        "192.88.99.0/24",
        "192.168.0.0/16",
        "198.18.0.0/15",
        "198.51.100.0/24",
        "203.0.113.0/24",
        "224.0.0.0/3",  # multicast, reserved, broadcast
        "::/96",  # unspecified, loopback, IPv4-compatible
        "64:ff9b:1::/48",
        "100::/64",
        "2001::/23",  # Teredo, ORCHID, protocol assignments
        "2001:db8::/32",
        "3fff::/20",
        "5f00::/16",
        "fc00::/7",  # unique local, some clouds' metadata
        "fe80::/10",
        "fec0::/10",
        "ff00::/8",
    )
)
_NAT64 = ip_network("64:ff9b::/96")


def is_loopback(host: str) -> bool:
    """Whether *host*, an address or a name, can be reached from this machine alone."""
    if host == "localhost":
        return True
    try:
        parsed = ip_address(host)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, IPv6Address) else None
    return (mapped or parsed).is_loopback


def is_public(address: str) -> bool:
    """Whether *address* is one of the public internet; an IPv4 one hidden inside is looked at."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    if isinstance(parsed, IPv6Address):
        if parsed.scope_id is not None:
            return False
        inner = inner_address(parsed)
        if inner is not None:
            return is_public(str(inner))
    return parsed.is_global and not any(
        parsed in network for network in _CLOSED if network.version == parsed.version
    )


def inner_address(address: IPv6Address) -> IPv4Address | None:
    """The IPv4 address that an IPv6 one leads to."""
    if address.ipv4_mapped is not None:
        return address.ipv4_mapped
    if address.sixtofour is not None:
        return address.sixtofour
    if address in _NAT64:
        return IPv4Address(int(address) & 0xFFFFFFFF)
    return None


def _is_address(host: str) -> bool:
    try:
        ip_address(host)
    except ValueError:
        return False
    return True


async def system_resolver(host: str, port: int) -> Sequence[str]:
    """The addresses that this machine finds for *host*.

    Raises:
        Upstream: it finds none, or takes too long.
    """
    try:
        with anyio.fail_after(RESOLVE_S):
            found = await anyio.getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, UnicodeError, TimeoutError) as error:
        raise Upstream("That host has no address.", host=host) from error
    return list(dict.fromkeys(str(item[4][0]) for item in found))


class Guard:
    """Decides where this process may connect to.

    Args:
        allowed: hosts, or ``host:port``, that the operator named: those may lie anywhere.
        resolver: finds addresses.
    """

    def __init__(
        self, allowed: Collection[str] = (), *, resolver: Resolver = system_resolver
    ) -> None:
        self._allowed = frozenset(name.strip().lower().rstrip(".") for name in allowed)
        self._resolver = resolver
        self._granted = frozenset[str]()

    def is_allowed(self, host: str, port: int) -> bool:
        """Whether the operator named this host."""
        name = host.lower().rstrip(".")
        shown = f"[{name}]" if ":" in name else name
        return name in self._allowed or f"{shown}:{port}" in self._allowed

    async def resolve(self, host: str, port: int) -> Sequence[str]:
        """Addresses of *host*, all of which may be connected to.

        Raises:
            Forbidden: one of them is not public, and the operator did not name the host.
            Upstream: there are none.
        """
        addresses = [host] if _is_address(host) else await self._resolver(host, port)
        if not addresses:
            raise Upstream("That host has no address.", host=host)
        if self.is_allowed(host, port):
            self._granted |= frozenset(f"{address} {port}" for address in addresses)
            return addresses
        if not all(map(is_public, addresses)):
            raise Forbidden("That address is not on the public internet.", host=host)
        return addresses

    def check_peer(self, address: str, port: int) -> None:
        """The last look, at the address that is about to be connected to.

        Raises:
            Forbidden: it was never resolved for an allowed host, and is not public.
        """
        if f"{address} {port}" not in self._granted and not is_public(address):
            raise Forbidden("That address is not on the public internet.", host=address)

    async def check_url(self, url: str, schemes: Collection[str] = ("http", "https")) -> None:
        """Judge an URL before it is used; every redirect is to be judged again.

        Raises:
            BadUrl: another scheme, no host, or with credentials.
            Forbidden: it leads where it may not.
        """
        try:
            parts = urlsplit(url)
            port = parts.port or (443 if parts.scheme == "https" else 80)
        except ValueError:
            raise BadUrl("That is no URL.") from None
        if parts.scheme not in schemes or not parts.hostname:
            raise BadUrl(f"Only {' and '.join(schemes)} URLs with a host are taken.")
        if parts.username is not None or parts.password is not None:
            raise BadUrl("An URL here carries no user name and no password.")
        await self.resolve(parts.hostname, port)
