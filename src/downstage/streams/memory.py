"""Memory of payloads that come and go."""

from __future__ import annotations

import ctypes

__all__ = ["KEPT", "keep_freed"]

KEPT = 64 << 20
"""Bytes of freed memory that stay with the process."""
LARGEST = 32 << 20
"""Allocations below this come from memory that was freed before; glibc takes no more."""
TRIM_THRESHOLD, MMAP_THRESHOLD = -1, -3


def keep_freed() -> None:
    """Let the process keep some of what it frees, where its C library can be told so.

    Else each payload of a megabyte is given back to the kernel, and the next one is cleared and
    mapped page by page again, which takes several times as long as to copy it.
    """
    try:
        tell = ctypes.CDLL(None).mallopt
    except (AttributeError, OSError):
        return  # another C library
    tell(MMAP_THRESHOLD, LARGEST)
    tell(TRIM_THRESHOLD, KEPT)
