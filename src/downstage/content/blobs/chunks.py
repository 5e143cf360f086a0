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
        self._most = max(BUFFER, 16 * target)
        self._buffer = bytearray()
        self._at = 0

    def feed(self, data: bytes | bytearray | memoryview) -> Iterator[Chunk]:
        """The chunks that *data* completes; use each before asking for the next."""
        view = memoryview(data)
        for start in range(0, len(view), self._most):
            self._buffer += view[start : start + self._most]
            if len(self._buffer) >= self._most:
                yield from self._cut(last=False)

    def finish(self) -> Iterator[Chunk]:
        """The rest."""
        yield from self._cut(last=True)

    def _cut(self, *, last: bool) -> Iterator[Chunk]:
        # The cutter takes bytes only; chunks are views of this copy, which nobody changes.
        whole = bytes(self._buffer)
        done = 0
        with memoryview(whole) as view:
            for found in self._cdc.cut_buf(whole):
                end = found.offset + found.length
                if end == len(whole) and not last:
                    break  # this cut may be none: the buffer ends here, the stream does not
                data = view[found.offset : end]
                yield Chunk(blake3.blake3(data).digest(), self._at + found.offset, data)
                data.release()
                done = end
        self._at += done
        self._buffer = bytearray(whole[done:])


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
