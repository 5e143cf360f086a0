"""Streams of news end when who asked for them would no longer be let in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TypeVar

__all__ = ["CHECK_S", "while_standing"]

CHECK_S = 5.0
"""How often it is looked at, beside before each piece of news."""
News = TypeVar("News")


async def while_standing(
    news: AsyncIterator[News], counts: Callable[[], bool]
) -> AsyncIterator[News]:
    """*news*, until they end or their reader does not count any more."""
    waiting: asyncio.Task[News | None] | None = None
    try:
        while counts():
            waiting = waiting or asyncio.ensure_future(_next(news))
            done, _ = await asyncio.wait({waiting}, timeout=CHECK_S)
            if not done:
                continue
            found, waiting = waiting.result(), None
            if found is None or not counts():
                return
            yield found
    finally:
        if waiting is not None:
            waiting.cancel()
            await asyncio.gather(waiting, return_exceptions=True)


async def _next(news: AsyncIterator[News]) -> News | None:
    """One piece; None: there are no more."""
    return await anext(news, None)
