"""Bodies in pieces: numbered, and never more under way than the receiver has room for."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable

from downstage.services.transports.nats_frames import (
    CreditHead,
    FrameError,
    Kind,
    PieceHead,
    pack,
)

__all__ = ["PIECE", "WINDOW", "Incoming", "Outgoing", "cost"]

WINDOW = 1024 * 1024
"""Bytes under way in one direction of one call, at most."""
PIECE = 128 * 1024
EACH = 128
"""What a piece costs beside its bytes: else tiny ones would fill memory within the window."""
GRANT = WINDOW // 4

Publish = Callable[[bytes], Awaitable[None]]
"""Sends one frame to the other side."""


def cost(size: int) -> int:
    """What a piece of *size* bytes takes of the window."""
    return size + EACH


class Outgoing:
    """Pieces on their way out: `send` waits while the window is full."""

    def __init__(self, publish: Publish, first: int, piece: int = PIECE) -> None:
        """*first*: bytes that went with the head; *piece*: bytes of a piece, at most."""
        self._publish = publish
        self._piece = piece
        self._under_way = cost(first) if first else 0
        self._number = 0
        self._granted = asyncio.Event()

    async def send(self, data: bytes, *, more: bool) -> None:
        """Send *data*, in several pieces where it is large."""
        view = memoryview(data)
        at = 0
        while True:
            piece = view[at : at + self._piece]
            at += len(piece)
            is_last = at >= len(data)
            await self._room(cost(len(piece)))
            self._number += 1
            head = PieceHead(self._number, more or not is_last)
            await self._publish(pack(Kind.PIECE, head, piece))
            if is_last:
                return

    async def _room(self, needed: int) -> None:
        while self._under_way and self._under_way + needed > WINDOW:
            self._granted = asyncio.Event()
            await self._granted.wait()
        self._under_way += needed

    def grant(self, taken: int) -> None:
        """The other side has taken so much.

        Raises:
            FrameError: more than was sent.
        """
        if not 0 < taken <= self._under_way:
            raise FrameError("more was credited than was sent")
        self._under_way -= taken
        self._granted.set()


class Incoming:
    """Pieces that came and wait to be taken, in order."""

    __slots__ = ("_changed", "_error", "_held", "_more", "_number", "_owed", "_pieces")

    def __init__(self, first: bytes, *, more: bool) -> None:
        """*first*: what came with the head."""
        self._pieces: deque[bytes] = deque([first] if first else [])
        self._held = cost(len(first)) if first else 0
        self._owed = 0
        self._number = 0
        self._more = more
        self._error: Exception | None = None
        self._changed = asyncio.Event()

    @property
    def is_whole(self) -> bool:
        """Whether the last piece has come."""
        return not self._more

    @property
    def is_single(self) -> bool:
        """Whether all of it came at once."""
        return not self._more and len(self._pieces) <= 1

    @property
    def is_empty(self) -> bool:
        """Whether the last piece has been taken."""
        return not self._more and not self._pieces

    def push(self, head: PieceHead, body: bytes) -> None:
        """Add the next piece.

        Raises:
            FrameError: it is not the next, or more than was allowed.
        """
        if not self._more:
            raise FrameError("a piece came after the last")
        if head.number != self._number + 1:
            raise FrameError(f"piece {head.number} came where {self._number + 1} was due")
        self._held += cost(len(body))
        if self._held > WINDOW + cost(PIECE):
            raise FrameError("more pieces came than there was room for")
        self._number += 1
        self._more = head.more
        if body:
            self._pieces.append(body)
        else:
            self._owed += cost(0)
        self._changed.set()

    def fail(self, error: Exception) -> None:
        """What has come can still be taken; then *error* is raised."""
        if self._more and self._error is None:
            self._error = error
            self._changed.set()

    async def take(self) -> bytes | None:
        """The next piece, never empty; None after the last."""
        while not self._pieces:
            if self._error is not None:
                raise self._error
            if not self._more:
                return None
            self._changed = asyncio.Event()
            await self._changed.wait()
        piece = self._pieces.popleft()
        self._owed += cost(len(piece))
        return piece

    def credit(self) -> bytes | None:
        """The frame that tells the other side what has been taken, where it is time for it."""
        if not self._more or self._owed < GRANT:
            return None
        taken, self._owed = self._owed, 0
        self._held -= taken
        return pack(Kind.CREDIT, CreditHead(taken))
