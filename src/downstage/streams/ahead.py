"""The next read of a reader that catches up, asked for while the last one is being given."""

from __future__ import annotations

import asyncio
from typing import Any

from downstage.kernel.errors import PlatformError
from downstage.streams.engine import NotReady
from downstage.streams.engine.resp import DEADLINE_S
from downstage.streams.part import Part
from downstage.streams.pipeline import first_error

__all__ = ["Ahead", "ask_ahead"]


class Ahead:
    """A read that has been asked for.

    Args:
        part: of the store.
        command: the read. Its answer counts only where just that is what is read next.
    """

    def __init__(self, part: Part, command: bytes) -> None:
        self._asked = (part, command)
        self._future: asyncio.Future[list[Any]] = asyncio.get_running_loop().create_future()
        part.command.send([command], 1, self._future.set_result)

    def is_for(self, part: Part, commands: list[bytes]) -> bool:
        """Whether these are to be read."""
        return len(commands) == 1 and self._asked == (part, commands[0])

    async def replies(self) -> list[Any]:
        """The answer, as `transact` gives it.

        Raises:
            PlatformError: the engine refused, or does not answer.
        """
        try:
            async with asyncio.timeout(DEADLINE_S):
                found = await asyncio.shield(self._future)
        except TimeoutError as error:
            raise NotReady(f"The engine did not answer within {DEADLINE_S:g} s.") from error
        if (refused := first_error(found)) is not None:
            raise refused
        return found


def ask_ahead(part: Part, command: bytes) -> Ahead | None:
    """Ask for a read; None where the engine is not there just now."""
    try:
        return Ahead(part, command)
    except PlatformError:
        return None
