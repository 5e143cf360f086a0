"""Blocking work that may take minutes, in threads that nobody waits for when the program ends.

The loop's own pool of threads is small and is waited for: a name server that does not answer, or a
person who does not, would hold up files of this machine, and then the end of the program.
"""

from __future__ import annotations

import asyncio
import contextvars
import threading
from collections.abc import Callable
from typing import TypeVar

__all__ = ["in_daemon"]

T = TypeVar("T")


async def in_daemon(work: Callable[[], T], name: str) -> T:
    """Do *work* in a thread of its own; whoever is cancelled leaves it to itself.

    Args:
        work: blocks.
        name: of the thread.
    """
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[T] = loop.create_future()
    context = contextvars.copy_context()

    def settle(value: T | None, error: BaseException | None) -> None:
        if answer.done():
            return
        if error is None:
            answer.set_result(value)  # pyright: ignore[reportArgumentType] - then it is a T
        else:
            answer.set_exception(error)

    def run() -> None:
        value, failed = None, None
        try:
            value = context.run(work)
        except BaseException as error:  # noqa: BLE001 - handed to whoever asked
            failed = error
        try:
            loop.call_soon_threadsafe(settle, value, failed)
        except RuntimeError:
            return  # the loop has ended

    threading.Thread(target=run, name=name, daemon=True).start()
    return await answer
