"""Answers as values of Python, and error answers as exceptions."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from http import HTTPStatus
from typing import Any, cast
from urllib.parse import quote, urlsplit

import msgspec

from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
)
from downstage.services.transports import Answer

__all__ = [
    "SECRET_HEADERS",
    "TELLING",
    "decode",
    "mask_query",
    "shown_address",
    "to_error",
    "with_status",
]

LONGEST_MESSAGE = 200
LEAST_SECRET = 4
TELLING = re.compile(
    r"token|passw|secret|signature|credential|api[-_]?key|^key$|^sig$|^code$|^auth", re.IGNORECASE
)
"""Names whose values are not shown."""
SECRET_HEADERS = frozenset(
    {"authorization", "proxy-authorization", "cookie", "x-api-key", "x-auth-token"}
)
NONE = frozenset[str]()
_json = msgspec.json.Decoder()


def decode(answer: Answer) -> Any:
    """JSON as objects, octet streams as bytes, everything else as text."""
    kind = answer.headers.get("content-type", "")
    if kind != "application/json":
        kind = kind.partition(";")[0].strip().lower()
    if kind == "application/json" or kind.endswith("+json"):
        if not answer.body:
            return None
        try:
            return _json.decode(answer.body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return answer.body.decode("utf-8", "replace")
    if not answer.body and not kind:
        return None
    if kind == "application/octet-stream":
        return answer.body
    return answer.body.decode("utf-8", "replace")


def with_status(body: object, status: int) -> object:
    """An error's body for callers who want no exceptions."""
    if isinstance(body, dict):
        return {**cast("dict[str, object]", body), "__http_status__": status}
    return body


def to_error(
    method: str,
    path: str,
    url: str,
    answer: Answer,
    sent: Mapping[str, str],
    *,
    secret_names: frozenset[str] = NONE,
) -> BaseServiceError:
    """The exception for an error answer; *sent* are the headers that it may echo, not repeat.

    Which of them are secret their names tell; *secret_names*, in lower case, are further ones.
    """
    body = decode(answer)
    kinds = {404: ServiceNotFoundError, 503: ServiceUnavailableError}
    message = _message(body, answer, list(_secrets(sent, secret_names)))
    return kinds.get(answer.status, BaseServiceError)(
        f"{method} {path} answered {answer.status}: {message}",
        status=answer.status,
        headers=answer.headers,
        body=cast("object", body),
        method=method,
        url=url,
    )


def _message(body: object, answer: Answer, secrets: list[str]) -> str:
    reason = HTTPStatus(answer.status).phrase if answer.status in _REASONS else ""
    message = body if isinstance(body, str) else ""
    if isinstance(body, dict):
        fields = cast("dict[str, object]", body)
        message = str(fields.get("detail") or fields.get("message") or fields.get("title") or "")
    if location := answer.headers.get("location"):
        message = f"it points to {_without_secrets(location)}, where this call does not follow"
    for secret in secrets:  # before it is cut: the rest of one would not be recognised
        message = message.replace(secret, "***")
    message = message[:LONGEST_MESSAGE]
    return f"{message} ({reason})" if message and reason not in message else message or reason


_REASONS = frozenset(status.value for status in HTTPStatus)


def _secrets(sent: Mapping[str, str], names: frozenset[str]) -> Iterable[str]:
    for name, value in sent.items():
        low = name.lower()
        if low not in SECRET_HEADERS | names and not TELLING.search(low):
            continue
        parts = [value]
        if low == "cookie":
            parts += [pair.partition("=")[2].strip() for pair in value.split(";")]
        elif " " in value:
            parts.append(value.partition(" ")[2])
        yield from sorted((part for part in parts if len(part) >= LEAST_SECRET), key=len)[::-1]


def mask_query(query: Iterable[tuple[str, str]]) -> str:
    """``?a=1&token=***``: a query for logs and errors; "" for none."""
    pairs = [f"{quote(k, safe='')}={_masked(k, v)}" for k, v in query]
    return "?" + "&".join(pairs) if pairs else ""


def _masked(key: str, value: str) -> str:
    return "***" if TELLING.search(key) else quote(value, safe="")


def shown_address(uri: str) -> str:
    """*uri* without user, password, query and fragment."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path.rstrip('/')}"


def _without_secrets(location: str) -> str:
    try:
        parts = urlsplit(location)
    except ValueError:
        return "an address out of form"
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}" if host else parts.path
