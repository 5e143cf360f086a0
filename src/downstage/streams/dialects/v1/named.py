"""Streams that a query names, with commas between them."""

from __future__ import annotations

from downstage.kernel.errors import InvalidField
from downstage.streams.names import check, check_pattern, is_pattern

__all__ = ["names_of", "wanted_of"]


def names_of(text: str, most: int) -> tuple[str, ...]:
    """Names, each once, in their order.

    Raises:
        InvalidField: one of them is no name, or there are none, or too many.
    """
    return tuple(check(part, "streams") for part in _parts(text, most))


def wanted_of(text: str, most: int) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """Names, and patterns.

    Raises:
        InvalidField: one of them is neither, or there are none, or too many.
    """
    parts = _parts(text, most)
    patterns = tuple(check_pattern(part, "streams") for part in parts if is_pattern(part))
    return tuple(check(part, "streams") for part in parts if not is_pattern(part)), patterns


def _parts(text: str, most: int) -> tuple[str, ...]:
    parts = tuple(dict.fromkeys(part.strip() for part in text.split(",") if part.strip()))
    if not 1 <= len(parts) <= most:
        raise InvalidField("streams", f"Name 1 to {most} streams, with commas between them.")
    return parts
