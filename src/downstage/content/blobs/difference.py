"""A large body stored as what differs from the version before.

The earlier version needs no preparation: it is read and cut when its successor arrives, and the
successor then names ranges of the earlier one's file, whole file or pack. So a first version
stays one plain file, nothing is ever stored twice, and the rows of a version are as many as its
edits, not as its chunks.
"""

from __future__ import annotations

import bisect
import os
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import accumulate

import blake3

from downstage.content.blobs.chunks import BUFFER, Chunk, Cutter, Recent, target_for
from downstage.content.blobs.layout import Layout, disk_errors, write_all
from downstage.content.blobs.packs import Packs
from downstage.content.blobs.pins import Hold
from downstage.content.blobs.protocol import Extent
from downstage.content.blobs.reading import ExtentReading
from downstage.kernel.chaos import point

__all__ = ["LARGE", "DifferenceSink", "Earlier", "chunks_of"]

LARGE = 8 * 1024 * 1024
"""Bytes from which differences pay: below, a whole copy is written in the time that reading and
cutting the earlier version takes, and 128 chunks share little."""

IN_MEMORY = 4 * 1024 * 1024
"""New bytes kept for the common pack; more of them become a pack of their own."""


@dataclass(frozen=True, slots=True)
class Earlier:
    """The version before, as the new one looks at it."""

    extents: Sequence[Extent]
    chunks: dict[bytes, int]
    target: int


@dataclass(slots=True)
class _Run:
    """A range of the new body: of the earlier one (*old*) or of the new bytes."""

    old: bool
    at: int
    length: int


def chunks_of(reading: ExtentReading, recent: Recent) -> tuple[dict[bytes, int], int]:
    """Where each chunk of an earlier version begins, and the average it was cut with. Blocks."""
    ref = reading.ref
    target = target_for(ref.size)
    known = recent.get(ref.hash, target)
    if known is None:
        cutter = Cutter(target)
        known = dict[bytes, int]()
        for start in range(0, ref.size, BUFFER):
            piece = reading.read_at(start, min(BUFFER, ref.size - start))
            known.update((chunk.digest, chunk.at) for chunk in cutter.feed(piece))
        known.update((chunk.digest, chunk.at) for chunk in cutter.finish())
        recent.put(ref.hash, target, known)
    return known, target


class DifferenceSink:
    """See `sinks.Sink`.

    Args:
        layout: of the folder.
        packs: take what is new.
        earlier: its sources are kept by *hold* already.
        hold: of the staging.
        recent: learns the new one's chunks.
    """

    def __init__(
        self, layout: Layout, packs: Packs, earlier: Earlier, hold: Hold, recent: Recent
    ) -> None:
        self._layout = layout
        self._packs = packs
        self._earlier = earlier
        self._hold = hold
        self._recent = recent
        self._cutter = Cutter(earlier.target)
        self._hash = blake3.blake3()
        self._chunks = dict[bytes, int]()
        self._own = dict[bytes, int]()
        self._runs = list[_Run]()
        self._new = bytearray()
        self._new_size = 0
        self._size = 0
        self._path = layout.temporary()
        self._descriptor = -1

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """See `sinks.Sink`."""
        self._hash.update(data)
        self._size += len(data)
        self._take(self._cutter.feed(data))

    def digest(self) -> str:
        """See `sinks.Sink`."""
        self._take(self._cutter.finish())
        return self._hash.hexdigest()

    def settle(self) -> Sequence[Extent]:
        """See `sinks.Sink`."""
        home = self._settle_new() if self._new_size else None
        self._recent.put(self._hash.hexdigest(), self._earlier.target, self._chunks)
        extents = list[Extent]()
        ends = list(accumulate(extent.length for extent in self._earlier.extents))
        for run in self._runs:
            if run.old:
                extents += _located(self._earlier.extents, ends, run.at, run.length)
            elif home is not None:
                extents.append(Extent(home.source, home.at + run.at, run.length))
        return extents

    def abort(self) -> None:
        """See `sinks.Sink`."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1
            self._path.unlink(missing_ok=True)

    def _take(self, chunks: Iterator[Chunk]) -> None:
        for chunk in chunks:
            length = len(chunk.data)
            self._chunks.setdefault(chunk.digest, chunk.at)
            old = self._earlier.chunks.get(chunk.digest)
            if old is not None:
                self._add(old=True, at=old, length=length)
                continue
            at = self._own.get(chunk.digest)
            if at is None:
                at = self._own[chunk.digest] = self._new_size
                self._keep(chunk.data)
            self._add(old=False, at=at, length=length)

    def _add(self, *, old: bool, at: int, length: int) -> None:
        last = self._runs[-1] if self._runs else None
        if last is not None and last.old == old and last.at + last.length == at:
            last.length += length
        else:
            self._runs.append(_Run(old, at, length))

    def _keep(self, data: memoryview) -> None:
        self._new_size += len(data)
        self._new += data
        if len(self._new) > IN_MEMORY:
            self._spill()

    def _spill(self) -> None:
        with disk_errors():
            if self._descriptor < 0:
                flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC
                self._descriptor = os.open(self._path, flags, 0o600)
            write_all(self._descriptor, self._new)
        self._new = bytearray()

    def _settle_new(self) -> Extent:
        """The new bytes: in the common pack, or as a file of their own where they are many."""
        if self._descriptor < 0:
            return self._packs.append(self._new, self._hold)
        self._spill()
        whole = len(self._runs) == 1 and not self._runs[0].old
        name = self._layout.pack_name()
        if whole and self._new_size == self._size:
            name = self._layout.blob_name(self._hash.hexdigest())
        self._hold.keep((name,))
        with disk_errors():
            point("content.blob.written")
            os.fdatasync(self._descriptor)
            point("content.blob.synced")
            self._layout.settle(self._path, name)
            point("content.blob.renamed")
        os.close(self._descriptor)
        self._descriptor = -1
        return Extent(name, 0, self._new_size)


def _located(
    extents: Sequence[Extent], ends: Sequence[int], at: int, length: int
) -> Iterator[Extent]:
    """The part of *extents*, which end at *ends* of the whole, that holds *length* from *at*."""
    index = bisect.bisect_right(ends, at)
    while length > 0:
        extent = extents[index]
        inside = at - (ends[index] - extent.length)
        size = min(length, extent.length - inside)
        yield Extent(extent.source, extent.at + inside, size)
        at, length, index = at + size, length - size, index + 1
