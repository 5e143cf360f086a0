"""Whose pages may call this dialect: cross-origin rules of its REST routes and its sockets.

No cookie counts here, so no answer ever allows credentials; an origin is told back only if it
is listed, and a listed ``*`` is answered by ``*``.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import HTTPConnection

__all__ = ["Origins"]

ANY = "*"
VARY = "origin"
HEADERS = "authorization, content-type, idempotency-key, x-request-id"
EXPOSED = "retry-after, x-request-id"
AGE_S = 600


class Origins:
    """Judges origins.

    Args:
        own: of our own pages, in lower case.
        further: those of the settings; ``*`` stands for every one.
    """

    def __init__(self, own: frozenset[str], further: Sequence[str]) -> None:
        self._known = own
        self._is_open = ANY in further

    def allows(self, connection: HTTPConnection) -> bool | None:
        """Whether the page that asks may; None where no page asks."""
        given = connection.headers.getlist("origin")
        if not given:
            return None
        return len(given) == 1 and (self._is_open or given[0].lower() in self._known)

    def headers(self, connection: HTTPConnection) -> dict[str, str]:
        """What an answer to *connection* says about it."""
        if not self.allows(connection):
            return {"vary": VARY}
        origin = ANY if self._is_open else connection.headers["origin"]
        return {
            "vary": VARY,
            "access-control-allow-origin": origin,
            "access-control-expose-headers": EXPOSED,
        }

    def preflight(self, connection: HTTPConnection, methods: Sequence[str]) -> dict[str, str]:
        """What a preflight's answer says; of a page that may not: nothing."""
        found = self.headers(connection)
        if "access-control-allow-origin" in found:
            found["access-control-allow-methods"] = ", ".join(methods)
            found["access-control-allow-headers"] = HEADERS
            found["access-control-max-age"] = str(AGE_S)
        return found
