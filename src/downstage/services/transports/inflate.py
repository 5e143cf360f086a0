"""Compressed answers of applications in this process, as an HTTP engine would hand them over."""

from __future__ import annotations

import zlib
from collections.abc import Callable, Iterator

__all__ = ["inflater"]

PIECE = 256 * 1024
"""Bytes inflated at a time, however far the data would go."""
WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "x-gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


def inflater(encoding: str) -> Callable[[bytes], Iterator[bytes]] | None:
    """A function that inflates the pieces of one body in order; None for what is not compressed.

    The function raises ValueError for data that is not of *encoding*.
    """
    window = WINDOWS.get(encoding.strip().lower())
    if window is None:
        return None
    engine = zlib.decompressobj(window)

    def inflate(data: bytes) -> Iterator[bytes]:
        try:
            while data:
                piece = engine.decompress(data, PIECE)
                data = engine.unconsumed_tail
                if piece:
                    yield piece
        except zlib.error as error:
            raise ValueError(f"the answer is no {encoding}: {error}") from error

    return inflate
