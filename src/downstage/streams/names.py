"""Names of streams and recordings, and patterns of them: the one grammar, the one door.

A tenant's streams cannot be named by another: the key in the engine is made here alone, of the
caller's tenant and a name that passed the grammar.
"""

from __future__ import annotations

import re

from downstage.auth.patterns import whole
from downstage.kernel.errors import InvalidField

__all__ = [
    "MAX_NAME",
    "OF_SESSIONS",
    "check",
    "check_pattern",
    "is_name",
    "is_of_session",
    "is_pattern",
    "matcher",
    "split",
]

MAX_NAME = 128
"""Characters of one name; all of them are ASCII."""
MAX_JOINED = 1024
"""Names that one request may join by ``+``."""

OF_SESSIONS = "session."
"""How streams begin that are pushed out of a session."""
PICTURE_AND_SOUND = (".video", ".audio")

NAME = re.compile(r"[A-Za-z0-9_](?:[A-Za-z0-9_.:@=-]{0,127})")
PATTERN = re.compile(r"[A-Za-z0-9_.:@=*-]{1,128}")


def is_name(name: str) -> bool:
    """Whether *name* may name a stream or a recording."""
    return NAME.fullmatch(name) is not None and ".." not in name


def is_of_session(name: str) -> bool:
    """Whether the stream *name* is what a session shows, or lets be heard."""
    return name.startswith(OF_SESSIONS) and name.endswith(PICTURE_AND_SOUND)


def check(name: str, field: str = "stream") -> str:
    """*name*, if it may name a stream.

    Raises:
        InvalidField: it may not; says what a name is made of.
    """
    if not is_name(name):
        raise InvalidField(
            field,
            "A name has 1 to 128 letters, digits or any of _ . : @ = - and begins with a letter, "
            "a digit or _; two dots never follow each other.",
        )
    return name


def split(joined: str, field: str = "stream") -> tuple[str, ...]:
    """The names that *joined* joins by ``+`` (a blank, where a query was decoded), each once.

    Raises:
        InvalidField: one of them is no name, or there are too many.
    """
    parts = [part for part in re.split(r"[+ ]", joined) if part]
    if not parts or len(parts) > MAX_JOINED:
        raise InvalidField(field, f"Name 1 to {MAX_JOINED} streams, joined by +.")
    return tuple(dict.fromkeys(check(part, field) for part in parts))


def is_pattern(text: str) -> bool:
    """Whether *text* holds a star, which stands for anything."""
    return "*" in text


def check_pattern(text: str, field: str = "pattern") -> str:
    """*text*, if it may be a name or a pattern of names.

    Raises:
        InvalidField: it may not.
    """
    if PATTERN.fullmatch(text) is None or ".." in text:
        raise InvalidField(field, "A pattern is a name in which * stands for anything.")
    return text


def matcher(pattern: str) -> re.Pattern[str]:
    """Finds whole names that *pattern* stands for."""
    return whole(check_pattern(pattern))
