"""Characters as keysyms, the words that X11 and Wayland keyboards share."""

from __future__ import annotations

import re

__all__ = ["keysym_of"]

_UNICODE = 0x01000000
_LATIN_1 = re.compile("[ -~\\xa0-\\xff]")
"""Characters whose keysym is their code."""
_NAMED = {"\n": 0xFF0D, "\t": 0xFF09}


def keysym_of(character: str) -> int:
    """The keysym of *character*; line break and tab are the keys Return and Tab."""
    point = ord(character)
    plain = point if _LATIN_1.fullmatch(character) else _UNICODE | point
    return _NAMED.get(character, plain)
