"""One error as the answer of an HTTP request."""

from __future__ import annotations

from starlette.responses import JSONResponse

from downstage.kernel.errors import (
    Misdirected,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
    problem,
)

__all__ = ["HOME", "PROBLEM_TYPE", "answer"]

PROBLEM_TYPE = "application/problem+json"
HOME = "downstage-home"
"""Header of a 421: the address to ask instead."""


def answer(error: PlatformError, request_id: str | None = None) -> JSONResponse:
    """*error* as ``application/problem+json``, with Retry-After where it has one."""
    headers = dict[str, str]()
    if isinstance(error, TooMany | Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    if isinstance(error, Misdirected):
        headers[HOME] = error.home
    return JSONResponse(
        problem(error, request_id=request_id),
        status_code=error.status,
        headers=headers,
        media_type=PROBLEM_TYPE,
    )
