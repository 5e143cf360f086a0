"""Structured logs on standard error: events with facts, ids bound by context, secrets dropped."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import Collection, Mapping, MutableMapping
from itertools import islice
from typing import Any, cast

import structlog

from downstage.kernel.settings import Log

__all__ = ["configure", "get_logger", "redact"]

SECRET = re.compile(r"(?i)token|password|secret|authorization|cookie|credential|sdp|ticket|code$")
HARMLESS = frozenset({"exit_code", "status_code", "close_code", "error_code", "code"})
VALUE = r"(?:\\*\"[^\"]*\"?|\\*'[^']*'?|[^\s\"',;&}]+)"
MASKS = tuple(
    re.compile(pattern, flags)
    for pattern, flags in (
        # A session description with its addresses, up to the end of the text.
        (r"()v=0(?:\r?\n|\\r\\n|\\n)o=.*", re.DOTALL),
        (r"(candidate:)[^\n\"]*", 0),
        (r"()\beyJ[\w-]{3,}(?:\.[\w-]*)*", re.ASCII),  # JWT and JWE, also one that was cut
        (r"(://[^/\s:@]*:)[^/\s@]+(?=@|…$)", 0),
        (r"(authorization\\*[\"']?\s*[:=]\s*\\*[\"']?)(?:\w+\s+)?[^\s\"',;&}]+", re.IGNORECASE),
        (r"(bearer\s+|ticket\.)[^\s\"'&,;}]+", re.IGNORECASE),
        (r"([?&#](?:join|code|key)=)[^\s\"'&]+", re.IGNORECASE),
        (
            r"((?:token|password|passwd|secret|cookie|credential|ticket|ice-pwd)"
            r"\\*[\"']?\s*[:=]\s*)" + VALUE,
            re.IGNORECASE,
        ),
    )
)
"""What a secret looks like inside text; the first group stays."""
CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]")
"""Characters that forge lines, colours or reading order, and those that have no UTF-8."""
MAX_TEXT = 256
MAX_TRACE = 16_384
MAX_ITEMS = 32
MAX_DEPTH = 4
GONE = "[redacted]"


def configure(settings: Log, *, stream: Any = None) -> None:
    """Set up structlog and the standard library's logging for this process.

    Args:
        settings: level and form.
        stream: where to write; None is standard error.
    """
    out = stream or sys.stderr
    as_json = settings.json_lines if settings.json_lines is not None else not out.isatty()
    shared: list[Any] = [
        structlog.contextvars.merge_contextvars,
        structlog.stdlib.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        redact,
    ]
    renderer: Any = structlog.processors.JSONRenderer()
    if not as_json:
        renderer = structlog.dev.ConsoleRenderer(
            colors=out.isatty(), exception_formatter=structlog.dev.plain_traceback
        )
    handler = logging.StreamHandler(out)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=shared,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings.level.upper())
    for noisy in ("aiosqlite", "alembic", "aioice", "multipart", "uvicorn.access", "selkies"):
        logging.getLogger(noisy).setLevel("WARNING")
    structlog.configure(
        processors=[
            structlog.stdlib.filter_by_level,
            *shared,
            structlog.stdlib.ProcessorFormatter.wrap_for_formatter,
        ],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )


def silence(name: str) -> None:
    """Let nothing of the modules below *name* be logged: somebody else tells it."""
    logging.getLogger(name).setLevel(logging.CRITICAL)


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for the module *name*; events are ``area.past_tense`` with facts as keys."""
    if not structlog.is_configured():
        _default()
    return structlog.stdlib.get_logger(name)


def _default() -> None:
    """Where nobody calls `configure`: as structlog comes, but without values in tracebacks.

    Its own tracebacks show the variables of each frame, and with them headers that hold keys.
    """
    renderer = structlog.dev.ConsoleRenderer(
        colors=False, exception_formatter=structlog.dev.plain_traceback
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            redact,
            renderer,
        ]
    )


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop secrets by key, mask them inside text, cut and escape text that somebody else chose."""
    for key, value in list(event.items()):
        if key.startswith("_"):
            continue  # structlog's own, taken away before anything is written
        if key == "exception":
            event[key] = _trace(value)
            continue
        event[key] = GONE if _is_secret(key) else _clean(value, MAX_DEPTH)
    return event


def _is_secret(key: str) -> bool:
    return key not in HARMLESS and SECRET.search(key) is not None


def _clean(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, bytes | bytearray | memoryview):
        return f"<{len(cast('bytes', value))} bytes>"
    if isinstance(value, Mapping | list | tuple | set | frozenset):
        return _clean_many(cast("Any", value), depth - 1)
    return _text(repr(value) if isinstance(value, BaseException) else str(value))


def _clean_many(value: Mapping[Any, Any] | Collection[Any], depth: int) -> Any:
    if depth < 0:
        return f"<{len(value)} items>"
    first: list[Any] = list(islice(value, MAX_ITEMS))
    if not isinstance(value, Mapping):
        return [_clean(item, depth) for item in first]
    pairs = cast("Mapping[Any, Any]", value)
    named = [(str(key), pairs[key]) for key in first]
    return {_text(k): GONE if _is_secret(k) else _clean(v, depth) for k, v in named}


def _text(text: str) -> str:
    """*text* cut, without secrets, on one line."""
    # Masks know secrets by their beginning, so a secret that the cut halved is masked too.
    short = _mask(text if len(text) <= MAX_TEXT else text[:MAX_TEXT] + "…")
    return CONTROL.sub(_escape, short)


def _trace(value: Any) -> str:
    lines = _mask(str(value)[:MAX_TRACE]).split("\n")
    return "\n".join(CONTROL.sub(_escape, line) for line in lines)


def _escape(found: re.Match[str]) -> str:
    return found.group().encode("unicode_escape").decode("ascii")


def _mask(text: str) -> str:
    for pattern in MASKS:
        text = pattern.sub(lambda found: found.group(1) + GONE, text)
    return text
