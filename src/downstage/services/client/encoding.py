"""Values of Python as they go over the wire: segments, header fields, queries, JSON, forms."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import date, time, timedelta
from decimal import Decimal
from enum import Enum
from pathlib import PurePath
from typing import Any, cast
from urllib.parse import quote, urlencode
from uuid import UUID

import msgspec
from pydantic import AnyUrl, BaseModel, SecretBytes, SecretStr

__all__ = [
    "JSON",
    "add_header",
    "encode_form",
    "encode_json",
    "encode_path",
    "encode_query",
    "read_headers",
    "segment_text",
]

JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
UNSAFE = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")
PLAIN_SEGMENTS = (str, int, float, Decimal, UUID, date, time, Enum)
SECRETS = (SecretStr, SecretBytes)
SEVERAL = (list, tuple, set, frozenset)

Pairs = tuple[tuple[str, str], ...]


def segment_text(value: object) -> str | None:
    """*value* as a path segment, not yet encoded; None where such a value is no segment.

    Raises:
        ValueError: it would climb (``..``), stand still (``.``) or vanish.
    """
    if isinstance(value, str) and not isinstance(value, Enum):
        return checked(value)
    if isinstance(value, PLAIN_SEGMENTS):
        return checked(text(value))
    return None


def checked(segment: str) -> str:
    """*segment* itself, unless it is none."""
    if segment in ("", ".", ".."):
        raise ValueError(f"{segment!r} is no path segment")
    return segment


def encode_path(segments: Iterable[str]) -> str:
    """The percent-encoded path; the last segment may be empty, for a slash at the end."""
    listed = list(segments)
    last = len(listed) - 1
    for index, segment in enumerate(listed):
        if segment or index != last or not index:
            checked(segment)
    return "".join(["/" + quote(segment, safe="") for segment in listed])


def read_headers(given: object) -> dict[str, str]:
    """Header fields as text; a line break in one would begin another."""
    if not isinstance(given, Mapping):
        raise TypeError("__headers__ is a mapping of names to values")
    headers = dict[str, str]()
    for name, value in cast("Mapping[Any, Any]", given).items():
        if value is not None:
            add_header(headers, str(name), text(value))
    return headers


def add_header(headers: dict[str, str], name: str, value: str) -> None:
    """Put one field in place of whichever has that name, however it is written.

    Raises:
        ValueError: it holds what no header may.
    """
    if not name or UNSAFE.search(name) or UNSAFE.search(value):
        raise ValueError(f"the header {name!r} holds characters that no header may")
    low = name.lower()
    for known in [known for known in headers if known.lower() == low]:
        del headers[known]
    headers[name] = value


def encode_query(keywords: Mapping[str, object]) -> Pairs:
    """Pairs of a query: None is left out, a list repeats its key."""
    pairs: list[tuple[str, str]] = []
    for key, value in keywords.items():
        if type(value) is str:
            pairs.append((key, value))
        elif type(value) is int:
            pairs.append((key, str(value)))
        elif isinstance(value, SEVERAL):
            items = cast("Iterable[object]", value)
            pairs += [(key, text(item)) for item in items if item is not None]
        elif value is not None:
            pairs.append((key, text(value)))
    return tuple(pairs)


def encode_form(fields: Mapping[str, object]) -> bytes:
    """A form's body, ``application/x-www-form-urlencoded``."""
    return urlencode(encode_query(fields)).encode()


def text(value: object) -> str:  # noqa: PLR0911 - a table of types
    """One value of a query, a header, a form or a path."""
    match value:
        case Enum():
            return text(value.value)
        case bool():
            return "true" if value else "false"
        case date() | time():
            return value.isoformat()
        case timedelta():
            return cast("str", msgspec.to_builtins(value))
        case SecretStr():
            return value.get_secret_value()
        case SecretBytes():
            return value.get_secret_value().decode()
        case bytes():
            return value.decode()
        case BaseModel() | dict():
            return encode_json(cast("object", value)).decode()
        case _:
            return str(value)


def encode_json(body: object) -> bytes:
    """JSON of models, dataclasses, structs, mappings and what they hold.

    Raises:
        TypeError: something in it has no JSON form.
        ValueError: it is nested too deeply.
    """
    try:
        return msgspec.json.encode(body, enc_hook=_plain)
    except RecursionError as error:
        raise ValueError("the body is nested too deeply") from error
    except NotImplementedError as error:
        raise TypeError(str(error)) from error


def _plain(value: object) -> Any:
    """What the JSON encoder does not know by itself."""
    if isinstance(value, BaseModel):
        # model_dump(mode="json") would mask SecretStr: the wire needs the value.
        return value.model_dump(mode="python", by_alias=True)
    if isinstance(value, SECRETS):
        return cast("Any", value).get_secret_value()
    if isinstance(value, PurePath | AnyUrl):
        return str(value)
    if isinstance(value, Mapping):
        return dict(cast("Mapping[Any, Any]", value))
    if hasattr(value, "__str__") and type(value).__module__.startswith(("pydantic", "ipaddress")):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")
