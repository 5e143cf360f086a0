"""Entries on their way into the store."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from downstage.kernel.errors import PlatformError
from downstage.streams.model import Receipt

__all__ = ["Data", "Done", "Item", "Producer"]

Data = bytes | bytearray | memoryview
"""A payload. It is not copied: leave it alone until it has been answered for."""
Item = tuple[str, bytes, Data]
"""Stream, id (`AUTO`, ``b"ms"``, ``b"ms-seq"``, ``b"ms-*"``), payload."""
Done = Callable[[Receipt | PlatformError], None]


class Producer:
    """Pushes without waiting: one for each socket that pushes.

    What is put within one turn of the event loop leaves as one train. Order is kept.
    """

    on_pressure: Callable[[bool], None] | None = None
    """Called with True when too much is unanswered: stop reading from the producer; then False."""
    failed: PlatformError | None = None
    """Why an unacknowledged `put` was not stored, the first time that happened."""

    def put(self, stream: str, data: Data) -> None:
        """Store one entry, with an id of the engine's; nobody waits for the answer.

        Raises:
            Forbidden, NotFound, InvalidField: not into this stream.
            QuotaReached: the tenant has as many streams as it may.
            PlatformError: `failed`, once it is set.
        """
        raise NotImplementedError

    def put_batch(
        self, items: Sequence[Item], done: Done | None = None, *, key: str | None = None
    ) -> None:
        """Store all of *items* or none; then *done* is called, on the loop.

        Raises:
            Forbidden, NotFound, InvalidField, BadId: at once, before anything is sent.
        """
        raise NotImplementedError

    def close(self) -> None:
        """Take no more; what was put goes on."""
        raise NotImplementedError

    async def drain(self, deadline_s: float) -> None:
        """Wait until all that was put is answered.

        Raises:
            DeadlineExceeded: it was not within *deadline_s* seconds.
            PlatformError: `failed`.
        """
        raise NotImplementedError
