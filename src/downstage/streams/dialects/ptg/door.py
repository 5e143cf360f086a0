"""Who may come in at the data server's paths, and from which pages.

Its stock client shows nothing but the cookie that ``POST /token`` set, so the cookie counts here as
it does nowhere else in the platform. What a page of somebody else could make a browser send along
is therefore refused: the cookie is SameSite=lax, and a change by cookie needs a page of ours, or no
page at all.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from starlette.requests import HTTPConnection, Request

from downstage.kernel.errors import Forbidden
from downstage.streams.callers import Callers, Guest

__all__ = ["Door"]

SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
OWN_SITES = ("same-origin", "none")
METHODS = "GET, POST, PUT, DELETE, HEAD, OPTIONS"
HEADERS = "authorization, content-type, range"
SHOWN = "entry-offset, x-offsets, x-last-entry-id, content-range, retry-after"
KEPT_S = 600


@dataclass(frozen=True, slots=True)
class Door:
    """Lets callers and pages in.

    Args:
        callers: of the service.
        origins: of pages that are ours, and of those that the operator listed.
    """

    callers: Callers
    origins: frozenset[str]

    async def guest(self, connection: HTTPConnection) -> Guest:
        """Who asks.

        Raises:
            Unauthenticated: nobody says so. InvalidToken: the token proves nobody.
            Forbidden: a page of somebody else.
        """
        return await self.callers.of_connection(connection, purpose="read")

    def check_page(self, request: Request) -> None:
        """Whether the page that sends a change, where one does, may.

        A request with an Authorization header was allowed by the page's own preflight.

        Raises:
            Forbidden: it is somebody else's page.
        """
        if request.method in SAFE or "authorization" in request.headers:
            return
        origins = [value.lower() for value in request.headers.getlist("origin")]
        site = request.headers.get("sec-fetch-site", "none")
        is_own = len(origins) == 1 and origins[0] in self.origins
        if origins and not is_own:
            raise self._refusal()
        if site not in OWN_SITES and not is_own:
            raise self._refusal()
        if request.headers.get("sec-fetch-mode") == "no-cors":
            raise self._refusal()

    def cors(self, connection: HTTPConnection) -> dict[str, str]:
        """Headers that let a listed page read the answer; never ``*``, never for others."""
        origin = connection.headers.get("origin", "").lower()
        if origin not in self.origins:
            return {"vary": "origin"}
        return {
            "vary": "origin",
            "access-control-allow-origin": origin,
            "access-control-allow-credentials": "true",
            "access-control-expose-headers": SHOWN,
        }

    def preflight(self, connection: HTTPConnection) -> Mapping[str, str]:
        """Headers of the answer to a browser that asks first."""
        found = self.cors(connection)
        if len(found) > 1:
            found |= {
                "access-control-allow-methods": METHODS,
                "access-control-allow-headers": HEADERS,
                "access-control-max-age": str(KEPT_S),
            }
        return found

    def _refusal(self) -> Forbidden:
        self.callers.refused["page"] += 1
        return Forbidden("This page may not change anything here.")
