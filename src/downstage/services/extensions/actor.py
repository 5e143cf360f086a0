"""The one task in which an extension lives: imported, started, waiting, stopped.

Start and stop run in the same task, so an extension may keep a task group open between them. The
task is shielded: it ends when it is told to, in its turn, not when something above is cancelled.
What the extension's code raises, ``SystemExit`` among it, stays in here.
"""

from __future__ import annotations

import asyncio
import contextvars
import inspect
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import anyio

from downstage.kernel.logging import get_logger
from downstage.services import registry
from downstage.services.context import ServiceContext
from downstage.services.extension import IExt
from downstage.services.extensions.injection import equip

__all__ = ["Actor", "in_thread"]

HELD_S = 0.1
"""A synchronous start that takes longer is told of: nobody else was served meanwhile."""
log = get_logger(__name__)


class Actor:
    """Runs one extension once.

    Attributes:
        settled: it has started, or failed to.
        gone: it failed, or has ended.
        ended: nothing of it runs any more.
        failure: why it failed; None where it did not.
        stop_failure: what its end raised.
    """

    def __init__(
        self, context: ServiceContext, owner: str, load: Callable[[], Sequence[type[IExt]]]
    ) -> None:
        self.settled = anyio.Event()
        self.gone = anyio.Event()
        self.ended = anyio.Event()
        self.failure: BaseException | None = None
        self.stop_failure: BaseException | None = None
        self.extensions: list[IExt] = []
        self._context = context
        self._owner = owner
        self._load = load
        self._stop = anyio.Event()
        self._scope = anyio.CancelScope(shield=True)
        self._rest = anyio.CancelScope(shield=True)

    async def run(self) -> None:
        """Live until `stop`; never raises."""
        try:
            with self._scope, registry.owner(self._owner):
                await self._live()
        except BaseException as error:  # noqa: BLE001 - the edge: it has nowhere to go from here
            self.stop_failure = self.stop_failure or error
        finally:
            for event in (self.settled, self.gone, self.ended):
                event.set()

    async def stop(self, deadline_s: float) -> bool:
        """Ask it to end; after the deadline make it. False where it would not even then."""
        if not self.settled.is_set():
            self.give_up()
        self._stop.set()
        with anyio.move_on_after(deadline_s):
            await self.ended.wait()
            return True
        self.stop_failure = TimeoutError(f"it did not end within {deadline_s:g} s")
        self.give_up()
        with anyio.move_on_after(deadline_s):
            await self.ended.wait()
        return self.ended.is_set()

    def outcome(self) -> tuple[BaseException | None, bool]:
        """What went wrong, if anything, and whether that was at its end.

        One whose own task group failed is cancelled by that: the reason comes out at the end.
        """
        cancelled = isinstance(self.failure, anyio.get_cancelled_exc_class())
        if self.failure is None or (cancelled and self.stop_failure is not None):
            return self.stop_failure, self.failure is None
        return self.failure, False

    def give_up(self) -> None:
        """Cancel whatever it is doing."""
        self._scope.cancel()
        if self._stop.is_set():
            self._rest.cancel()

    async def _live(self) -> None:
        try:
            await self._start()
            self.settled.set()
            await self._stop.wait()
        except BaseException as error:  # noqa: BLE001 - somebody else's code raises what it likes
            self.failure = error
            self.settled.set()
            self.gone.set()
            with self._rest:
                await self._stop.wait()
                if self._scope.cancel_called:
                    await self._finish()
                    return
        await self._finish()

    async def _start(self) -> None:
        for kind in await in_thread(self._load):
            extension = kind()
            equip(extension, self._context)
            self.extensions.append(extension)
            await _call(extension.on_startup, self._context.id)

    async def _finish(self) -> None:
        for extension in reversed(self.extensions):
            try:
                await _call(extension.on_shutdown)
            except BaseException as error:
                self.stop_failure = self.stop_failure or error
                log.exception("extension.stop_failed", id=self._context.id)


async def _call(function: Callable[..., object], *arguments: object) -> None:
    """Call a start or stop method: sync or async, with as many arguments as it takes."""
    takes = len(inspect.signature(function).parameters)
    began = time.perf_counter()
    result = function(*arguments[:takes])
    held = time.perf_counter() - began
    if inspect.isawaitable(result):
        await result
    elif held > HELD_S:
        log.warning("extension.held_the_loop", ms=round(held * 1e3), function=function.__qualname__)


async def in_thread(function: Callable[[], Any]) -> Any:
    """What *function* returns, from a thread that nobody waits for at the end of the process.

    A module may hang while it is imported; an ordinary worker thread would keep us from leaving.
    """
    done, outcome = anyio.Event(), list[Any]()
    failed = list[BaseException]()
    loop = asyncio.get_running_loop()

    def work() -> None:
        try:
            outcome.append(function())
        except BaseException as error:  # noqa: BLE001 - it is raised where it was asked for
            failed.append(error)
        try:
            loop.call_soon_threadsafe(done.set)  # not waited for: it may have run its last turn
        except RuntimeError:
            return  # the loop has gone, and with it who asked

    context = contextvars.copy_context()
    threading.Thread(target=context.run, args=(work,), name="extension-import", daemon=True).start()
    await done.wait()
    if failed:
        raise failed[0]
    return outcome[0]
