"""What every scheme does alike: checks of a call, header fields there and back, refusals."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from contextlib import suppress
from urllib.parse import quote_plus

from downstage.services import errors
from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
)
from downstage.services.transports.transport import Call

__all__ = [
    "BODILESS",
    "NAMES",
    "SOUND",
    "check",
    "failure",
    "field_name",
    "fold",
    "query_text",
    "refusal",
    "silence",
    "size_of",
    "target",
]

BODILESS = frozenset({204, 304})
"""Statuses whose answers have no body."""
TOKEN = re.compile(r"[A-Za-z0-9!#$%&'*+.^_`|~-]+")
UNSENDABLE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
UNCLEAN = re.compile(r"[^\x21-\x7e]|[?#]")
KNOWN_NAMES = 512
"""Header names remembered in their form on the wire."""
KNOWN_LINES = 1024
LONGEST_KNOWN = 256
"""Characters of a path that is remembered."""

NAMES: dict[str, bytes] = {}
"""Names of header fields, as they are sent; filled by `field_name`."""
_texts: dict[bytes, str] = {}
SOUND: set[tuple[str, str]] = set()
"""Methods and paths that were found fit to be sent."""


def check(call: Call) -> None:
    """Refuse what would become another request than the one that was meant.

    Raises:
        ValueError: the method, the path or a header field cannot be sent as it is.
    """
    if (call.method, call.path) not in SOUND:
        _check_line(call.method, call.path)
    if not call.headers:
        return
    for name, value in call.headers.items():
        if name not in NAMES:
            field_name(name)
        if not value.isprintable() and UNSENDABLE.search(value):
            raise ValueError(f"the header {name!r} holds characters that no header may")


def _check_line(method: str, path: str) -> None:
    if not TOKEN.fullmatch(method):
        raise ValueError(f"{method!r} is no method")
    if path and (path[0] != "/" or UNCLEAN.search(path)):
        raise ValueError(f"the path {path!r} is not percent-encoded, or does not begin with /")
    if len(path) <= LONGEST_KNOWN:
        if len(SOUND) >= KNOWN_LINES:
            SOUND.clear()
        SOUND.add((method, path))


def query_text(query: Iterable[tuple[str, str]]) -> str:
    """The query as it stands in the request line: `urlencode`, quicker for plain words."""
    pairs: list[str] = []
    for key, value in query:
        both = key + value
        is_plain = both.isascii() and both.isalnum()
        pairs.append(f"{key}={value}" if is_plain else f"{quote_plus(key)}={quote_plus(value)}")
    return "&".join(pairs)


def field_name(name: str) -> bytes:
    """The name of a header field as it is sent: in lower case.

    Raises:
        ValueError: it is no name.
    """
    found = NAMES.get(name)
    if found is None:
        if not TOKEN.fullmatch(name):
            raise ValueError(f"{name!r} is no name of a header field")
        found = name.lower().encode()
        if len(NAMES) >= KNOWN_NAMES:
            NAMES.clear()
        NAMES[name] = found
    return found


def fold(fields: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Header fields by name in lower case; those that come twice are joined by commas."""
    folded: dict[str, str] = {}
    for raw_name, raw_value in fields:
        name = _texts.get(raw_name) or _text(raw_name)
        value = raw_value.decode("latin-1")
        folded[name] = f"{folded[name]}, {value}" if name in folded else value
    return folded


def _text(raw_name: bytes) -> str:
    if len(_texts) >= KNOWN_NAMES:
        _texts.clear()
    text = _texts[raw_name] = raw_name.decode("latin-1").lower()
    return text


def target(base: str, call: Call) -> str:
    """Path and query as they stand in the request line; "" is the address itself."""
    path = base + call.path
    return f"{path}?{query_text(call.query)}" if call.query else path


def failure(call: Call, address: str, why: str) -> ServiceUnavailableError:
    """No answer came, and why; *address* holds no secrets."""
    return ServiceUnavailableError(
        f"{call.method} {call.path or '/'}: {why}", method=call.method, url=address + call.path
    )


def silence(call: Call, address: str, why: str) -> ServiceUnavailableError:
    """No answer came in time."""
    kind = getattr(errors, "ServiceTimeoutError", ServiceUnavailableError)
    return kind(
        f"{call.method} {call.path or '/'}: {why}", method=call.method, url=address + call.path
    )


def refusal(
    call: Call, address: str, status: int, headers: dict[str, str], body: bytes
) -> BaseServiceError:
    """The error for a WebSocket that was answered instead of opened."""
    content: object = body.decode("utf-8", "replace")
    if "json" in headers.get("content-type", ""):
        with suppress(ValueError, RecursionError):
            content = json.loads(body)
    kind = {404: ServiceNotFoundError, 503: ServiceUnavailableError}.get(status, BaseServiceError)
    return kind(
        f"the socket at {call.path or '/'} was answered {status}",
        status=status,
        headers=headers,
        body=content,
        method=call.method,
        url=address + call.path,
    )


def size_of(message: str | bytes) -> int:
    """Bytes of a WebSocket message on the wire."""
    if isinstance(message, bytes) or message.isascii():
        return len(message)
    return len(message.encode())
