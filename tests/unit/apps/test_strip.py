"""The strip carries clock and counter, and no other picture passes for it."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.apps.test_card.strip import CELLS, Reading, cell_bounds, encode_strip, read_strip

pytestmark = pytest.mark.unit


def bits(text: str) -> list[bool]:
    return [bit == "1" for bit in text]


def test_a_known_strip() -> None:
    """What the measuring page reads, worked out by hand: 1^2^3^4^5^6^0^7^6 = 6."""
    text = encode_strip(0x123456, 0x07)
    assert text == "1010" + "000100100011010001010110" + "00000111" + "0110"


@given(st.integers(min_value=0, max_value=2**45), st.integers(min_value=0, max_value=10**6))
def test_reading_undoes_encoding(wall_ms: int, presses: int) -> None:
    text = encode_strip(wall_ms, presses)
    assert len(text) == CELLS
    assert read_strip(bits(text)) == Reading(wall_ms % 2**24, presses % 256)


@given(st.integers(0, 2**24 - 1), st.integers(0, 255), st.integers(0, CELLS - 1))
def test_one_wrong_cell_is_noticed(wall_ms: int, presses: int, cell: int) -> None:
    smeared = bits(encode_strip(wall_ms, presses))
    smeared[cell] = not smeared[cell]
    assert read_strip(smeared) is None


@pytest.mark.parametrize("cells", [[], [True] * 40, [False] * 40, [True, False] * 2])
def test_other_pictures_are_no_strip(cells: list[bool]) -> None:
    assert read_strip(cells) is None


@given(st.integers(min_value=CELLS, max_value=8192))
def test_cells_cover_the_width_without_gaps(width: int) -> None:
    edges = [cell_bounds(index, width) for index in range(CELLS)]
    assert edges[0][0] == 0
    assert edges[-1][1] == width
    assert all(one[1] == two[0] for one, two in pairwise(edges))
    assert max(b - a for a, b in edges) - min(b - a for a, b in edges) <= 1
