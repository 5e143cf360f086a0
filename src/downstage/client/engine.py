"""The client's own event loop, in a thread of its own, and the one thread that callbacks run on.

Every operation runs on this loop, from whatever thread or loop it was asked for: so several
threads may call at once, and a blocking call inside somebody's event loop cannot dead-lock.
"""

from __future__ import annotations

import asyncio
import contextvars
import queue
import threading
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Any

from downstage.client.request import Request
from downstage.client.turns import Turns
from downstage.kernel.errors import Unavailable

__all__ = ["Engine"]

END_S = 5.0


class Engine:
    """Starts with the first request, ends with `close`; may be started again after."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._turns: Turns | None = None
        self._thread: threading.Thread | None = None
        self._callbacks: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._caller: threading.Thread | None = None
        self._requests: dict[int, tuple[Request, Callable[[Request, Any], None]]] = {}
        self._last_id = 0
        self._is_closed = False
        self._closers: list[Callable[[], Coroutine[Any, Any, None]]] = []

    @property
    def is_closed(self) -> bool:
        """Whether it was shut down and takes nothing."""
        return self._is_closed

    def open(self) -> None:
        """Take requests again."""
        with self._lock:
            self._is_closed = False

    @property
    def loop(self) -> asyncio.AbstractEventLoop:
        """The loop, started where it does not run yet.

        Raises:
            Unavailable: the client was shut down.
        """
        with self._lock:
            if self._is_closed:
                raise Unavailable("The client was shut down.")
            if self._loop is None:
                self._loop = self._start()
                self._turns = Turns(self._loop)
            return self._loop

    def is_own_thread(self) -> bool:
        """Whether the caller is this engine's loop, which must never wait for itself."""
        return threading.current_thread() is self._thread

    def on_close(self, closer: Callable[[], Coroutine[Any, Any, None]]) -> None:
        """Await *closer* on the loop before it ends."""
        self._closers.append(closer)

    def submit(
        self,
        work: Callable[[Request], Coroutine[Any, Any, Any]],
        done: Callable[[Request, Any], None],
    ) -> Request:
        """Run *work* on the loop; *done* gets its value or its error, on the loop's thread.

        After `close` the request has id 0, and *done* is never called.
        """
        try:
            loop = self.loop
        except Unavailable:
            return Request(0)
        with self._lock:
            turns = self._turns
            if turns is None or self._loop is not loop:
                return Request(0)  # shut down in this very moment
            self._last_id += 1
            request = Request(self._last_id)
            self._requests[request.id] = (request, done)
        context = contextvars.copy_context()

        def start() -> None:
            if request.is_finished():
                self._requests.pop(request.id, None)
                return
            task = loop.create_task(self._run(request, work, done), context=context)
            request.bind(lambda: loop.call_soon_threadsafe(task.cancel))

        try:
            turns.put(start)
        except RuntimeError:
            request.end()  # the loop ended in this very moment; `close` has told whoever waits
        return request

    async def _run(
        self,
        request: Request,
        work: Callable[[Request], Coroutine[Any, Any, Any]],
        done: Callable[[Request, Any], None],
    ) -> None:
        try:
            value = await work(request)
        except asyncio.CancelledError:
            value = Unavailable("The request was stopped.")
        except Exception as error:  # noqa: BLE001 - the edge: whoever waits must hear of it
            value = error
        finally:
            request.unbind()
            kept = self._requests.pop(request.id, None)
        if kept is not None:
            done(request, value)

    def call_back(self, function: Callable[[], None]) -> None:
        """Run *function* on the callback thread, after what waits there already.

        Never after `close`: what its own ending has to say is not for the next start to hear.
        """
        if not self._is_closed:
            self._callbacks.put(function)

    async def called_back(self, function: Callable[[], None]) -> None:
        """The same, and wait until it ran: how a stream of events keeps pace with its callback."""
        loop = asyncio.get_running_loop()
        ran = loop.create_future()

        def settle() -> None:
            if not ran.done():
                ran.set_result(None)

        def run() -> None:
            try:
                function()
            finally:
                loop.call_soon_threadsafe(settle)

        self.call_back(run)
        await ran

    def close(self) -> None:
        """Stop every request, close every connection, end both threads; safe to repeat."""
        with self._lock:
            self._is_closed = True
            loop, self._loop, self._turns = self._loop, None, None
            thread, self._thread = self._thread, None
            caller, self._caller = self._caller, None
            waiting, self._requests = list(self._requests.values()), {}
        for request, done in waiting:
            request.end()
            done(request, Unavailable("The client was shut down."))
        if loop is None:
            return
        loop.call_soon_threadsafe(loop.stop)
        callbacks, self._callbacks = self._callbacks, queue.SimpleQueue()
        with suppress(queue.Empty):
            while True:
                callbacks.get_nowait()
        callbacks.put(None)
        for ending in (thread, caller):
            if ending is not None and ending is not threading.current_thread():
                ending.join(END_S)

    def _start(self) -> asyncio.AbstractEventLoop:
        loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=_serve, args=(loop, self._closers), name="downstage-client", daemon=True
        )
        self._caller = threading.Thread(
            target=_call, args=(self._callbacks,), name="downstage-callbacks", daemon=True
        )
        self._thread.start()
        self._caller.start()
        return loop


def _serve(
    loop: asyncio.AbstractEventLoop, closers: list[Callable[[], Coroutine[Any, Any, None]]]
) -> None:
    asyncio.set_event_loop(loop)
    try:
        loop.run_forever()
        loop.run_until_complete(_end(closers))
    finally:
        asyncio.set_event_loop(None)
        loop.close()


async def _end(closers: list[Callable[[], Coroutine[Any, Any, None]]]) -> None:
    loop = asyncio.get_running_loop()
    others = asyncio.all_tasks() - {asyncio.current_task()}
    for task in others:
        task.cancel()
    if others:
        await asyncio.wait(others, timeout=END_S)
    waiting, closers[:] = list(closers), []
    for closer in waiting:
        try:
            async with asyncio.timeout(END_S):
                await closer()
        except Exception as error:  # noqa: BLE001 - the end goes on, whatever one part says
            _report(error)
    await loop.shutdown_asyncgens()
    await asyncio.wait_for(loop.shutdown_default_executor(), END_S)


def _call(callbacks: queue.SimpleQueue[Callable[[], None] | None]) -> None:
    while (function := callbacks.get()) is not None:
        try:
            function()
        except Exception as error:  # noqa: BLE001 - somebody's callback; the next must run
            _report(error)


def _report(error: Exception) -> None:
    from downstage.client.logs import log_error

    log_error("client.callback_failed", error)
