"""``/mjpeg/chunked``: what the original read any file of its machine by. Not served."""

from __future__ import annotations

from downstage.kernel.errors import Gone
from downstage.streams.dialects.ptg.dialect import Dialect, SignedIn
from downstage.streams.dialects.ptg.door import Door

__all__ = ["chunked_routes"]


def chunked_routes(door: Door) -> Dialect:
    """The route."""
    dialect = Dialect(door, "mjpeg")

    async def refuse(path: str, caller: SignedIn) -> None:
        """Gone: recordings are read at `/recordings/static`, with ranges."""
        del path, caller
        raise Gone("This path read any file of the machine. Recordings are at /recordings/static.")

    dialect.serve("GET", "/mjpeg/chunked/{path:path}", refuse, 410)
    return dialect
