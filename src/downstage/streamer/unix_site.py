"""An HTTP application on a unix socket of a mode that is right from its first moment."""

from __future__ import annotations

import os
from pathlib import Path

from aiohttp import web

__all__ = ["serve_at"]

PATIENCE_S = 0.2
"""How long open requests may take when it ends: streamers end fast."""


async def serve_at(path: Path, application: web.Application, *, hide: int) -> web.AppRunner:
    """Serve *application* at *path* until the runner is cleaned up; one left over is replaced.

    Args:
        path: of the socket.
        application: what answers there.
        hide: permissions that nobody gets, as of a umask: nobody may connect before they are set.

    Raises:
        OSError: the socket cannot be made.
    """
    runner = web.AppRunner(application, access_log=None, shutdown_timeout=PATIENCE_S)
    await runner.setup()
    _clear(path)
    before = os.umask(hide)
    try:
        await web.UnixSite(runner, str(path)).start()
    finally:
        os.umask(before)
    return runner


def _clear(path: Path) -> None:
    """A socket that a streamer before us left; one call, too short for a thread."""
    path.unlink(missing_ok=True)
