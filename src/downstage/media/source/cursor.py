"""What the capture library says about the cursor, in our own words."""

from __future__ import annotations

from downstage.media.frame import Cursor

__all__ = ["as_cursor"]

MAX_PNG = 64 * 1024


def as_cursor(kind: str, png: bytes, x: int, y: int) -> Cursor:
    """Read one cursor message: ``png`` with a picture, ``hide``, anything else is the default."""
    if kind == "hide":
        return Cursor(None, hidden=True)
    if kind == "png" and 0 < len(png) <= MAX_PNG:
        return Cursor(png, x=x, y=y)
    return Cursor(None)
