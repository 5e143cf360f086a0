"""Where a redirect leads: followed within the same origin alone, so that no header leaves it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from urllib.parse import SplitResult, parse_qsl, quote, unquote, urljoin, urlsplit

from downstage.services.client.hooks import Answered
from downstage.services.client.outgoing import Outgoing

__all__ = ["MOST_HOPS", "Hop", "next_hop", "resolve"]

MOST_HOPS = 5
REDIRECTS = frozenset({301, 302, 303, 307, 308})
FOLLOWED = frozenset({"GET", "HEAD"})
WITH_ORIGIN = frozenset({"http", "https", "ws", "wss"})
BESIDE_HTTP = frozenset({"", "local", "localhost", "platform"})
"""Names by which an answer may call a service that has no host."""
ODD = re.compile(r"[^A-Za-z0-9%/:@!$&'()*+,;=~._-]")


@dataclass(frozen=True, slots=True)
class Hop:
    """The next address of a call."""

    base: str | None
    """Another base of the same origin; None for the client's own."""
    path: str
    query: tuple[tuple[str, str], ...]


def next_hop(uri: str, out: Outgoing, answer: Answered) -> Hop | None:
    """Where *answer* sends *out*, if the call may follow; *uri* is the client's address."""
    location = answer.headers.get("location")
    if answer.status not in REDIRECTS or out.method not in FOLLOWED or not location:
        return None
    try:
        return resolve(uri, out.path, location)
    except ValueError:
        return None


def resolve(uri: str, path: str, location: str) -> Hop | None:
    """The address *location*, seen from *path* below *uri*; None if it is of another origin.

    Raises:
        ValueError: it is no address.
    """
    parts = urlsplit(uri)
    has_origin = parts.scheme in WITH_ORIGIN
    address, base, name = _own(parts)
    scheme = parts.scheme.replace("ws", "http", 1) if has_origin else "http"
    host = parts.netloc.rpartition("@")[2] if has_origin else "localhost"
    target = urlsplit(urljoin(f"{scheme}://{host}{base}{path or '/'}", location))
    if has_origin:
        if _origin(target.scheme, target.netloc) != _origin(scheme, host):
            return None
    elif target.netloc not in BESIDE_HTTP | {name}:
        return None
    found = ODD.sub(lambda odd: quote(odd[0]), target.path)
    if any(unquote(segment) in (".", "..") for segment in found.split("/")):
        return None
    query = tuple(parse_qsl(target.query, keep_blank_values=True))
    if base and not (found == base or found.startswith(base + "/")):
        return Hop(address, found, query)
    return Hop(None, found.removeprefix(base), query)


def _own(parts: SplitResult) -> tuple[str, str, str]:
    """The address without its base path, that path, and what the service may call itself."""
    if parts.scheme == "unix":
        socket, colon, base = parts.path.partition(":/")
        return f"unix://{socket}", f"/{base}".rstrip("/") if colon else "", ""
    if parts.scheme == "nats":
        name, slash, base = parts.path.removeprefix("/").partition("/")
        return f"nats://{parts.netloc}/{name}", (slash + base).rstrip("/"), name
    has_base = parts.scheme in WITH_ORIGIN or parts.scheme == "local"
    base = parts.path.rstrip("/") if has_base else ""
    return f"{parts.scheme}://{parts.netloc}", base, parts.netloc


def _origin(scheme: str, netloc: str) -> tuple[str, str | None, int | None]:
    """Scheme, host and port; a user name in the address makes it another."""
    parts = urlsplit(f"{scheme}://{netloc}")
    if "@" in netloc:
        return scheme, None, None
    return scheme, parts.hostname, parts.port or {"http": 80, "https": 443}.get(scheme)
