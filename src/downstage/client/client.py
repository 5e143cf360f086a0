"""A client: its engine, what it was told, and one provider for each server it spoke to."""

from __future__ import annotations

import asyncio
import inspect
import os
import threading
import warnings
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import TYPE_CHECKING, Any, Concatenate, ParamSpec, TypeVar, cast

from downstage.client.base_urls import combine_with_base_url, without_alias
from downstage.client.callbacks import Callbacks
from downstage.client.engine import Engine
from downstage.client.here import Here, is_here
from downstage.client.options import Options
from downstage.client.places import Place
from downstage.client.providers.choice import make_provider
from downstage.client.providers.provider import Channel, Progress, Provider, no_progress
from downstage.client.request import Request
from downstage.client.turns import Turns
from downstage.client.types import FileStatus
from downstage.kernel.errors import Unavailable

if TYPE_CHECKING:
    from downstage.client.http import Breaker

__all__ = ["Client", "OwnLoopError", "default_client"]

P = ParamSpec("P")
R = TypeVar("R")
PACKAGE = str(Path(__file__).parent)


class OwnLoopError(RuntimeError):
    """A blocking call where it could never end: a mistake of the program."""


class Client:
    """Everything that the module's functions work on; a program needs one, which is there.

    Attributes:
        engine: the loop everything runs on.
        options: headers, deadlines, retries.
        callbacks: who hears of what.
        search_urls: where `resolve` looks after the urls it was given.
        breakers: of servers of which it is not known yet what they are, by origin.
    """

    def __init__(self, options: Options | None = None) -> None:
        self.engine = Engine()
        self.options = options or Options()
        self.callbacks = Callbacks(self.engine.call_back)
        self.search_urls: list[str] = []
        self.channels: dict[int, asyncio.Future[Channel]] = {}
        self.cancelled_flows: set[int] = set()
        self.breakers: dict[str, Breaker] = {}
        self._providers: dict[tuple[str, str, bool], asyncio.Future[Provider]] = {}
        self._warned: set[str] = set()
        self._here = Here(self)
        self._turns: dict[asyncio.AbstractEventLoop, Turns] = {}

    def place(self, url: str) -> Place:
        """Where *url* leads, under the base and the aliases in force.

        Raises:
            BadUrl: nowhere.
        """
        return Place.of(without_alias(combine_with_base_url(url)))

    async def provider(self, place: Place) -> Provider:
        """What speaks to that server; made once, on the engine's loop."""
        key = place.key
        found = self._providers.get(key)
        if found is None:
            if not self._providers:
                self.engine.on_close(self._close)
            found = asyncio.ensure_future(make_provider(self, place))
            self._providers[key] = found
        try:
            return await asyncio.shield(found)
        except BaseException:
            if found.done() and (found.cancelled() or found.exception() is not None):
                self._providers.pop(key, None)
            raise

    def known_provider(self, place: Place) -> Provider | None:
        """The same, if there is one already."""
        found = self._providers.get(place.key)
        if found is None or not found.done() or found.cancelled() or found.exception():
            return None
        return found.result()

    async def _close(self) -> None:
        waiting, self._providers = list(self._providers.values()), {}
        for made in waiting:
            if made.done() and not made.cancelled() and made.exception() is None:
                await made.result().close()

    def run(
        self,
        operation: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """Do *operation* and wait for it; its errors are raised here.

        Raises:
            OwnLoopError: on the client's own loop, which would wait for itself.
        """
        self._warn_of_loop(operation.__name__.rstrip("_"))
        if self._stays_here(operation, args):
            return self._here.run(operation, args, kwargs)
        ended = threading.Event()
        outcome: list[Any] = [Unavailable("The client was shut down.")]

        def done(_: Request, value: Any) -> None:
            outcome[0] = value
            ended.set()

        request = self.engine.submit(lambda _: operation(self, *args, **kwargs), done)
        if request.id:
            try:
                ended.wait()
            except BaseException:
                request.stop()
                raise
        return cast("R", _value(outcome[0]))

    async def run_async(
        self,
        operation: Callable[Concatenate[Client, P], Coroutine[Any, Any, R]],
        /,
        *args: P.args,
        **kwargs: P.kwargs,
    ) -> R:
        """The same without blocking; cancelling stops it."""
        if self._stays_here(operation, args):
            return await self._here.begun(operation, args, kwargs)
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[Any] = loop.create_future()
        turns = self._turns.get(loop) or self._turns_of(loop)

        def settle(value: Any) -> None:
            if not answer.done():
                answer.set_result(value)

        def done(_: Request, value: Any) -> None:
            try:
                turns.put(lambda: settle(value))
            except RuntimeError:
                return  # that loop has ended, and with it whoever waited

        request = self.engine.submit(lambda _: operation(self, *args, **kwargs), done)
        if not request.id:
            raise Unavailable("The client was shut down.")
        try:
            return cast("R", _value(await answer))
        finally:
            request.stop()

    def _stays_here(self, operation: Callable[..., Any], args: tuple[Any, ...]) -> bool:
        return (
            not self.engine.is_closed
            and not self.callbacks.file.handles()  # who hears of files, hears on a thread of ours
            and is_here(operation, args)
        )

    def _turns_of(self, loop: asyncio.AbstractEventLoop) -> Turns:
        for ended in [other for other in list(self._turns) if other.is_closed()]:
            self._turns.pop(ended, None)
        return self._turns.setdefault(loop, Turns(loop))

    def start(
        self,
        work: Callable[[Request], Coroutine[Any, Any, Any]],
        callback: Callable[[Any], None],
    ) -> Request:
        """Do *work*; *callback* gets its value or error, on the callback thread."""
        engine = self.engine

        def done(request: Request, value: Any) -> None:
            engine.call_back(lambda: _deliver(request, callback, value))

        return engine.submit(work, done)

    def progress(self, url: str, status: FileStatus) -> Progress:
        """What tells the listeners how far the work on *url* is, in whole percents."""
        if not self.callbacks.file.handles():
            return no_progress
        last = -1

        def tell(done: int, total: int) -> None:
            nonlocal last
            percent = 100 if done >= total else done * 100 // total
            if percent != last:
                last = percent
                self.callbacks.tell_file(url, status, percent)

        return tell

    def close(self) -> None:
        """Stop everything; nothing is called back after it."""
        self.engine.close()
        self.channels.clear()
        self.breakers.clear()
        self._providers.clear()

    def _warn_of_loop(self, name: str) -> None:
        if self.engine.is_own_thread():
            raise OwnLoopError("A blocking call on the client's own loop would wait for itself.")
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        if name not in self._warned:
            self._warned.add(name)
            warnings.warn(
                f"{name}() blocks the event loop that runs in this thread: await {name}_async().",
                RuntimeWarning,
                stacklevel=_depth_of_caller(),
            )


def _depth_of_caller() -> int:
    """How many frames lie between `warnings.warn` and the first that is not of this package."""
    depth, frame = 0, inspect.currentframe()
    while frame is not None and frame.f_code.co_filename.startswith(PACKAGE):
        depth, frame = depth + 1, frame.f_back
    return depth


def _value(outcome: Any) -> Any:
    if isinstance(outcome, BaseException):
        raise outcome
    return outcome


def _deliver(request: Request, callback: Callable[[Any], None], value: Any) -> None:
    if request.may_call():
        try:
            callback(value)
        finally:
            request.end()


class _Default:
    client: Client | None = None
    lock = threading.Lock()
    abandoned: list[Client] = []  # noqa: RUF012 - of the parent process; see _after_fork


def default_client() -> Client:
    """The client of the module's functions."""
    if _Default.client is None:
        with _Default.lock:
            if _Default.client is None:
                _Default.client = Client()
    return _Default.client


def _after_fork() -> None:
    # Neither threads nor locks nor connections of the parent work here; none is touched.
    _Default.lock = threading.Lock()
    parent = _Default.client
    if parent is None:
        return
    _Default.abandoned.append(parent)
    child = Client(parent.options)
    child.search_urls = list(parent.search_urls)
    child.callbacks.take_over(parent.callbacks)
    _Default.client = child


os.register_at_fork(after_in_child=_after_fork)
