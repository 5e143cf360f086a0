"""An event loop in a thread of its own, for callers who have none, or whose own must not wait."""

from __future__ import annotations

import asyncio
import atexit
import contextvars
import os
import threading
from collections.abc import Awaitable, Callable
from concurrent.futures import CancelledError, Future, InvalidStateError
from contextlib import AbstractAsyncContextManager, suppress
from typing import Any, TypeVar

__all__ = ["Portal", "Session", "let_go", "take"]

T = TypeVar("T")
STOP_S = 5.0
_lock = threading.RLock()
"""Reentrant: a collected client may let go while another takes."""
_portal: Portal | None = None


def take() -> Portal:
    """The process's portal, started if nobody uses it; give it back with `let_go`."""
    global _portal  # noqa: PLW0603 - one loop serves all blocking clients of a process
    with _lock:
        if _portal is None:
            _portal = Portal()
        _portal.users += 1
        return _portal


def let_go(portal: Portal) -> None:
    """The inverse of `take`; with its last user the thread ends."""
    global _portal  # noqa: PLW0603
    with _lock:
        portal.users -= 1
        if portal.users > 0:
            return
        if _portal is portal:
            _portal = None
    portal.stop()


@atexit.register
def _at_exit() -> None:
    if _portal is not None:
        _portal.stop()


def _after_fork() -> None:
    global _lock, _portal
    _lock, _portal = threading.RLock(), None  # the thread stayed with the parent


os.register_at_fork(after_in_child=_after_fork)


class Portal:
    """Runs coroutines for other threads."""

    def __init__(self) -> None:
        self.users = 0
        self._process = os.getpid()
        self._waiting = set[Future[Any]]()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._run, name="downstage-client", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        with asyncio.Runner(loop_factory=lambda: self._loop) as runner:
            # Closing the runner cancels what is left and ends the loop's pools.
            runner.get_loop()
            self._loop.run_forever()
        for done in [*self._waiting]:  # what came while we stopped
            done.cancel()

    @property
    def is_here(self) -> bool:
        """Is its thread one of this process, which may be a fork of that which started it?"""
        return self._process == os.getpid()

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the loop, in the caller's context, and wait for its result.

        An interrupt of the waiting thread cancels it.

        Raises:
            RuntimeError: called from the loop itself, which would wait for itself.
        """
        self._refuse_own_thread()
        context = contextvars.copy_context()
        done = Future[T]()

        def begin() -> None:
            task = self._loop.create_task(_finish(function, done), context=context)
            done.add_done_callback(lambda future: future.cancelled() and self._cancel(task))

        self._waiting.add(done)
        try:
            self._loop.call_soon_threadsafe(begin)
            return done.result()
        except CancelledError as error:
            raise RuntimeError("the client was stopped meanwhile") from error
        except BaseException:
            done.cancel()
            raise
        finally:
            self._waiting.discard(done)

    def _cancel(self, task: asyncio.Task[None]) -> None:
        with suppress(RuntimeError):  # the loop is closed: nothing runs there any more
            self._loop.call_soon_threadsafe(task.cancel)

    def _refuse_own_thread(self) -> None:
        if threading.current_thread() is self._thread:
            raise RuntimeError("a blocking Client was called in its own loop: await AsyncClient")

    def stop(self) -> None:
        """End the loop and its thread. Safe to repeat."""
        with suppress(RuntimeError):  # it is closed already
            self._loop.call_soon_threadsafe(self._loop.stop)
        if threading.current_thread() is not self._thread:
            self._thread.join(STOP_S)


async def _finish(function: Callable[[], Awaitable[T]], done: Future[T]) -> None:
    try:
        result = await function()
    except asyncio.CancelledError:
        done.cancel()
        raise
    except Exception as error:  # noqa: BLE001 - raised again in the thread that waits
        with suppress(InvalidStateError):
            done.set_exception(error)
    else:
        with suppress(InvalidStateError):
            done.set_result(result)


class Session:
    """An asynchronous context manager held open by one task of its own, which works for others.

    What is entered in a task must be left in the same: so that task does it all, one thing after
    the other, but for what `Portal.run` is asked beside it.
    """

    def __init__(self, portal: Portal, manager: AbstractAsyncContextManager[Any]) -> None:
        self._portal = portal
        self._manager = manager
        self._jobs: asyncio.Queue[tuple[Callable[[], Awaitable[Any]], Future[Any]] | None]
        self._task: asyncio.Task[None]

    def enter(self) -> Any:
        """Enter it, and return what it gives."""
        return self._portal.run(self._enter)

    def run(self, function: Callable[[], Awaitable[T]]) -> T:
        """Run *function* in the session's task."""
        return self._portal.run(lambda: self._hand_over(function))

    def leave(self) -> None:
        """Leave it; raises what leaving raises."""
        self._portal.run(self._leave)

    async def _enter(self) -> Any:
        self._jobs = asyncio.Queue(8)
        entered = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._hold(entered))
        try:
            return await entered
        except asyncio.CancelledError:
            self._task.cancel()
            raise

    async def _hold(self, entered: asyncio.Future[Any]) -> None:
        try:
            async with self._manager as inside:
                if not entered.done():
                    entered.set_result(inside)
                while (job := await self._jobs.get()) is not None:
                    await self._work(*job)
        except Exception as error:
            if entered.done():
                raise
            entered.set_exception(error)

    async def _work(self, function: Callable[[], Awaitable[Any]], done: Future[Any]) -> None:
        task = asyncio.current_task()
        loop = asyncio.get_running_loop()
        assert task is not None  # noqa: S101 - we run in one
        done.add_done_callback(lambda f: f.cancelled() and loop.call_soon(task.cancel))
        await _finish(function, done)

    async def _hand_over(self, function: Callable[[], Awaitable[T]]) -> T:
        if self._task.done():
            raise RuntimeError("it was broken off: enter a new one")
        done = Future[T]()
        await self._jobs.put((function, done))
        answer = asyncio.wrap_future(done)
        try:
            await asyncio.wait([answer, self._task], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not answer.done():  # nobody waits for it any more, or nobody works
                answer.cancel()
        return await answer

    async def _leave(self) -> None:
        if not self._task.done():
            await self._jobs.put(None)
        await asyncio.wait([self._task])
        if not self._task.cancelled():
            self._task.result()
