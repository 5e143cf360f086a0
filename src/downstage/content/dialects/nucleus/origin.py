"""The address by which a client dialled us: what it is told to dial next lies there, too."""

from __future__ import annotations

import re
from dataclasses import dataclass

from starlette.requests import HTTPConnection

from downstage.kernel.errors import Forbidden, InvalidInput

__all__ = ["Origin", "check_site", "origin_of"]

HOST = re.compile(
    r"(?P<host>\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(?P<port>[0-9]{1,5}))?"
)
SECURE = frozenset({"wss", "https"})
MAX_PORT = 65535


@dataclass(frozen=True, slots=True)
class Origin:
    """Scheme, host and port of this server, as this client knows them."""

    host: str
    """With brackets around an IPv6 address."""
    port: int
    is_secure: bool

    @property
    def base(self) -> str:
        """``http(s)://host:port``."""
        return f"{'https' if self.is_secure else 'http'}://{self.host}:{self.port}"


def origin_of(connection: HTTPConnection) -> Origin:
    """Where *connection* was dialled; only its own client is ever told.

    Raises:
        InvalidInput: the Host header is out of form.
    """
    is_secure = connection.url.scheme in SECURE
    found = HOST.fullmatch(connection.headers.get("host", ""))
    port = int(found["port"] or (443 if is_secure else 80)) if found else 0
    if found is None or not 0 < port <= MAX_PORT:
        raise InvalidInput("Host: a host, and a port where it is not the usual one.")
    return Origin(found["host"], port, is_secure)


def check_site(connection: HTTPConnection) -> None:
    """Programs send no Origin header, and pages of other sites have no business here.

    Raises:
        Forbidden: a browser's page of another site calls.
    """
    site = connection.headers.get("origin")
    if site is None:
        return
    scheme = "https" if connection.url.scheme in SECURE else "http"
    if site != f"{scheme}://{connection.headers.get('host', '')}":
        raise Forbidden("Pages of other sites may not call this.")
