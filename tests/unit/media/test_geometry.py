"""Sizes are clamped to what every encoder takes."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.media.frame import Size
from downstage.media.source import LARGEST, SMALLEST, clamp

pytestmark = [pytest.mark.unit]


@pytest.mark.parametrize(
    ("asked", "given_"),
    [
        ((1, 1), Size(160, 128)),
        ((8193, 3), Size(4096, 128)),
        ((1279, 719), Size(1278, 718)),
        ((1280, 720), Size(1280, 720)),
        ((65535, 65535), LARGEST),
    ],
)
def test_odd_sizes_become_what_the_encoder_takes(asked: tuple[int, int], given_: Size) -> None:
    assert clamp(*asked) == given_


@given(st.integers(-10, 100_000), st.integers(-10, 100_000))
def test_every_size_is_even_and_within_bounds(width: int, height: int) -> None:
    size = clamp(width, height)
    assert size.width % 2 == size.height % 2 == 0
    assert SMALLEST.width <= size.width <= LARGEST.width
    assert SMALLEST.height <= size.height <= LARGEST.height
    assert clamp(size.width, size.height) == size
