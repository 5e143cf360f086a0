"""References of container images: their grammar, and which of them may run here."""

from __future__ import annotations

import re
from collections.abc import Sequence

from downstage.kernel.errors import InvalidField

__all__ = ["check_image", "is_allowed", "name_of"]

PART = r"[a-z0-9]+(?:(?:[._]|__|-+)[a-z0-9]+)*"
HOST = r"(?:[A-Za-z0-9](?:[A-Za-z0-9.-]{0,252}[A-Za-z0-9])?(?::[0-9]{1,5})?/)?"
REFERENCE = re.compile(
    rf"(?P<name>{HOST}{PART}(?:/{PART})*)"
    r"(?::[A-Za-z0-9_][A-Za-z0-9_.-]{0,127})?"
    r"(?:@sha256:[0-9a-f]{64})?"
)
LONGEST = 512


def name_of(reference: str) -> str | None:
    """``registry:5000/team/app:1.2@sha256:…`` → ``registry:5000/team/app``; None: it is none."""
    found = REFERENCE.fullmatch(reference) if len(reference) <= LONGEST else None
    return found["name"] if found else None


def is_allowed(name: str, allowed: Sequence[str]) -> bool:
    """Whether an image called *name* may run: named in *allowed*, or begun by one with ``*``."""
    return any(
        name.startswith(pattern[:-1]) if pattern.endswith("*") else name == pattern
        for pattern in allowed
    )


def check_image(field: str, reference: str, allowed: Sequence[str]) -> str:
    """*reference*, if it is one that may run here.

    Raises:
        InvalidField: it is no reference, or `manager.images` does not list its name.
    """
    name = name_of(reference)
    if name is None:
        raise InvalidField(field, f"{reference[:128]!r} is no reference of a container image.")
    if not is_allowed(name, allowed):
        raise InvalidField(
            field,
            f"The image {name} may not run here: the setting manager.images does not list it.",
        )
    return reference
