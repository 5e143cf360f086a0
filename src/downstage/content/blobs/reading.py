"""Bytes on their way out: never others than those that were stored."""

from __future__ import annotations

import bisect
import os
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import accumulate
from pathlib import Path
from types import TracebackType
from typing import Self

import blake3

from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.protocol import BlobRef, Extent
from downstage.kernel.errors import Damaged, RangeNotSatisfiable

__all__ = ["PIECE", "ClosedAfterUse", "ExtentReading", "InlineReading", "open_sources"]

PIECE = 1024 * 1024
"""Bytes read at a time."""


class ClosedAfterUse:
    """What every way to read a body shares: it is closed where the block that uses it ends."""

    def close(self) -> None:
        """Give back what is open; idempotent."""

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class InlineReading(ClosedAfterUse):
    """A small body, all in memory."""

    def __init__(self, ref: BlobRef, data: bytes) -> None:
        self.ref = ref
        self.data: bytes | None = data
        self.file: Path | None = None

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `protocol.BlobReading`."""
        begin, end = bounds(self.ref.size, start, stop)
        if self.data is not None and end > begin:
            yield self.data[begin:end]

    def read_at(self, start: int, size: int) -> bytes:
        """See `ExtentReading.read_at`."""
        return (self.data or b"")[start : start + size]


class ExtentReading(ClosedAfterUse):
    """A large body, from one file or ranges of several, all open from the start.

    Args:
        ref: what is read.
        extents: where it lies, in order.
        descriptors: of the sources by their names; closed with this.
        file: set where the body is exactly one whole file.
        pool: of the workers that read.
    """

    data: bytes | None = None

    def __init__(
        self,
        ref: BlobRef,
        extents: Sequence[Extent],
        descriptors: dict[str, int],
        file: Path | None,
        pool: ThreadPoolExecutor,
    ) -> None:
        self.ref = ref
        self.file = file
        self.extents = extents
        self._ends = list(accumulate(extent.length for extent in extents))
        self._descriptors = descriptors
        self._pool = pool

    @property
    def descriptor(self) -> int | None:
        """Of `file`, for ``os.sendfile``; valid until `close`."""
        return self._descriptors[self.extents[0].source] if self.file is not None else None

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        """See `protocol.BlobReading`."""
        begin, end = bounds(self.ref.size, start, stop)
        check = blake3.blake3() if (begin, end) == (0, self.ref.size) else None
        while begin < end:
            size = min(PIECE, end - begin)
            piece = await in_worker(self._pool, lambda: self._read(begin, size, check))  # noqa: B023
            begin += size
            if check is not None and begin == end and check.hexdigest() != self.ref.hash:
                raise Damaged("These bytes changed on the server's disk.", hash=self.ref.hash)
            yield piece

    def read_at(self, start: int, size: int) -> bytes:
        """The same in this thread: *size* bytes from *start*, which must be there."""
        return self._read(start, size, None)

    def _read(self, start: int, size: int, check: blake3.blake3 | None) -> bytes:
        index = bisect.bisect_right(self._ends, start)
        parts = list[bytes]()
        while size > 0:
            extent = self.extents[index]
            inside = start - (self._ends[index] - extent.length)
            length = min(size, extent.length - inside)
            parts.append(self._range(extent, inside, length))
            start, size, index = start + length, size - length, index + 1
        piece = parts[0] if len(parts) == 1 else b"".join(parts)
        if check is not None:
            check.update(piece)
        return piece

    def _range(self, extent: Extent, inside: int, length: int) -> bytes:
        data = os.pread(self._descriptors[extent.source], length, extent.at + inside)
        if len(data) != length:
            raise Damaged("Bytes are missing on the server's disk.", hash=self.ref.hash)
        return data

    def close(self) -> None:
        """See `protocol.BlobReading`."""
        descriptors, self._descriptors = self._descriptors, {}
        for descriptor in descriptors.values():
            os.close(descriptor)


def bounds(size: int, start: int, stop: int | None) -> tuple[int, int]:
    """*start* and *stop* within a body.

    Raises:
        RangeNotSatisfiable: they lie outside, or run backwards.
    """
    end = size if stop is None else stop
    if not 0 <= start <= end <= size:
        raise RangeNotSatisfiable("That range is not in the file.", size=size)
    return start, end


def open_sources(folder: Path, extents: Sequence[Extent]) -> dict[str, int]:
    """Descriptors of all sources of *extents*; all or none.

    Raises:
        FileNotFoundError: one has gone.
    """
    descriptors = dict[str, int]()
    try:
        for extent in extents:
            if extent.source not in descriptors:
                path = folder / extent.source
                descriptors[extent.source] = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except BaseException:
        for descriptor in descriptors.values():
            os.close(descriptor)
        raise
    return descriptors
