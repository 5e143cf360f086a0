"""What a viewer sent, checked: numbers that are numbers, within what a hand can do.

Each raises `BadMessage` where the value is not what it should be.
"""

from __future__ import annotations

import math
import re

from downstage.kernel.errors import BadMessage

__all__ = ["clamped", "flag", "typed", "whole"]

_UNTYPABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


def clamped(value: object, low: float, high: float) -> float:
    """A finite number, brought between *low* and *high*."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise BadMessage("a number is missing")
    try:
        number = float(value)
    except OverflowError as error:
        raise BadMessage("a number is too large") from error
    if not math.isfinite(number):
        raise BadMessage("a number must be finite")
    return max(low, min(high, number))


def whole(value: object, low: int, high: int) -> int:
    """A whole number from *low* to *high*."""
    if type(value) is not int or not low <= value <= high:
        raise BadMessage("a whole number is out of range")
    return value


def flag(value: object) -> bool:
    """True or false, or 1 or 0."""
    if isinstance(value, bool):
        return value
    return bool(whole(value, 0, 1))


def typed(value: object, most: int) -> str:
    """Text as from a keyboard: 1 to *most* characters."""
    if not isinstance(value, str) or not 1 <= len(value) <= most:
        raise BadMessage(f"typed text is 1 to {most} characters")
    # Line breaks and tabs are keys; other control characters have no place in text.
    if _UNTYPABLE.search(value):
        raise BadMessage("typed text holds no control characters")
    return value
