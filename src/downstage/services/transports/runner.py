"""Run an application's coroutine in a task of its own, from the first step on, without waiting.

A new asyncio task begins at the loop's next turn, which costs a call that never waits about a
quarter of its time. Here the first step runs at once, as the *worker task's* own step: what asks
for the current task (cancel scopes, time-outs, task groups) finds the one that will go on when
the coroutine has to wait. Most calls end in that first step, and the worker serves the next one.
"""

from __future__ import annotations

import asyncio

# Documented for what "extends asyncio", underscores and all.
from asyncio.tasks import (
    _enter_task,  # pyright: ignore[reportPrivateUsage]
    _leave_task,  # pyright: ignore[reportPrivateUsage]
)
from collections.abc import Callable, Coroutine, Generator
from contextvars import Context, copy_context
from types import coroutine
from typing import Any

__all__ = ["MAX_STREAK", "Runner", "Worker"]

IDLE_WORKERS = 64
"""Kept for the next calls; more exist only while as many calls wait at once."""
MAX_DEPTH = 4
"""Calls within calls that begin at once; deeper ones wait for the loop and spare the stack."""
MAX_STREAK = 8
"""Calls that may end without a look at the clock."""
MAX_HOLD_S = 0.002
"""Seconds that calls which never wait may keep the loop from turning."""

Steps = Coroutine[Any, Any, Any]
UNBEGUN = object()
"""What steps wait for that have not begun."""
Ended = Callable[[BaseException | None], None]


class Worker:
    """A task that carries one coroutine after another."""

    __slots__ = (
        "_context",
        "_ended",
        "_first",
        "_has_begun",
        "_loop",
        "_runner",
        "_steps",
        "_wake",
        "task",
    )

    def __init__(self, runner: Runner, loop: asyncio.AbstractEventLoop) -> None:
        self._runner = runner
        self._loop = loop
        self._has_begun = False
        self._steps: Steps | None = None
        self._first: Any = None
        self._wake: asyncio.Future[None] = loop.create_future()
        # A context of its own: what the first caller has set must not live on in later calls.
        self.task = asyncio.Task(self._work(), loop=loop, name="local-call", context=Context())
        self.task.add_done_callback(self._died)

    def cancel(self) -> None:
        """Cancel what it carries; a worker without work is left alone."""
        if not self._has_begun:
            # Cancelled now, the task would never run, and its steps could not wait in their ends.
            self._loop.call_soon(self.cancel)
        elif self._steps is not None:
            self.task.cancel()

    def carry(self, steps: Steps, context: Context, ended: Ended, first: Any) -> None:
        """Go on with *steps*, which wait for *first*, or are `UNBEGUN`."""
        self._steps, self._context, self._ended, self._first = steps, context, ended, first
        if not self._wake.done():  # else cancelled in the first step: the worker wakes by itself
            self._wake.set_result(None)

    async def _work(self) -> None:
        loop = self._loop
        self._has_begun = True
        while True:
            was_cancelled = False
            try:
                await self._wake
            except asyncio.CancelledError:
                if self._steps is None:
                    raise
                was_cancelled = True
            await self._carry_on(was_cancelled)
            if self.task.cancelling() or not self._runner.has_room():
                return
            self._wake = loop.create_future()
            self._runner.put_back(self)

    async def _carry_on(self, was_cancelled: bool) -> None:
        steps, ended = self._steps, self._ended
        assert steps is not None  # noqa: S101 - only woken with work
        error: BaseException | None = None
        try:
            await _drive(steps, self._context, self._first, was_cancelled)
        except (KeyboardInterrupt, SystemExit, GeneratorExit):
            raise
        except BaseException as caught:  # noqa: BLE001 - handed to whoever waits
            error = caught
        self._steps = self._first = None
        ended(error)

    def _died(self, task: asyncio.Task[None]) -> None:
        if task.cancelled() or task.exception() is None:
            steps, self._steps = self._steps, None
            if steps is not None:  # cancelled before its first turn
                steps.close()
                self._ended(asyncio.CancelledError())


@coroutine
def _drive(
    steps: Steps, context: Context, pending: Any, was_cancelled: bool
) -> Generator[Any, Any, None]:
    """Hand to the worker's task what *steps* wait for, and to them what comes of it."""
    error: BaseException | None = None
    # As for any task: cancelling cancels what is waited for, which then says so.
    waited: Any = None if pending is UNBEGUN else pending
    if was_cancelled and not (waited is not None and waited.cancel()):
        error = asyncio.CancelledError()
    waits = pending is not UNBEGUN and error is None
    value: Any = None
    while True:
        if waits:
            try:
                value = yield pending
            except BaseException as caught:  # noqa: BLE001 - thrown into the steps
                error = caught
        try:
            if error is not None:
                thrown, error = error, None
                pending = context.run(steps.throw, thrown)
            else:
                pending = context.run(steps.send, value)
        except StopIteration:
            return
        waits = True


class Runner:
    """Starts coroutines in one loop."""

    def __init__(self, loop: asyncio.AbstractEventLoop) -> None:
        self._loop = loop
        self._idle: list[Worker] = []
        self._depth = 0
        self.streak = 0
        """Calls that have ended since the loop's clock was looked at: time to `breathe`, at
        `MAX_STREAK`."""
        self._turned = loop.time()
        self.is_closed = False

    def start(self, steps: Steps, ended: Ended) -> Worker | None:
        """Begin *steps* in a copy of the caller's context; *ended* hears how they ended.

        Returns:
            The worker that goes on with them, or None if they have ended already.
        """
        idle, loop = self._idle, self._loop
        worker = idle.pop() if idle else Worker(self, loop)
        if worker.task.done():
            worker = self._take()
        context = copy_context()
        caller = asyncio.current_task(loop)
        if caller is None or self._depth >= MAX_DEPTH:
            worker.carry(steps, context, ended, UNBEGUN)
            return worker
        error: BaseException | None = None
        task = worker.task
        _leave_task(loop, caller)
        _enter_task(loop, task)
        self._depth += 1
        try:
            first = context.run(steps.send, None)
        except StopIteration:
            pass
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as caught:  # noqa: BLE001 - handed to whoever waits
            error = caught
        else:
            worker.carry(steps, context, ended, first)
            return worker
        finally:
            self._depth -= 1
            _leave_task(loop, task)
            _enter_task(loop, caller)
        if task.cancelling():
            task.cancel()  # it cancelled itself: no worker for others
        else:
            idle.append(worker)
        self.streak += 1
        ended(error)
        return None

    async def breathe(self) -> None:
        """Let the loop turn if calls have held it for long."""
        self.streak = 0
        now = self._loop.time()
        if now - self._turned > MAX_HOLD_S:
            await asyncio.sleep(0)
            self._turned = self._loop.time()

    def has_room(self) -> bool:
        """Whether a worker that is done should wait for more."""
        return not self.is_closed and len(self._idle) < IDLE_WORKERS

    def put_back(self, worker: Worker) -> None:
        """*worker* takes the next coroutine."""
        self._idle.append(worker)

    def close(self) -> None:
        """End the idle workers; the others end with their work."""
        self.is_closed = True
        while self._idle:
            self._idle.pop().task.cancel()

    def _take(self) -> Worker:
        while self._idle:
            worker = self._idle.pop()
            if not worker.task.done():
                return worker
        return Worker(self, self._loop)
