"""Where a token may stand in a request, and what else the request says of who sent it. No I/O."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable
from dataclasses import dataclass
from http.cookies import CookieError, SimpleCookie
from ipaddress import ip_address
from typing import Final, Literal
from urllib.parse import parse_qsl

from downstage.kernel.errors import InvalidInput, InvalidToken

__all__ = [
    "COOKIE",
    "Place",
    "Shown",
    "is_loopback",
    "is_sample",
    "shown",
]

COOKIE: Final = "authorization"
"""Set by ``POST /token``; its value is quoted and begins ``Bearer``."""
SAMPLE = "0564b66978efd91f4735fd70ee2a48b277cca183f7b99302f6325b044151f7bd"  # its SHA-256
Place = Literal["query", "header", "cookie"]
Headers = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Shown:
    """What a request showed."""

    place: Place | None
    """Where its token stood; None: nowhere."""
    token: str
    origins: tuple[str, ...]
    is_cross_site: bool
    """A browser says that the page which asks is not of this site."""
    host: str
    """Name by which we were asked, without the port."""


def shown(headers: Headers, query: bytes, *, cookies: bool) -> Shown:
    """Read them: the query first, then the header, then, where *cookies*, the cookie.

    Raises:
        InvalidToken: a place holds something that is no token.
        InvalidInput: the query names two tokens.
    """
    found: dict[bytes, list[str]] = {}
    for name, value in headers:
        found.setdefault(name.lower(), []).append(value.decode("latin-1"))
    place, token = _token(found, query, cookies=cookies)
    return Shown(
        place,
        token,
        tuple(value.lower() for value in found.get(b"origin", ())),
        (found.get(b"sec-fetch-site") or ["none"])[0] in ("cross-site", "same-site"),
        _host((found.get(b"host") or [""])[0]),
    )


def _token(
    found: dict[bytes, list[str]], query: bytes, *, cookies: bool
) -> tuple[Place | None, str]:
    if b"token" in query:
        pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True)
        named = [value for name, value in pairs if name == "token"]
        if len(named) > 1:
            raise InvalidInput("The address names two tokens.")
        if named and named[0]:
            return "query", named[0]
    if b"authorization" in found:
        values = found[b"authorization"]
        if len(values) > 1:
            raise InvalidToken
        return "header", _after_bearer(values[0])
    if cookies and b"cookie" in found:
        value = _cookie("; ".join(found[b"cookie"]))
        if value is not None:
            return "cookie", _after_bearer(value)
    return None, ""


def _after_bearer(value: str) -> str:
    scheme, _, token = value.partition(" ")
    if scheme.lower() != "bearer" or not token.strip():
        raise InvalidToken
    return token.strip()


def _cookie(text: str) -> str | None:
    try:
        found = SimpleCookie(text).get(COOKIE)
    except CookieError:
        return None
    return None if found is None else found.value


def _host(value: str) -> str:
    return value[1:].partition("]")[0] if value.startswith("[") else value.partition(":")[0]


def is_loopback(name: str) -> bool:
    """Whether *name* is this machine's for itself."""
    if name.lower() in ("localhost", "local"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def is_sample(token: str) -> bool:
    """Whether *token* is the one that the data server's page prints for everybody."""
    digest = hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
    return hmac.compare_digest(digest, SAMPLE)
