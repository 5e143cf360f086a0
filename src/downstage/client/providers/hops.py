"""Work on files in threads, in a way that survives being given up in the middle."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

from downstage.client.providers.disk import os_errors

__all__ = ["in_thread"]

T = TypeVar("T")


async def in_thread(work: Callable[[], T]) -> T:
    """Do *work* in a thread; who is cancelled goes on only when it has ended.

    Otherwise a descriptor would be closed, and given to another file, while a thread writes to it.

    Raises:
        PlatformError: what *work* raised, errors of the system as ours.
    """

    def run() -> T:
        with os_errors():
            return work()

    running = asyncio.ensure_future(asyncio.to_thread(run))
    try:
        return await asyncio.shield(running)
    except asyncio.CancelledError:
        await asyncio.wait([running])
        if not running.cancelled():
            running.exception()  # told nobody: they asked for its end
        raise
