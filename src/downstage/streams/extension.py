"""Streams as the service host starts them: the one place where their parts are wired."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from downstage.services.extension import IExt

__all__ = ["Extension"]


class Extension(IExt):
    """Starts the engine, wires the dialects, serves the routes."""

    requires: ClassVar[Mapping[str, str]] = {"identity": "?"}

    async def on_startup(self, ext_id: str) -> None:
        """Wire everything."""
        del ext_id
