"""Names of a description as Python can say them, and its texts without tricks for terminals."""

from __future__ import annotations

import keyword
import re
import unicodedata

__all__ = ["attribute_name", "clean_text", "is_attribute", "keyword_name"]

NOT_A_WORD = re.compile(r"\W")
UNSHOWN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]"
)
"""Control and direction characters and lone surrogates: an escape sequence may rewrite what a
terminal shows."""
UNSAYABLE = frozenset({"self", "__debug__"})
"""Words that are no keywords, and yet no function can have a parameter of that name."""


def attribute_name(segment: str) -> str:
    """What a segment is called as an attribute: dashes as ``_``."""
    return segment.replace("-", "_")


def is_attribute(name: str) -> bool:
    """Whether ``client.name`` can be written and reaches a path (names with ``_`` first do not)."""
    return (
        name.isidentifier()
        and not name.startswith("_")
        and not keyword.iskeyword(name)
        and unicodedata.normalize("NFKC", name) == name
    )


def keyword_name(name: str) -> str:
    """What a parameter is called as a keyword argument: ``X-Mark`` → ``X_Mark``.

    Always an identifier that Python reads as it stands; ``from`` becomes ``from_``.
    """
    word = NOT_A_WORD.sub("_", unicodedata.normalize("NFKC", name)) or "_"
    if not word.isidentifier():
        word = f"_{word}"
    if not word.isidentifier():  # \w knows characters that no identifier may hold
        word = "".join(c if c == "_" or f"_{c}".isidentifier() else "_" for c in word)
    return f"{word}_" if keyword.iskeyword(word) or word in UNSAYABLE else word


def clean_text(text: object, limit: int = 4000) -> str:
    """A description's text for people: no control characters, one kind of line end, cut."""
    if not isinstance(text, str):
        return ""
    cut = text if len(text) <= limit else text[:limit] + " …"
    lines = UNSHOWN.sub("", cut.replace("\r\n", "\n").replace("\r", "\n")).split("\n")
    return "\n".join(line.rstrip() for line in lines).strip()
