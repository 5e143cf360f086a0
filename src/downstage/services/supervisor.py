"""Background tasks that outlive their own crashes: logged, restarted with back-off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio

from downstage.kernel.logging import get_logger

__all__ = ["supervise"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
log = get_logger(__name__)


async def supervise(name: str, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Run *function* until it returns; after a crash again, later each time.

    Cancellation ends it. A crash is logged with its traceback: it is a defect, never routine.
    """
    pause = FIRST_PAUSE_S
    while True:
        try:
            await function(*arguments)
        except Exception:
            log.exception("task.crashed", task=name, pause_s=pause)
        else:
            return
        await anyio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)
