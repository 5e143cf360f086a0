"""What a call carries on from the work that it is a part of: request id, trace, deadline."""

from __future__ import annotations

import random
import re
import time
from collections.abc import Generator, Mapping, MutableMapping
from contextlib import contextmanager
from contextvars import ContextVar, Token

__all__ = [
    "REQUEST_ID",
    "TIMEOUT",
    "TRACE",
    "begin_handling",
    "carry_on",
    "deadline",
    "end_handling",
    "handling",
    "is_alone",
    "remaining_s",
    "traced",
]

REQUEST_ID = "x-request-id"
TRACE = "traceparent"
TIMEOUT = "x-request-timeout-ms"
"""Header with the milliseconds that the caller still waits when the request leaves."""

TRACE_FORM = re.compile(r"00-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")
SAMPLED = "01"
_deadline: ContextVar[float | None] = ContextVar("downstage_call_deadline", default=None)
_handled: ContextVar[Mapping[str, str] | None] = ContextVar("downstage_handled", default=None)
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


def is_alone() -> bool:
    """Is there nothing in this context that its calls carry on: no deadline, request or trace?"""
    return _handled.get() is None and _trace.get() is None and _deadline.get() is None


def begin_handling(facts: Mapping[str, str]) -> Token[Mapping[str, str] | None]:
    """Calls made from now on belong to a request that is handled here.

    Args:
        facts: its ``request_id``; with a W3C trace also ``trace_id`` and ``trace_flags``.
    """
    return _handled.set(facts)


def end_handling(token: Token[Mapping[str, str] | None]) -> None:
    """The end of what `begin_handling` began."""
    _handled.reset(token)


@contextmanager
def handling(**facts: str) -> Generator[None]:
    """Inside, calls belong to the request of these *facts*; see `begin_handling`."""
    token = begin_handling(facts)
    try:
        yield
    finally:
        end_handling(token)


@contextmanager
def traced(traceparent: str | None = None) -> Generator[None]:
    """Let the calls inside belong to the trace of a W3C ``traceparent``; None begins one.

    Calls made while a request is handled belong to that request's trace without this. An
    ill-formed one is ignored.
    """
    given = f"00-{random.getrandbits(128) | 1:032x}-{1:016x}-{SAMPLED}"
    if traceparent is not None:
        given = traceparent if TRACE_FORM.fullmatch(traceparent) else _trace.get()
    token = _trace.set(given)
    try:
        yield
    finally:
        _trace.reset(token)


def carry_on(headers: MutableMapping[str, str]) -> None:
    """Add request id and trace to *headers* (names in lower case), unless they are there."""
    facts = _handled.get()
    trace = _trace.get()
    if facts is not None:
        request_id = facts.get("request_id")
        if request_id is not None and REQUEST_ID not in headers:
            headers[REQUEST_ID] = request_id
        trace_id = facts.get("trace_id")
        if trace is None and trace_id is not None:
            trace = f"00-{trace_id}-{1:016x}-{facts.get('trace_flags', SAMPLED)}"
    if trace is not None and TRACE not in headers:
        headers[TRACE] = f"{trace[:36]}{random.getrandbits(64) | 1:016x}{trace[52:]}"
