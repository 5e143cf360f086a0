"""Types of what is pushed, shared by the parts of the way in."""

from __future__ import annotations

from collections.abc import Callable

from downstage.kernel.errors import PlatformError
from downstage.streams.model import Receipt

__all__ = ["Data", "Done", "Item"]

Data = bytes | bytearray | memoryview
"""A payload. It is not copied: leave it alone until it has been answered for."""
Item = tuple[str, bytes, Data]
"""Stream, id (`AUTO`, ``b"ms"``, ``b"ms-seq"``, ``b"ms-*"``), payload."""
Done = Callable[[Receipt | PlatformError], None]
"""Told once: what was stored, or why nothing was."""
