"""Background tasks that outlive their own crashes: logged, restarted with back-off."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import anyio
from anyio.abc import TaskGroup

from downstage.kernel.logging import get_logger

__all__ = ["Crew", "supervise"]

FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 10.0
log = get_logger(__name__)


async def supervise(name: str, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
    """Run *function* until it returns; after a crash again, later each time.

    Cancellation ends it. A crash is logged with its traceback: it is a defect, never routine.
    """
    pause = FIRST_PAUSE_S
    while True:
        began = anyio.current_time()
        try:
            await function(*arguments)
        except (Exception, SystemExit):  # an extension's task may call sys.exit: not for us all
            if anyio.current_time() - began > LONGEST_PAUSE_S:
                pause = FIRST_PAUSE_S  # it ran well: this is a new trouble, not the old one
            log.exception("task.crashed", task=name, pause_s=pause)
        else:
            return
        await anyio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


class Crew:
    """Supervised tasks that are ended together, before what they work with is closed."""

    def __init__(self, tasks: TaskGroup) -> None:
        self._tasks = tasks
        self._scopes: set[anyio.CancelScope] = set()
        self._stopped = False
        self._empty = anyio.Event()

    def start(self, name: str, function: Callable[..., Awaitable[Any]], *arguments: Any) -> None:
        """Supervise *function* in the background; after `stop` nothing is started any more."""
        if not self._stopped:
            scope = anyio.CancelScope()
            self._scopes.add(scope)
            self._tasks.start_soon(self._run, scope, name, function, arguments)

    async def stop(self) -> None:
        """Cancel all and wait until the last has ended. Safe to repeat."""
        self._stopped = True
        for scope in self._scopes:
            scope.cancel()
        if self._scopes:
            await self._empty.wait()

    async def _run(
        self,
        scope: anyio.CancelScope,
        name: str,
        function: Callable[..., Awaitable[Any]],
        arguments: tuple[Any, ...],
    ) -> None:
        try:
            with scope:
                await supervise(name, function, *arguments)
        finally:
            self._scopes.discard(scope)
            if not self._scopes:
                self._empty.set()
                self._empty = anyio.Event()
