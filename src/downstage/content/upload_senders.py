"""Who appends to an upload just now: one at a time, and the last one who came."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

import anyio

from downstage.kernel.errors import Conflict

__all__ = ["Sender", "Senders"]

LINGER_S = 1.0
"""Seconds in which what a dead connection still brings is taken in, before it is cut off."""
TAKE_OVER_S = 10.0
"""Seconds that a sender gets to let go when its successor comes."""


@dataclass(slots=True)
class Sender:
    """One who appends; what it does runs in `scope`."""

    scope: anyio.CancelScope = field(default_factory=anyio.CancelScope)
    ended: anyio.Event = field(default_factory=anyio.Event)


class Senders:
    """Those of all uploads."""

    def __init__(self) -> None:
        self._of = dict[str, Sender]()

    @asynccontextmanager
    async def taking_over(self, upload_id: str) -> AsyncGenerator[Sender]:
        """Be the one who appends; the one before is stopped and has let go.

        Raises:
            Conflict: it does not.
        """
        sender = Sender()
        before, self._of[upload_id] = self._of.get(upload_id), sender
        try:
            if before is not None and not await _stopped(before):
                raise Conflict("An earlier request does not let go of this upload.")
            yield sender
        finally:
            sender.ended.set()
            if self._of.get(upload_id) is sender:
                del self._of[upload_id]

    async def at_rest(self, upload_id: str) -> None:
        """Let whoever appends come to an end: by itself in a moment, else it is cut off.

        Who asks where to go on has lost the connection before, which may not have been noticed,
        or whose bytes are on their way to disk.
        """
        sender = self._of.get(upload_id)
        if sender is None:
            return
        with anyio.move_on_after(LINGER_S):
            await sender.ended.wait()
        await _stopped(sender)

    def cut_off(self, upload_id: str) -> None:
        """Stop whoever appends."""
        sender = self._of.get(upload_id)
        if sender is not None:
            sender.scope.cancel()


async def _stopped(sender: Sender) -> bool:
    """Stop it; whether it has let go in time."""
    sender.scope.cancel()
    with anyio.move_on_after(TAKE_OVER_S):
        await sender.ended.wait()
    return sender.ended.is_set()
