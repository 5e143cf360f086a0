"""Our own API of streams, put in its place."""

from __future__ import annotations

from downstage.streams.ground import Ground, Part

__all__ = ["wire"]


async def wire(ground: Ground) -> Part | None:
    """Serve its routes."""
    del ground
    return None
