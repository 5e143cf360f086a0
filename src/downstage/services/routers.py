"""Routers of services: FastAPI's, with the framework's prefix rule and named facilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter
from starlette.requests import HTTPConnection

from downstage.kernel.errors import Unavailable

__all__ = ["ServiceAPIRouter", "clean_prefix"]


def clean_prefix(prefix: str) -> str:
    """Dots become slashes and one slash leads: ``a.b`` → ``/a/b``; empty stays empty."""
    path = prefix.replace(".", "/").strip("/")
    return f"/{path}" if path else ""


class ServiceAPIRouter(APIRouter):
    """An `APIRouter` whose handlers may ask for facilities by name."""

    def __init__(self, *args: Any, prefix: str = "", **options: Any) -> None:
        super().__init__(*args, prefix=clean_prefix(prefix), **options)
        self._facilities: dict[str, object] = {}

    def register_facility(self, name: str, instance: object) -> None:
        """Make *instance* available to handlers as *name*, whenever they were declared."""
        self._facilities[name] = instance

    def get_facility(self, name: str) -> Callable[[HTTPConnection], object]:
        """A dependency that finds the facility when the request comes; absent is 503.

        Looked for in this order: registered on this router, on the application
        (`registry.register_facility`), in the extension's own `FacilitySet`.
        """

        async def find(connection: HTTPConnection) -> object:
            if name in self._facilities:
                return self._facilities[name]
            return _shared(connection, name)

        return find


def _shared(connection: HTTPConnection, name: str) -> object:
    # Imported at the first use: a router alone needs neither.
    from downstage.services.book import book_of
    from downstage.services.facilities.injection import facilities_of

    known = book_of(connection.app).facilities
    if name in known:
        return known[name]
    try:
        return facilities_of(connection).get(name)
    except Unavailable:
        raise Unavailable(f"The facility {name} is not registered.", name=name) from None
