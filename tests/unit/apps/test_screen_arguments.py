"""Sizes and rates on the command line."""

from __future__ import annotations

import pytest

from downstage.apps.screen import parse_rate, parse_size

pytestmark = pytest.mark.unit


@pytest.mark.parametrize(
    ("text", "size"), [("1280x720", (1280, 720)), ("16X16", (16, 16)), ("8192x8192", (8192, 8192))]
)
def test_sizes(text: str, size: tuple[int, int]) -> None:
    assert parse_size(text) == size


@pytest.mark.parametrize(
    "text", ["", "1280", "1280x", "x720", "12.5x9", "-1x20", "15x16", "8193x99"]
)
def test_no_sizes(text: str) -> None:
    with pytest.raises(ValueError, match=r"size|range"):
        parse_size(text)


@pytest.mark.parametrize("text", ["0", "241", "nan", "fast"])
def test_no_rates(text: str) -> None:
    with pytest.raises(ValueError, match=r"range|could not"):
        parse_rate(text)
    assert parse_rate("59.94") == pytest.approx(59.94)
