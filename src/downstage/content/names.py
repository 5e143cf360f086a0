"""Paths and names: what a dialect hands over becomes a tuple of names, or is refused.

One form only reaches the tree: Unicode NFC, ``/`` as the one separator, no name that some
operating system reads as something else (``..``, ``C:``, a trailing dot or blank).
"""

from __future__ import annotations

import re
import unicodedata

from downstage.kernel.errors import BadUrl

__all__ = ["MAX_DEPTH", "MAX_NAME", "MAX_PATH", "check_name", "fold", "join", "parse"]

MAX_PATH = 4096
"""Bytes of a whole path in UTF-8."""
MAX_DEPTH = 64
"""Names of one path."""
MAX_NAME = 255
"""Bytes of one name in UTF-8; what file systems take, where a client mirrors the tree."""

REFUSED = re.compile(
    r"[\x00-\x1f\x7f-\x9f\\/\u2028\u2029\u202a-\u202e\u2066-\u2069\ufeff\ufffe\uffff\ud800-\udfff]"
)
"""Control characters, separators of other systems, what turns reading order, what is no text to
XML or to UTF-8."""
DRIVE = re.compile(r"[A-Za-z]:")
PLAIN = re.compile(r"(?:/[A-Za-z0-9_\-](?:[A-Za-z0-9_\-.]*[A-Za-z0-9_\-])?)+")
"""Paths that need no closer look, but for their length."""


def parse(path: str) -> tuple[str, ...]:
    """The names of *path* from the root down, NFC; the root itself is the empty tuple.

    Args:
        path: absolute; percent-encoding was undone before. A slash at the end is ignored.

    Raises:
        BadUrl: it is no path here, whatever is stored.
    """
    if path == "/":
        return ()
    if len(path) > MAX_PATH:
        raise BadUrl(f"A path has at most {MAX_PATH} bytes.", length=len(path))
    if PLAIN.fullmatch(path) is None:
        return _parse_closely(path)
    names = tuple(path[1:].split("/"))
    if len(names) > MAX_DEPTH or (len(path) > MAX_NAME and max(map(len, names)) > MAX_NAME):
        return _parse_closely(path)
    return names


def check_name(name: str) -> str:
    """One name in NFC.

    Raises:
        BadUrl: it cannot be a name here.
    """
    name = unicodedata.normalize("NFC", name)
    if name in {"", ".", ".."}:
        raise BadUrl("A path holds no empty name, no '.' and no '..'.")
    if REFUSED.search(name):
        raise BadUrl("A name holds no backslash and no control characters.")
    if name[-1] in ". ":
        raise BadUrl("A name ends neither with a dot nor with a blank.")
    if len(name.encode()) > MAX_NAME:
        raise BadUrl(f"A name has at most {MAX_NAME} bytes.")
    return name


def fold(name: str) -> str:
    """Equal for names that differ only in case or normalisation (canonical caseless match)."""
    if name.isascii():
        return name.lower()
    return unicodedata.normalize("NFD", unicodedata.normalize("NFD", name).casefold())


def join(names: tuple[str, ...]) -> str:
    """The inverse of `parse`."""
    return "/" + "/".join(names)


def _parse_closely(path: str) -> tuple[str, ...]:
    if not path.startswith("/"):
        raise BadUrl("A path begins with a slash.")
    parts = path[1:].removesuffix("/").split("/")
    if len(parts) > MAX_DEPTH:
        raise BadUrl(f"A path has at most {MAX_DEPTH} names.", depth=len(parts))
    names = tuple(map(check_name, parts))
    if DRIVE.fullmatch(names[0]):
        raise BadUrl("A path does not begin with the letter of a drive.")
    if sum(len(name.encode()) + 1 for name in names) > MAX_PATH:
        raise BadUrl(f"A path has at most {MAX_PATH} bytes.")
    return names
