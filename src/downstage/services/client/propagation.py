"""What a call carries on from the work that it is a part of: request id, trace, deadline."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Generator, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar

from structlog.contextvars import get_contextvars

__all__ = [
    "REQUEST_ID",
    "TIMEOUT",
    "TRACE",
    "carry_on",
    "deadline",
    "remaining_s",
    "traced",
]

REQUEST_ID = "x-request-id"
TRACE = "traceparent"
TIMEOUT = "x-request-timeout-ms"
"""Header with the milliseconds that the caller still waits when the request leaves."""

TRACE_FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
NOT_SAMPLED = "00"
_deadline: ContextVar[float | None] = ContextVar("downstage_call_deadline", default=None)
_trace: ContextVar[str | None] = ContextVar("downstage_traceparent", default=None)


@contextmanager
def deadline(seconds: float) -> Generator[None]:
    """Let every call inside end within *seconds* altogether, whatever their own time-outs say.

    Deadlines nest: the earliest counts.
    """
    ends = time.monotonic() + seconds
    outer = _deadline.get()
    token = _deadline.set(ends if outer is None else min(ends, outer))
    try:
        yield
    finally:
        _deadline.reset(token)


def remaining_s() -> float | None:
    """Seconds until the `deadline` of this context; None where there is none."""
    ends = _deadline.get()
    return None if ends is None else ends - time.monotonic()


@contextmanager
def traced(traceparent: str) -> Generator[None]:
    """Let the calls inside belong to the trace of a W3C ``traceparent``; ill-formed is ignored."""
    token = _trace.set(traceparent if TRACE_FORM.fullmatch(traceparent) else _trace.get())
    try:
        yield
    finally:
        _trace.reset(token)


def carry_on(headers: MutableMapping[str, str]) -> None:
    """Add request id and trace to *headers* (names in lower case), unless they are there."""
    if REQUEST_ID not in headers:
        request_id = get_contextvars().get("request_id")
        if isinstance(request_id, str):
            headers[REQUEST_ID] = request_id
    if TRACE not in headers:
        headers[TRACE] = _next_span()


def _next_span() -> str:
    """The trace that we are in, or a new one that nobody records, with an id for this call."""
    trace = _trace.get()
    if trace is None:
        ids = f"{random.getrandbits(192) | 1 << 64 | 1:048x}"  # neither may be all zeros
        return f"00-{ids[:32]}-{ids[32:]}-{NOT_SAMPLED}"
    span = f"{random.getrandbits(64) | 1:016x}"
    return f"{trace[:36]}{span}{trace[52:]}"
