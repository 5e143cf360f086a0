"""Structured logs on standard error: events with facts, ids bound by context, secrets dropped."""

from __future__ import annotations

import logging
import re
import sys
from collections.abc import MutableMapping
from typing import Any, cast

import structlog

from downstage.kernel.settings import Log

__all__ = ["configure", "get_logger", "redact"]

SECRET = re.compile(r"(?i)token|password|secret|authorization|cookie|credential|sdp|ticket|code$")
HARMLESS = frozenset({"exit_code", "status_code", "close_code", "error_code", "code"})
BEARER = re.compile(r"(?i)(bearer\s+|ticket\.|[?&#](?:join|ticket|token|accesstoken)=)[^\s&\"']+")
JWT = re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]*")
CANDIDATE = re.compile(r"candidate:[^\n\"]{0,400}")
MAX_TEXT = 256
MAX_TRACE = 16_384
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
    renderer: Any = (
        structlog.processors.JSONRenderer() if as_json else structlog.dev.ConsoleRenderer()
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


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger for the module *name*; events are ``area.past_tense`` with facts as keys."""
    return structlog.stdlib.get_logger(name)


def redact(_logger: Any, _method: str, event: MutableMapping[str, Any]) -> MutableMapping[str, Any]:
    """Drop secrets by key, mask them inside text, cut text that somebody else chose."""
    for key, value in list(event.items()):
        if key in HARMLESS or key.startswith("_"):
            continue
        event[key] = GONE if SECRET.search(key) else _clean(value, key)
    return event


def _clean(value: Any, key: str) -> Any:
    if isinstance(value, str):
        limit = MAX_TRACE if key == "exception" else MAX_TEXT
        return _mask(value if len(value) <= limit else value[:limit] + "…")
    if isinstance(value, dict):
        pairs = cast("dict[Any, Any]", value).items()
        return {str(k): GONE if SECRET.search(str(k)) else _clean(v, key) for k, v in pairs}
    if isinstance(value, list | tuple | set):
        return [_clean(item, key) for item in cast("list[Any]", value)]
    if isinstance(value, bytes):
        return f"<{len(value)} bytes>"
    return value


def _mask(text: str) -> str:
    text = BEARER.sub(lambda found: found.group(1) + GONE, text)
    return CANDIDATE.sub("candidate:" + GONE, JWT.sub(GONE, text))
