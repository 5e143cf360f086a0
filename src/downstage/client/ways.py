"""How connections come about: names looked up aside, proxies as the environment says."""

from __future__ import annotations

import socket
from typing import Any
from urllib.request import getproxies, proxy_bypass

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from downstage.client.daemons import in_daemon
from downstage.client.origins import Origin
from downstage.kernel.errors import Forbidden

__all__ = ["Resolver", "no_redirects", "proxy_of"]

SCOPED = 4
"""Parts of an address of IPv6; the last is the network that it is of."""


class Resolver(AbstractResolver):
    """The system's, each question in a thread of its own."""

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_UNSPEC
    ) -> list[ResolveResult]:
        """The addresses of *host*.

        Raises:
            OSError: it has none, or is no name.
        """

        def look() -> list[Any]:
            flags = socket.AI_ADDRCONFIG
            try:
                return socket.getaddrinfo(
                    host, port, family=family, type=socket.SOCK_STREAM, flags=flags
                )
            except UnicodeError as error:
                raise OSError(f"{host!r} is no name of a machine") from error

        found = list[ResolveResult]()
        for kind, _, proto, _, address in await in_daemon(look, "downstage-names"):
            text = str(address[0])
            if len(address) == SCOPED and address[3]:
                text = f"{text.partition('%')[0]}%{address[3]}"
            found.append(
                ResolveResult(
                    hostname=host,
                    host=text,
                    port=int(address[1]),
                    family=kind,
                    proto=proto,
                    flags=socket.AI_NUMERICHOST | socket.AI_NUMERICSERV,
                )
            )
        return found

    async def close(self) -> None:
        """Nothing is held."""


def proxy_of(origin: Origin, url: URL) -> URL | None:
    """The proxy for *url*, with who one is there; none for what stays on this machine.

    Not aiohttp's own way: that takes passwords out of ``~/.netrc`` too, and fails where a token is
    to be shown to a server which stands there.
    """
    if origin.is_loopback or not url.host:
        return None
    named = getproxies().get(url.scheme)
    if not named or proxy_bypass(url.host):
        return None
    return URL(named if "://" in named else f"http://{named}")


def no_redirects() -> aiohttp.TraceConfig:
    """Refuses what aiohttp would follow by itself: sockets, with all their headers."""
    trace = aiohttp.TraceConfig()

    async def refuse(*_: Any) -> None:
        raise Forbidden("The server redirects its socket; name the other server.")

    trace.on_request_redirect.append(refuse)
    return trace
