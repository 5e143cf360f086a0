"""The strip on top of the card: forty cells that carry clock and counter.

``1010`` | 24 bits wall clock, ms | 8 bits presses | 4 bits check. The check is the xor of the
eight nibbles before it and ``0110``, so that half-drawn or smeared strips are recognised.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

__all__ = ["CELLS", "Reading", "cell_bounds", "encode_strip", "read_strip"]

CELLS = 40
_SEED = 0b0110


@dataclass(frozen=True, slots=True)
class Reading:
    """What a strip says."""

    wall_ms: int
    """Wall clock in ms when it was drawn, modulo 2**24 (4.66 hours)."""
    presses: int
    """Buttons and keys pressed so far, modulo 256."""


def encode_strip(wall_ms: int, presses: int) -> str:
    """The forty bits of the strip, left to right, ``1`` is white."""
    word = (wall_ms & 0xFFFFFF) << 8 | presses & 0xFF
    return f"1010{word:032b}{_check(word):04b}"


def read_strip(bits: Sequence[bool]) -> Reading | None:
    """Read forty cells; None where they are not a whole strip."""
    text = "".join("1" if bit else "0" for bit in bits)
    if len(text) != CELLS or not text.startswith("1010"):
        return None
    word = int(text[4:36], 2)
    if int(text[36:], 2) != _check(word):
        return None
    return Reading(wall_ms=word >> 8, presses=word & 0xFF)


def cell_bounds(index: int, width: int) -> tuple[int, int]:
    """First column of cell *index* and the one behind it, on a picture *width* wide."""
    return index * width // CELLS, (index + 1) * width // CELLS


def _check(word: int) -> int:
    check = _SEED
    for shift in range(0, 32, 4):
        check ^= word >> shift & 15
    return check
