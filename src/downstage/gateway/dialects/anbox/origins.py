"""Whose pages may call this dialect: cross-origin rules of its REST routes and its sockets.

No cookie counts here, so no answer ever allows credentials. An origin is told back only if it is
listed; a listed ``*`` is the name of nobody.
"""

from __future__ import annotations

from collections.abc import Sequence

from starlette.requests import HTTPConnection

__all__ = ["Origins"]

VARY = "origin"
HEADERS = "authorization, content-type, idempotency-key, x-request-id"
EXPOSED = "retry-after, x-request-id"
AGE_S = 600


class Origins:
    """Judges origins.

    Args:
        known: of our own pages and of the settings, in lower case.
    """

    def __init__(self, known: frozenset[str]) -> None:
        self._known = known

    def allows(self, connection: HTTPConnection) -> bool | None:
        """Whether the page that asks may; None where no page asks."""
        given = connection.headers.getlist("origin")
        if not given:
            return None
        return len(given) == 1 and given[0].lower() in self._known

    def headers(self, connection: HTTPConnection) -> dict[str, str]:
        """What an answer to *connection* says about it."""
        if not self.allows(connection):
            return {"vary": VARY}
        return {
            "vary": VARY,
            "access-control-allow-origin": connection.headers["origin"],
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
