"""Sizes that an encoder takes: even, neither too small nor too large."""

from __future__ import annotations

from downstage.media.frame import Size

__all__ = ["LARGEST", "SMALLEST", "clamp"]

SMALLEST = Size(160, 128)
"""The smallest picture that every encoder takes (NVENC refuses H.264 below about 145 x 49)."""

LARGEST = Size(4096, 2304)
"""H.264 level 5.2, the highest that browsers promise to decode."""


def clamp(width: int, height: int, largest: Size = LARGEST) -> Size:
    """The nearest size to *width* x *height* that can be encoded."""
    return Size(
        _even(width, SMALLEST.width, largest.width), _even(height, SMALLEST.height, largest.height)
    )


def _even(value: int, low: int, high: int) -> int:
    return max(low, min(value, high)) & ~1
