"""Who calls a route of our own API."""

from __future__ import annotations

from fastapi.openapi.models import HTTPBearer
from fastapi.security.base import SecurityBase
from starlette.requests import HTTPConnection

from downstage.streams.callers import Callers, Guest

__all__ = ["Asker"]


class Asker(SecurityBase):
    """A dependency that yields the caller, or refuses: 401 unknown, 403 not allowed.

    Deriving from FastAPI's base puts the lock on the route in OpenAPI. A cookie counts for nothing
    here: what a page of somebody else can make a browser send proves nobody.

    Args:
        callers: of the service.
    """

    def __init__(self, callers: Callers) -> None:
        self.model = HTTPBearer()
        self.scheme_name = "bearer"
        self._callers = callers

    async def __call__(self, connection: HTTPConnection) -> Guest:
        """Check what the request shows; a ticket to read with changes nothing."""
        reads = connection.scope.get("method") in ("GET", "HEAD")
        return await self._callers.of_connection(
            connection, purpose="read" if reads else "push", cookies=False
        )
