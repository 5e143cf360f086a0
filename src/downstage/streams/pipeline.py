"""Several commands at once, and all their replies."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any

from downstage.kernel.errors import PlatformError
from downstage.streams.engine import Buffer, Lane, NotReady, encode
from downstage.streams.engine.resp import DEADLINE_S

__all__ = ["first_error", "gather", "transact", "weigh"]


async def gather(
    lane: Lane,
    buffers: Sequence[Buffer],
    count: int | None = None,
    *,
    deadline_s: float = DEADLINE_S,
) -> list[Any]:
    """Send whole commands and return their replies, errors among them.

    *count* says how many they are, where that is not one for each buffer.

    Raises:
        NotReady: no answer in time.
    """
    future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()

    def tell(replies: list[Any]) -> None:
        if not future.done():
            future.set_result(replies)

    lane.send(buffers, len(buffers) if count is None else count, tell)
    try:
        async with asyncio.timeout(deadline_s):
            return await future
    except TimeoutError as error:
        raise NotReady(f"The engine did not answer within {deadline_s:g} s.") from error


async def transact(
    lane: Lane, buffers: Sequence[Buffer], *, deadline_s: float = DEADLINE_S
) -> list[Any]:
    """The same, where the first error is raised."""
    replies = await gather(lane, buffers, deadline_s=deadline_s)
    if (error := first_error(replies)) is not None:
        raise error
    return replies


def weigh(key: bytes) -> bytes:
    """What asks for the bytes of a stream, all of it.

    Without SAMPLES the engine takes the mean of its first nodes for that of all: where a few large
    entries come first it is wrong by any factor.
    """
    return encode("MEMORY", "USAGE", key, "SAMPLES", 0)


def first_error(replies: Sequence[Any]) -> PlatformError | None:
    """The first error among *replies*."""
    return next((reply for reply in replies if isinstance(reply, PlatformError)), None)
