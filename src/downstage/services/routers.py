"""Routers of services: FastAPI's, with the framework's prefix rule and named facilities."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from fastapi import APIRouter

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

    def get_facility(self, name: str) -> Callable[[], object]:
        """A dependency that finds the facility when the request comes; absent is 503."""

        def find() -> object:
            try:
                return self._facilities[name]
            except KeyError:
                raise Unavailable(f"The facility {name} is not registered.", name=name) from None

        return find
