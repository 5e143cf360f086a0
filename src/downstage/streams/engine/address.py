"""Where an engine is reached, and how one signs in there; its text never shows the password."""

from __future__ import annotations

import ssl
from dataclasses import dataclass, field, replace
from ipaddress import ip_address
from urllib.parse import parse_qs, unquote, urlsplit

from downstage.kernel.errors import SetupError

__all__ = ["Address", "parse_address"]

PORT = 6379
SCHEMES = {"redis": False, "valkey": False, "rediss": True, "valkeys": True}


@dataclass(frozen=True, slots=True)
class Address:
    """One node: a unix socket's *path*, or *host* and *port*."""

    host: str = ""
    port: int = 0
    path: str = ""
    user: str = ""
    password: str = field(default="", repr=False)
    db: int = 0
    tls: ssl.SSLContext | None = field(default=None, repr=False, compare=False)

    def __str__(self) -> str:
        if self.path:
            return f"unix://{self.path}"
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"{'rediss' if self.tls else 'redis'}://{host}:{self.port}"

    @property
    def is_local(self) -> bool:
        """Whether nothing leaves this machine."""
        if self.path or self.host in ("localhost", ""):
            return True
        try:
            return ip_address(self.host).is_loopback
        except ValueError:
            return False

    def at(self, host: str, port: int) -> Address:
        """Another node of the same engine: signs in the same way."""
        return replace(self, host=host, port=port, path="")


def parse_address(url: str) -> Address:
    """Read ``redis[s]://[user:password@]host[:port][/db]`` or ``unix://[user:password@]/path``.

    ``valkey`` may stand for ``redis``; ``?ssl_ca_certs=file`` names the authority of a certificate,
    ``?db=n`` the database behind a unix socket.

    Raises:
        SetupError: it is neither; the text never repeats the address, which may hold a password.
    """
    try:
        parts = urlsplit(url)
        query = parse_qs(parts.query)
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        if parts.scheme == "unix":
            db = int(query.get("db", ["0"])[0])
            return Address(path=unquote(parts.path), user=user, password=password, db=db)
        tls = _context(query) if SCHEMES[parts.scheme] else None
        host, port = parts.hostname or "localhost", parts.port or PORT
        db = int(parts.path.strip("/") or query.get("db", ["0"])[0])
        return Address(host, port, "", user, password, db, tls)
    except (ValueError, KeyError) as error:
        raise SetupError(
            "streams.url must be redis[s]://[user:password@]host:port[/db] or unix:///path."
        ) from error


def _context(query: dict[str, list[str]]) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=query.get("ssl_ca_certs", [None])[0])
    except OSError as error:
        raise SetupError("streams.url: the file that ssl_ca_certs names cannot be read.") from error
