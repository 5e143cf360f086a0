"""Cells of a table that sets two products beside each other."""

from __future__ import annotations

from typing import Any

__all__ = ["median_of", "ratio_of"]

NOTHING = "–"


def median_of(medians: dict[str, Any], key: str) -> str:
    """A median, or a dash where nothing was measured."""
    return f"{medians[key][0]:g}" if key in medians else NOTHING


def ratio_of(row: dict[str, Any], key: str) -> str:
    """Downstage's median over Selkies'."""
    ours, theirs = row["downstage"]["medians"].get(key), row["selkies"]["medians"].get(key)
    return f"{ours[0] / theirs[0]:.2f}" if ours and theirs and theirs[0] else NOTHING
