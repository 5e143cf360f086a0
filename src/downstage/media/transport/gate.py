"""A short queue of pictures in front of a peer connection, decodable whatever is left out."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from downstage.media.frame import EncodedFrame

__all__ = ["FrameGate"]

DEPTH = 4
"""Pictures waiting for the packetiser; it takes one in well under a millisecond."""


class FrameGate:
    """Lets pictures through in order; when it is full, the next one through is a key frame.

    Args:
        on_key_wanted: called whenever pictures were left out and only a key frame helps.
    """

    def __init__(self, on_key_wanted: Callable[[], None], depth: int = DEPTH) -> None:
        self._queue: asyncio.Queue[EncodedFrame] = asyncio.Queue(depth)
        self._on_key_wanted = on_key_wanted
        self._waits_for_key = True
        self.dropped = 0

    def put(self, frame: EncodedFrame) -> None:
        """Queue *frame*, or leave it out."""
        if frame.key:
            if self._queue.full():
                self._clear()
            self._waits_for_key = False
        elif self._waits_for_key or self._queue.full():
            self.dropped += 1
            self._waits_for_key = True
            self._on_key_wanted()
            return
        self._queue.put_nowait(frame)

    def __len__(self) -> int:
        """Pictures waiting."""
        return self._queue.qsize()

    def _clear(self) -> None:
        while not self._queue.empty():
            self._queue.get_nowait()
            self.dropped += 1

    async def get(self) -> EncodedFrame:
        """The next picture."""
        return await self._queue.get()
