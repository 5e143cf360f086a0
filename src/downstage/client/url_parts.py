"""Parts of an address: splitting, percent-encoding and joining text. RFC 3986, no I/O."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import NamedTuple
from urllib.parse import quote_from_bytes, unquote_to_bytes

__all__ = [
    "Split",
    "Url",
    "decode",
    "encode",
    "fix_escapes",
    "is_drive",
    "is_raw_path",
    "lower_ascii",
    "remove_dot_segments",
    "split",
    "split_authority",
    "unsplit",
]

SUB_DELIMS = "!$&'()*+,;="
UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
SAFE_SEGMENT = SUB_DELIMS + ":@"
SAFE_PATH = SAFE_SEGMENT + "/"
SAFE_QUERY = SAFE_PATH + "?"
SAFE_USER = SUB_DELIMS + ":"
SAFE_HOST = SUB_DELIMS + ":[]%"

_REFERENCE = re.compile(
    r"(?:(?P<scheme>[A-Za-z][A-Za-z0-9+.-]*):)?(?://(?P<authority>[^/?#]*))?"
    r"(?P<path>[^?#]*)(?:\?(?P<query>[^#]*))?(?:#(?P<fragment>.*))?",
    re.DOTALL,
)
_PORT = re.compile(r":([0-9]*)$")
_DRIVE = re.compile(r"[A-Za-z]:(?:/(?!/)|\\|$)")  # not ``x://host``
_ESCAPE = re.compile(r"(%[0-9A-Fa-f]{2})")
_PLAIN = re.compile(r"[A-Za-z0-9._~-]*")
_LOWER = str.maketrans({chr(code): chr(code + 32) for code in range(65, 91)})


@dataclass(frozen=True, slots=True)
class Url:
    """The parts of an address, decoded; what is absent is None."""

    scheme: str | None = None
    user: str | None = None
    host: str | None = None
    port: str | None = None
    path: str | None = None
    query: str | None = None
    fragment: str | None = None
    is_raw: bool = False
    """`path` is a path of this machine as it was written, not a part of an address."""


class Split(NamedTuple):
    """The parts of a reference as written (RFC 3986, appendix B)."""

    scheme: str | None
    authority: str | None
    path: str
    query: str | None
    fragment: str | None


def split(reference: str) -> Split:
    """Cut *reference* into its five parts; every text has them."""
    found = _REFERENCE.fullmatch(reference)
    assert found is not None  # noqa: S101 - the pattern matches every text
    return Split(*found.group("scheme", "authority", "path", "query", "fragment"))


def unsplit(parts: Split) -> str:
    """Text of *parts*, guarded so that splitting it gives the same parts again."""
    scheme, authority, path, query, fragment = parts
    text = ""
    if scheme is not None:
        text += f"{scheme}:"
    if authority is not None:
        text += f"//{authority}"
        if path and not path.startswith("/"):
            path = f"/{path}"
    elif path.startswith("//"):
        path = f"/.{path}"
    elif scheme is None and ":" in path.partition("/")[0]:
        path = f"./{path}"
    text += path
    if query is not None:
        text += f"?{query}"
    if fragment is not None:
        text += f"#{fragment}"
    return text


def split_authority(authority: str) -> tuple[str | None, str, str | None]:
    """User, host and port of ``user@host:port``; a port has digits alone."""
    user, at, rest = authority.rpartition("@")
    found = _PORT.search(rest)
    if found is None or (rest.startswith("[") and "]" not in rest[: found.start()]):
        return (user if at else None), rest, None
    return (user if at else None), rest[: found.start()], found.group(1)


def is_drive(text: str) -> bool:
    r"""Whether *text* begins like ``C:\`` or ``C:/``, or is a drive alone."""
    return _DRIVE.match(text) is not None


def is_raw_path(text: str) -> bool:
    r"""Whether *text* is a path of a machine: ``/a``, ``C:\a``, ``\\server\share``."""
    if text.startswith("/"):
        return not text.startswith("//")
    return text.startswith("\\\\") or is_drive(text)


def _to_bytes(text: str) -> bytes:
    try:
        # Names of files that are no UTF-8 travel as Python's file functions hand them out.
        return text.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        return text.encode("utf-8", "surrogatepass")


def encode(text: str, safe: str) -> str:
    """*text* with everything escaped but unreserved characters and those of *safe*."""
    if _PLAIN.fullmatch(text):
        return text
    return quote_from_bytes(_to_bytes(text), safe=safe)


def decode(text: str) -> str:
    """*text* with its escapes decoded; a ``%`` that begins none stays."""
    if "%" not in text:
        return text
    return unquote_to_bytes(_to_bytes(text)).decode("utf-8", "surrogateescape")


def fix_escapes(text: str, safe: str, *, lower: bool = False) -> str:
    """*text* with needless escapes decoded, needed ones added, and all in upper case."""
    literal_safe = safe.replace("%", "")

    def plain(literal: str) -> str:
        return encode(lower_ascii(literal) if lower else literal, literal_safe)

    def escape(found: str) -> str:
        char = chr(int(found[1:], 16))
        return plain(char) if char in UNRESERVED else found.upper()

    pieces = enumerate(_ESCAPE.split(text))
    return "".join(escape(piece) if index % 2 else plain(piece) for index, piece in pieces)


def lower_ascii(text: str) -> str:
    """*text* with A to Z in lower case and nothing else changed."""
    return text.translate(_LOWER)


def remove_dot_segments(path: str) -> str:
    """*path* without ``.`` and ``..`` (RFC 3986, 5.2.4); one without a leading slash stays."""
    if not path.startswith("/"):
        return path
    kept = list[str]()
    segments = path[1:].split("/")
    for segment in segments:
        if segment == "..":
            if kept:
                kept.pop()
        elif segment != ".":
            kept.append(segment)
    if segments[-1] in {".", ".."}:
        kept.append("")
    return "/" + "/".join(kept)
