"""Which server an address means, and how bytes get there: host, port, TLS, or a unix socket."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass

from downstage.client.places import SERVER_SCHEMES, Place
from downstage.client.url_parts import split_authority
from downstage.kernel.errors import BadUrl

__all__ = ["LOCAL_PORT", "Origin", "content_host"]

LOCAL_PORT = 8600
"""Of a platform on this machine."""
LOOPBACK = frozenset({"localhost", "127.0.0.1", "[::1]"})
_IPV6 = re.compile(r"\[[0-9A-Fa-f:.]+(?:%25[^\]]*)?\]")
_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True, slots=True)
class Origin:
    """One server."""

    scheme: str
    """``http`` or ``https``."""
    host: str
    port: int
    socket_path: str | None = None
    """Of the unix socket by which it is reached instead."""

    @classmethod
    def of(cls, place: Place) -> Origin:
        """The server of *place*; other machines are reached by TLS unless ``http:`` says not.

        Raises:
            BadUrl: no host, or a port that is none.
        """
        _, host, port = split_authority(place.authority)
        if not host or ((":" in host or "[" in host) and not _IPV6.fullmatch(host)):
            raise BadUrl("The address names no server.")
        scheme, default = place.scheme, _PORTS.get(place.scheme, 443)
        if scheme in SERVER_SCHEMES:
            is_near = host in LOOPBACK or host.endswith(".localhost")
            scheme, default = ("http", LOCAL_PORT) if is_near else ("https", 443)
        number = int(port) if port else default
        if not 0 < number < 65536:  # noqa: PLR2004 - ports are two bytes
            raise BadUrl("The port is none.")
        named = content_host()
        path = os.environ.get("DOWNSTAGE_CONTENT_SOCKET")
        if path and named in {place.authority, f"{host}:{number}"}:
            return cls("http", host, number, path)
        return cls(scheme, host, number)

    @property
    def url(self) -> str:
        """Scheme, host, and the port where it is not the usual one."""
        port = "" if _PORTS[self.scheme] == self.port else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"

    @property
    def is_loopback(self) -> bool:
        """Whether nothing sent there leaves this machine."""
        return self.socket_path is not None or self.host in LOOPBACK

    @property
    def may_have_secrets(self) -> bool:
        """Whether the way there hides what is sent."""
        return self.scheme == "https" or self.is_loopback

    def is_named(self, authority: str | None) -> bool:
        """Whether *authority* (``host[:port]``) is this server."""
        if not authority:
            return False
        _, host, port = split_authority(authority)
        default = LOCAL_PORT if self.is_loopback else _PORTS[self.scheme]
        is_same = host.lower() == self.host or {host.lower(), self.host} <= LOOPBACK
        return is_same and int(port or default) == self.port


def content_host() -> str | None:
    """``host[:port]`` of the server that this program's credentials are for."""
    return os.environ.get("DOWNSTAGE_CONTENT_HOST") or None
