"""From a request to a path of the tree, a checkpoint and conditions: one reading for each."""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, quote, unquote_to_bytes

from starlette.types import Scope

from downstage.content.model import ANY, Condition
from downstage.kernel.errors import BadUrl, InvalidField, InvalidInput

__all__ = ["Headers", "Query", "condition_of", "header_of", "path_of", "query_of", "text_of"]

Headers = Sequence[tuple[bytes, bytes]]
Query = dict[str, str]

ESCAPE = re.compile(rb"%(?![0-9A-Fa-f]{2})")
HIDDEN_SLASH = re.compile(rb"%2[fF]|%5[cC]|%00")
ETAG = re.compile(r'\s*(?:W/)?"([\x21\x23-\x7e]{0,128})"\s*(?:,|$)')
MAX_QUERY = 4096
MAX_ETAGS = 64
MAX_DIGITS = 15


def path_of(scope: Scope, prefix: str) -> str:
    """The path of a request behind *prefix*, decoded once.

    Raises:
        BadUrl: a broken escape, an escaped slash, not UTF-8; or the prefix itself is written in
            escapes, so that who routed it and who reads it here could differ.
    """
    raw: bytes = scope.get("raw_path") or quote(scope["path"]).encode()
    if not raw.startswith(prefix.encode()):
        raise BadUrl("This address is written in escapes that it does not need.")
    rest = raw[len(prefix) :]
    if b"%" in rest:
        if ESCAPE.search(rest) or HIDDEN_SLASH.search(rest):
            raise BadUrl("An escape in the path cannot stand there.")
        rest = unquote_to_bytes(rest)
    try:
        path = rest.decode("utf-8")
    except UnicodeDecodeError as error:
        raise BadUrl("The path is not UTF-8.") from error
    return path or "/"


def query_of(raw: bytes) -> Query:
    """The query's fields; ``&N`` alone, as in ``file?&N``, is the checkpoint N.

    Raises:
        InvalidInput: too long, or not UTF-8.
    """
    if not raw:
        return {}
    if len(raw) > MAX_QUERY:
        raise InvalidInput(f"The query has more than {MAX_QUERY} bytes.")
    try:
        pairs = parse_qsl(raw.decode("ascii"), keep_blank_values=True, errors="strict")
    except (UnicodeDecodeError, ValueError) as error:
        raise InvalidInput("The query is not UTF-8.") from error
    found = dict(pairs)
    if raw[:1] == b"&":
        number = raw[1:].decode("ascii")
        if number.isdecimal():
            found.pop(number, None)
            found["checkpoint"] = number
    return found


def number_of(query: Query, name: str, default: int, *, most: int = 2**53) -> int:
    """A number from the query.

    Raises:
        InvalidField: it is none, or out of bounds.
    """
    text = query.get(name)
    if text is None or not text:
        return default
    if not (text.isascii() and text.isdecimal() and len(text) <= MAX_DIGITS):
        raise InvalidField(name, f"{name}: not a number.")
    value = int(text)
    if value > most:
        raise InvalidField(name, f"{name}: at most {most}.")
    return value


def flag_of(query: Query, name: str, *, default: bool = False) -> bool:
    """A yes or no from the query; the name alone is yes."""
    text = query.get(name)
    return default if text is None else text.lower() not in ("0", "false", "no")


def header_of(headers: Headers, name: bytes) -> bytes | None:
    """One header; None: absent."""
    for key, value in headers:
        if key == name:
            return value
    return None


def text_of(value: bytes | None) -> str:
    """A header that may hold any text: percent-encoded UTF-8, or plain ASCII.

    Raises:
        InvalidInput: neither.
    """
    if not value:
        return ""
    try:
        return unquote_to_bytes(value).decode("utf-8")
    except UnicodeDecodeError as error:
        raise InvalidInput("A header's text is percent-encoded UTF-8.") from error


def etags_of(value: bytes) -> tuple[str, ...]:
    """The etags of an If-Match or If-None-Match header, without quotes.

    Raises:
        InvalidInput: out of form, or too many.
    """
    text, at, found = value.decode("latin-1"), 0, list[str]()
    while at < len(text):
        match = ETAG.match(text, at)
        if match is None or len(found) >= MAX_ETAGS:
            raise InvalidInput('An ETag is written "in quotes", several with commas.')
        found.append(match.group(1))
        at = match.end()
    return tuple(found)


def condition_of(headers: Headers) -> Condition:
    """What If-Match and If-None-Match demand.

    Raises:
        InvalidInput: out of form.
    """
    match = none_match = None
    for key, value in headers:
        if key == b"if-match":
            match = value if match is None else match + b"," + value
        elif key == b"if-none-match":
            none_match = value if none_match is None else none_match + b"," + value
    if match is None and none_match is None:
        return ANY
    any_match = match is not None and match.strip() == b"*"
    any_none = none_match is not None and none_match.strip() == b"*"
    return Condition(
        if_match=None if match is None or any_match else etags_of(match),
        if_match_any=any_match,
        if_none_match=None if none_match is None or any_none else etags_of(none_match),
        if_none_match_any=any_none,
    )
