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
    engine, has_begun = zlib.decompressobj(window), False

    def inflate(data: bytes) -> Iterator[bytes]:
        nonlocal engine, has_begun
        is_full = False
        try:
            while data or is_full:
                if engine.eof or not has_begun:  # a body may be several compressed ones in a row
                    engine, has_begun = zlib.decompressobj(_window(window, data)), True
                piece = engine.decompress(data, PIECE)
                is_full = len(piece) == PIECE and not engine.eof  # there may be more of it inside
                data = engine.unused_data if engine.eof else engine.unconsumed_tail
                if piece:
                    yield piece
        except zlib.error as error:
            raise ValueError(f"the answer is no {encoding}: {error}") from error

    return inflate


def _window(window: int, data: bytes) -> int:
    """Some send ``deflate`` without the head that it should have."""
    is_bare = window == zlib.MAX_WBITS and data[0] & 0x0F != zlib.DEFLATED
    return -zlib.MAX_WBITS if is_bare else window
