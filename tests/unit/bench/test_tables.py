"""Benches run for half an hour before they print: their tables must not be what fails."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import pytest
from rich.console import Console

pytestmark = pytest.mark.unit


def figures(fps: float) -> dict[str, Any]:
    """Two fresh starts' worth."""
    return {"ok": 2, "runs": [{}, {}], "medians": {"fps": (fps, fps, fps)}}


@pytest.mark.parametrize(("bench", "more"), [("loss", ["720p30"]), ("glass", [])])
@pytest.mark.parametrize("has_peer", [True, False])
def test_products_stand_beside_each_other(bench: str, more: list[str], has_peer: bool) -> None:
    row = {"downstage": figures(30.0), **({"selkies": figures(24.0)} if has_peer else {})}
    console = Console(width=250, record=True)
    console.print(import_module(bench)._table({"720p30 webrtc": row}, *more))
    text = console.export_text()
    assert ("1.25" in text, "selkies" in text) == (has_peer, has_peer)
    assert "30" in text
