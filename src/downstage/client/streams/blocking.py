"""Blocking calls of the client of streams: done on the client's own loop, waited for here."""

from __future__ import annotations

import asyncio
import threading
import warnings
from collections.abc import AsyncGenerator, Callable, Coroutine, Iterator
from typing import Any, TypeVar, cast

from downstage.client.client import OwnLoopError, default_client
from downstage.client.request import Request
from downstage.kernel.errors import Unavailable

__all__ = ["call", "iterate"]

T = TypeVar("T")
AT_ONCE_BYTES = 4 << 20


def call(function: Callable[..., Coroutine[Any, Any, T]], *args: Any, **kwargs: Any) -> T:
    """Do *function* on the client's loop and wait for it; Ctrl-C stops it.

    Raises:
        OwnLoopError: on that loop, which would wait for itself.
    """
    engine = default_client().engine
    if engine.is_own_thread():
        raise OwnLoopError("A blocking call on the client's own loop would wait for itself.")
    _warn_of_loop()
    ended = threading.Event()
    outcome: list[Any] = [Unavailable("The client was shut down.")]

    def done(_: Request, value: Any) -> None:
        outcome[0] = value
        ended.set()

    request = engine.submit(lambda _: function(*args, **kwargs), done)
    if request.id:
        try:
            ended.wait()
        except BaseException:
            request.stop()
            raise
    if isinstance(outcome[0], BaseException):
        raise outcome[0]
    return cast("T", outcome[0])


def iterate(
    make: Callable[[], AsyncGenerator[T]],
    *,
    at_once: int = 1,
    size: Callable[[T], int] = lambda _: 0,
) -> Iterator[T]:
    """What an asynchronous generator yields.

    Args:
        make: the generator.
        at_once: things for each way to the loop and back; all but the last are waited for.
        size: bytes of one thing: some of them are enough at once, too.
    """
    generator = make()
    failed = list[Exception]()

    async def some() -> tuple[list[T], bool]:
        found, bytes_ = list[T](), 0
        while len(found) < at_once and bytes_ < AT_ONCE_BYTES:
            try:
                one = await anext(generator)
            except StopAsyncIteration:
                return found, True
            except Exception as error:  # noqa: BLE001 - raised once what came before was given
                failed.append(error)
                return found, True
            found.append(one)
            bytes_ += size(one)
        return found, False

    try:
        while True:
            found, is_over = call(some)
            yield from found
            if failed:
                raise failed[0]
            if is_over:
                return
    finally:
        call(_close, generator)


async def _close(generator: AsyncGenerator[Any]) -> None:
    await generator.aclose()


def _warn_of_loop() -> None:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return
    warnings.warn(
        "downstage.streams.Client blocks the event loop that runs in this thread: use AsyncClient, "
        "or `async with Client(…)`.",
        RuntimeWarning,
        stacklevel=4,
    )
