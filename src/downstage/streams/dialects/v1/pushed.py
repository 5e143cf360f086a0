"""What a POST brings: one entry, or many as JSON lines or a JSON array. No I/O."""

from __future__ import annotations

from typing import Final, Literal

import msgspec

from downstage.kernel.errors import InvalidField, InvalidInput
from downstage.streams.model import AUTO, EntryId

__all__ = ["LINES", "MOST", "Form", "content_type_of", "entry_id", "form_of", "payloads"]

MOST: Final = 4096
"""Entries of one request."""
LINES: Final = ("application/x-ndjson", "application/jsonl", "application/json-lines")
UNTOLD: Final = ("application/octet-stream", "application/x-www-form-urlencoded")
"""What programs say when nobody told them what it is."""
MAX_TYPE: Final = 128
ID_STAR: Final = "-*"
Form = Literal["one", "lines", "array"]


def form_of(given: Form | None, content_type: str) -> Form:
    """How the body is to be read: as the query says, or else by its type."""
    if given is not None:
        return given
    return "lines" if _plain(content_type) in LINES else "one"


def content_type_of(content_type: str, form: Form) -> str | None:
    """The type of the entries, as far as the sender said."""
    plain = _plain(content_type)
    if form != "one":
        return "application/json"
    if not plain or plain in UNTOLD or plain.startswith("multipart/") or len(plain) > MAX_TYPE:
        return None
    return content_type.strip()[:MAX_TYPE]


def payloads(body: bytes, form: Form) -> list[bytes | memoryview]:
    """Cut *body* into entries; long ones are for a thread.

    Raises:
        InvalidInput: it is no JSON where it must be.
        InvalidField: too many entries, or none.
    """
    if form == "one":
        return [body]
    if form == "lines":
        lines = [line for line in body.splitlines() if line.strip()]
        _check_count(len(lines))
        for number, line in enumerate(lines):
            _decoded(line, f"Line {number + 1} of those that are not empty is not JSON.")
        return [*lines]
    items = _decoded(body, "The body is not a JSON array.")
    if not isinstance(items, list):
        raise InvalidInput("The body is not a JSON array.")
    values = msgspec.json.decode(body, type=list[msgspec.Raw])
    _check_count(len(values))
    return [bytes(value).strip() for value in values]


def entry_id(text: str | None) -> bytes:
    """``*``, ``ms``, ``ms-seq`` or ``ms-*``, as the store takes it.

    Raises:
        BadId: it is none of them.
    """
    if not text or text == "*":
        return AUTO
    if text.endswith(ID_STAR):
        return b"%d-*" % EntryId.parse(text.removesuffix(ID_STAR) + "-0").ms
    EntryId.parse(text)
    return text.encode("ascii")


def _decoded(text: bytes, why: str) -> object:
    try:
        return msgspec.json.decode(text)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise InvalidInput(why) from error


def _check_count(count: int) -> None:
    if not 1 <= count <= MOST:
        raise InvalidField("body", f"Send 1 to {MOST} entries at once.", entries=count)


def _plain(content_type: str) -> str:
    return content_type.partition(";")[0].strip().lower()
