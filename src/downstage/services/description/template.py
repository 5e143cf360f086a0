"""Path templates: ``/files/{path}.json`` cut into segments, some with parameters in them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date
from enum import Enum
from typing import Any

__all__ = ["Template", "split_path"]

MAX_SEGMENTS = 64
MAX_PATH = 4096
BRACES = re.compile(r"\{([^{}]+)\}")


def split_path(path: object) -> list[str] | None:
    """The segments of a described path; None where it is none that we would call.

    ``""`` may be the last alone (a slash at the end); ``.``, ``..`` and empty ones would lead
    somewhere else than they say.
    """
    if not isinstance(path, str) or not path.startswith("/") or len(path) > MAX_PATH:
        return None
    parts = path[1:].split("/") if path != "/" else []
    inner = parts[:-1] if parts and parts[-1] == "" else parts
    if len(parts) > MAX_SEGMENTS or any(part in ("", ".", "..") for part in inner):
        return None
    return parts


@dataclass(frozen=True, slots=True)
class Template:
    """A segment with parameters in it: texts around names."""

    text: str
    names: tuple[str, ...]
    around: tuple[str, ...]
    """One text more than names: before, between, after."""
    is_whole: bool
    """The parameter is the whole segment."""

    @classmethod
    def of(cls, part: str) -> Template | None:
        """The template that *part* is; None where it is a plain segment."""
        names = tuple(BRACES.findall(part))
        around = tuple(BRACES.split(part)[::2])
        return cls(part, names, around, around == ("", "")) if names else None

    @property
    def said(self) -> int:
        """Characters that stand fast."""
        return sum(map(len, self.around))

    def fits(self, text: str) -> bool:
        """Whether *text* is of this form, each parameter at least one character."""
        if self.is_whole:
            return text != ""
        first, *middle, last = self.around
        if not text.startswith(first):
            return False
        at = len(first)
        for piece in middle:
            found = text.find(piece, at + 1)
            if found < 0:
                return False
            at = found + len(piece)
        return len(text) - at > len(last) and text.endswith(last)

    def filled(self, values: Sequence[Any]) -> str:
        """The segment with *values* for its parameters.

        Raises:
            ValueError: it would be none.
        """
        texts = [_text(value) for value in values]
        pairs = zip(self.around, [*texts, ""], strict=True)
        segment = "".join(before + text for before, text in pairs)
        if "" in texts or segment in (".", ".."):
            raise ValueError(f"{segment!r} is no path segment")
        return segment


def _text(value: object) -> str:
    if isinstance(value, Enum):
        value = value.value
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, date) else str(value)
