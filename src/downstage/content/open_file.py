"""An open file: what it is, and its bytes."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

from downstage.content.blobs.protocol import BlobReading
from downstage.content.blobs.reading import ClosedAfterUse
from downstage.content.model import Entry

__all__ = ["PIECE", "Reading"]

PIECE = 1024 * 1024
"""Bytes that are handed over at a time."""


class Reading(ClosedAfterUse):
    """Bytes of one version of a file; close it. Nothing written later changes what it gives.

    Args:
        entry: the file, or its checkpoint.
        data: all bytes, where they are in the database.
        blob: the open bytes otherwise.
    """

    def __init__(self, entry: Entry, data: bytes | None, blob: BlobReading | None = None) -> None:
        self.entry = entry
        self.data = data
        self._blob = blob

    @property
    def file(self) -> Path | None:
        """A plain file that holds exactly these bytes; None: use `data` or `pieces`."""
        return None if self._blob is None else self._blob.file

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """The bytes from *start* up to *stop*, in pieces of at most 1 MiB."""
        if self._blob is not None:
            async for piece in self._blob.pieces(start, stop):
                yield piece
        elif self.data is not None:
            wanted = self.data[start:stop]
            for at in range(0, len(wanted), PIECE):
                yield wanted[at : at + PIECE]

    async def read(self) -> bytes:
        """All of it; for what is known to be small."""
        if self.data is not None:
            return self.data
        return b"".join([piece async for piece in self.pieces()])

    def close(self) -> None:
        """Give what is open back; idempotent."""
        if self._blob is not None:
            self._blob.close()
