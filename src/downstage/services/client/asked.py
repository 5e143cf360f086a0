"""What a caller asked for: positional and keyword arguments of a call, told apart."""

from __future__ import annotations

import time
from collections.abc import AsyncIterable, Mapping
from dataclasses import dataclass, field
from typing import Any, cast

from downstage.services.client.encoding import (
    FORM,
    JSON,
    encode_form,
    encode_json,
    encode_query,
    read_headers,
    segment_text,
)
from downstage.services.client.target import Target
from downstage.services.transports import Body

__all__ = ["Asked", "Encoded", "Raw", "read_call"]

BYTES = (bytes, bytearray, memoryview)
OCTETS = "application/octet-stream"
RAW_NAMES = frozenset({"content", "data", "headers", "json", "params"})
SPECIAL = frozenset(
    {"__headers__", "__idempotency_key__", "__method__", "__raw__", "__timeout__", "__cursor__",
     "__subprotocols__"}
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Encoded:
    """A body ready to send, with its media type ("" for none)."""

    body: Body
    kind: str
    size: int | None = None
    """Bytes, where it is known beforehand."""


@dataclass(frozen=True, slots=True)
class Raw:
    """A request that the caller laid out itself: ``__raw__=True``."""

    query: tuple[tuple[str, str], ...]
    content: Encoded


@dataclass(slots=True)
class Asked:
    """One call as it was written."""

    target: Target
    begun: float | None = None
    """When the call began, by the monotonic clock; None once that has been accounted for."""
    segments: tuple[str, ...] = ()
    body: Encoded | None = None
    keywords: dict[str, Any] = field(default_factory=dict[str, Any])
    headers: dict[str, str] | None = None
    method: str | None = None
    """From ``__method__``; upper case."""
    raw: Raw | None = None
    timeout_s: float | None = None
    has_timeout: bool = False
    idempotency_key: str | None = None
    made_key: str | None = None
    """An idempotency key of ours, under which a first attempt was made."""
    cursor: str | None = None
    subprotocols: tuple[str, ...] = ()


def read_call(target: Target, arguments: tuple[object, ...], keywords: dict[str, Any]) -> Asked:
    """Sort the arguments of a call; *keywords* loses the special ones.

    Raises:
        TypeError: two bodies, None as an argument, an unknown special keyword.
        ValueError: a segment that is none, or a header that no header may be.
    """
    asked = Asked(target, time.monotonic(), keywords=keywords)
    for name in keywords:
        if name[:2] == "__" and name[-2:] == "__":
            _take_special(asked, keywords)
            break
    if arguments:
        _take_arguments(asked, arguments)
    return asked


def _take_arguments(asked: Asked, arguments: tuple[object, ...]) -> None:
    """Plain values are segments, a model is the body."""
    segments = list[str]()
    for argument in arguments:
        if argument is None:
            raise TypeError("None is neither a path segment nor a body")
        segment = segment_text(argument)
        if segment is not None:
            segments.append(segment)
        elif asked.body is None:
            asked.body = encode_body(argument)
        else:
            raise TypeError("a call takes one body")
    asked.segments = tuple(segments)


def encode_body(body: object) -> Encoded:
    """A body given by position: bytes as they are, pieces as they come, the rest as JSON."""
    if isinstance(body, BYTES):
        data = bytes(cast("bytes", body))
        return Encoded(data, OCTETS, len(data))
    if isinstance(body, AsyncIterable):
        return Encoded(cast("AsyncIterable[bytes]", body), OCTETS)
    encoded = encode_json(body)
    return Encoded(encoded, JSON, len(encoded))


def _take_special(asked: Asked, keywords: dict[str, Any]) -> None:
    special = {k: keywords.pop(k) for k in list(keywords) if k[:2] == "__" and k[-2:] == "__"}
    unknown = special.keys() - SPECIAL
    if unknown:
        raise TypeError(f"unknown special keyword {min(unknown)}; known: {sorted(SPECIAL)}")
    asked.headers = read_headers(special.get("__headers__") or {})
    method = special.get("__method__")
    asked.method = str(method).upper() if method else None
    if asked.method is not None and not (asked.method.isascii() and asked.method.isalpha()):
        raise ValueError(f"{asked.method!r} is no HTTP method")
    if "__timeout__" in special:
        asked.has_timeout = True
        asked.timeout_s = None if special["__timeout__"] is None else float(special["__timeout__"])
    asked.idempotency_key = special.get("__idempotency_key__")
    asked.cursor = special.get("__cursor__")
    asked.subprotocols = tuple(special.get("__subprotocols__") or ())
    if special.get("__raw__"):
        asked.raw = _read_raw(asked, keywords)
        keywords.clear()


def _read_raw(asked: Asked, keywords: Mapping[str, Any]) -> Raw:
    """``data``, ``json``, ``params``, ``headers`` and ``content``, in aiohttp's meaning of them."""
    unknown = keywords.keys() - RAW_NAMES
    if unknown:
        raise TypeError(f"a raw call takes {sorted(RAW_NAMES)}, not {min(unknown)}")
    if sum(name in keywords for name in ("content", "data", "json")) > 1:
        raise TypeError("a call takes one body")
    asked.headers = {**read_headers(keywords.get("headers") or {}), **(asked.headers or {})}
    params: Any = keywords.get("params") or {}
    pairs: Any = cast("Any", params).items() if isinstance(params, Mapping) else params
    query = tuple(pair for key, value in pairs for pair in encode_query({key: value}))
    if "json" in keywords:
        encoded = encode_json(keywords["json"])
        return Raw(query, Encoded(encoded, JSON, len(encoded)))
    return Raw(query, _raw_content(keywords.get("data", keywords.get("content", b""))))


def _raw_content(data: Any) -> Encoded:
    if isinstance(data, str):
        encoded = data.encode()
        return Encoded(encoded, "text/plain; charset=utf-8", len(encoded))
    if isinstance(data, Mapping):
        form = encode_form(cast("Mapping[str, object]", data))
        return Encoded(form, FORM, len(form))
    if data is None or data == b"":
        return Encoded(b"", "", 0)
    if isinstance(data, (*BYTES, AsyncIterable)):
        return encode_body(cast("object", data))
    raise TypeError(f"{type(data).__name__} is no raw body: give bytes, text, a mapping or pieces")
