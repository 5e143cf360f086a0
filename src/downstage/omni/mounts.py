"""Mounting by the foreign signature, in which ``app`` is what is mounted."""

from __future__ import annotations

from starlette.types import ASGIApp

from downstage.services import registry

__all__ = ["register_mount"]


def register_mount(path: str, app: ASGIApp, name: str | None = None) -> None:
    """Serve the ASGI application *app* below *path*; *name* is taken and means nothing.

    Raises:
        Conflict: another is mounted there.
    """
    del name
    registry.register_mount(path, app)
