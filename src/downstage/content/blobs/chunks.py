"""Cutting bytes where their content says, so that an insertion moves no cut but its own.

Sans-I/O: bytes in, chunks out.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator
from dataclasses import dataclass

import blake3
from pyfastcdc import FastCDC

__all__ = ["TARGET", "Chunk", "Cutter", "Recent", "target_for"]

TARGET = 64 * 1024
"""Bytes of a chunk on average; from a quarter of that to four times."""
MOST_CHUNKS = 64 * 1024
"""Of one file: a larger file gets larger chunks, so that its list stays small in memory."""
BUFFER = 4 * 1024 * 1024
"""Bytes gathered before cutting."""


def target_for(size: int) -> int:
    """The average chunk for a file of *size* bytes, so that there are not too many."""
    target = TARGET
    while size // target > MOST_CHUNKS:
        target *= 2
    return target


@dataclass(frozen=True, slots=True)
class Chunk:
    """A piece between two cuts."""

    digest: bytes
    at: int
    """Where it begins in the whole."""
    data: memoryview


class Cutter:
    """Cuts a stream; the cuts depend on the bytes alone, not on how they were fed.

    Args:
        target: average chunk, bytes.
    """

    def __init__(self, target: int) -> None:
        self._cdc = FastCDC(avg_size=target)
        # One buffer for all, filled and cut again and again: fresh memory costs more than cutting.
        self._buffer = bytearray(max(BUFFER, 16 * target))
        self._filled = 0
        self._at = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Chunk]:
        """The chunks that *data* completes; use each before asking for the next."""
        view = memoryview(data)
        while view:
            part = view[: len(self._buffer) - self._filled]
            self._buffer[self._filled : self._filled + len(part)] = part
            self._filled += len(part)
            view = view[len(part) :]
            if self._filled == len(self._buffer):
                yield from self._cut(self._buffer, last=False)

    def finish(self) -> Iterator[Chunk]:
        """The rest."""
        yield from self._cut(bytes(memoryview(self._buffer)[: self._filled]), last=True)

    def _cut(self, whole: bytes | bytearray, *, last: bool) -> Iterator[Chunk]:
        # The cutter takes no views; what it gives are ranges, and chunks are views of those.
        done = 0
        with memoryview(whole) as view:
            for found in self._cdc.cut_buf(whole):
                end = found.offset + found.length
                if end == len(whole) and not last:
                    break  # this cut may be none: the buffer ends here, the stream does not
                with view[found.offset : end] as data:
                    yield Chunk(blake3.blake3(data).digest(), self._at + found.offset, data)
                done = end
            self._at += done
            self._filled = len(whole) - done
            self._buffer[: self._filled] = view[done:]


class Recent:
    """Chunk lists of contents met lately: where each chunk begins, by its digest.

    Who saves a large file again and again has it cut once each time, not twice.
    """

    def __init__(self, most_chunks: int = 2 * MOST_CHUNKS) -> None:
        self._most = most_chunks
        self._lists = OrderedDict[tuple[str, int], dict[bytes, int]]()

    def get(self, digest: str, target: int) -> dict[bytes, int] | None:
        """The list of a content cut with *target*; not to be changed."""
        found = self._lists.get((digest, target))
        if found is not None:
            self._lists.move_to_end((digest, target))
        return found

    def put(self, digest: str, target: int, chunks: dict[bytes, int]) -> None:
        """Remember a list; the oldest are forgotten."""
        self._lists[digest, target] = chunks
        self._lists.move_to_end((digest, target))
        while len(self._lists) > 1 and sum(map(len, self._lists.values())) > self._most:
            self._lists.popitem(last=False)
