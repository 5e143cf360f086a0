"""Answers in the data server's forms: JSON, and ``{"detail": …}`` for whatever went wrong."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar, cast

import anyio.to_thread
from fastapi.exceptions import RequestValidationError
from starlette.exceptions import HTTPException
from starlette.responses import Response

from downstage.kernel.errors import (
    InvalidField,
    InvalidToken,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from downstage.kernel.logging import get_logger

__all__ = ["Json", "listed", "refusal", "wrong"]

T = TypeVar("T")

MAX_TOLD = 256
"""Characters of a field's name in an answer: the caller chose it."""
MAX_ERRORS = 16
OURS = 500
SHORT = 32
"""Items of a list that is made on the loop itself: none takes longer than 256 KiB of JSON do."""
PLACES = {"stream": "path", "recording": "path", "_id": "body", "entries": "body"}
"""Where a field that a rule of ours refuses stands; elsewhere it is the query."""
DETAIL: dict[str, Any] = {
    "type": "object",
    "properties": {
        "detail": {
            "oneOf": [{"type": "string"}, {"type": "array", "items": {"type": "object"}}],
        }
    },
    "required": ["detail"],
}
WORDS = {
    400: "The request is malformed.",
    401: "No valid proof of who is asking.",
    403: "Known, but not allowed.",
    404: "There is no such thing, or it is not the caller's.",
    409: "There is one already.",
    410: "Not served any more.",
    413: "Too large.",
    415: "A form that is not known here.",
    416: "None of the range that was asked for is there.",
    422: "A field is not acceptable.",
    429: "Asked too often.",
    503: "A part that is needed does not answer just now.",
    504: "It took longer than it may.",
    507: "There is no room.",
}
log = get_logger(__name__)


class Json(Response):
    """JSON that can be sent whatever text is in it: everything but ASCII is escaped."""

    media_type = "application/json"

    def render(self, content: Any) -> bytes:
        """*content* as JSON."""
        text = json.dumps(content, ensure_ascii=True, allow_nan=False, separators=(",", ":"))
        return text.encode("ascii")


async def listed(found: Sequence[T], shown: Callable[[T], Any]) -> Json:
    """A list of what *shown* makes of each of *found*; a long one is made in a thread."""

    def made() -> Json:
        return Json([shown(item) for item in found])

    return made() if len(found) <= SHORT else await anyio.to_thread.run_sync(made)


def wrong(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For a route's `responses`: it may refuse with each of *statuses*."""
    always = {401, 403, 422, 503}
    content: dict[str, Any] = {
        "application/json": {"schema": DETAIL},
        "application/problem+json": {"schema": {}},
    }
    return {
        status: {"description": WORDS[status], "content": content}
        for status in sorted({*always, *statuses})
    }


def refusal(error: Exception) -> Response:
    """*error* as the data server words it."""
    if isinstance(error, RequestValidationError):
        return Json({"detail": _of_validation(error)}, 422)
    if isinstance(error, HTTPException):
        return Json({"detail": str(error.detail)}, error.status_code, dict(error.headers or {}))
    assert isinstance(error, PlatformError)  # noqa: S101 - nothing else is handed here
    if error.status >= OURS and not isinstance(error, Unavailable):
        log.error("request.failed", exc_info=error, code=error.code)
    return Json({"detail": _detail(error)}, error.status, _headers(error))


def _detail(error: PlatformError) -> object:
    if isinstance(error, InvalidField):
        field = error.field[:MAX_TOLD]
        place = PLACES.get(field, "query")
        return [{"loc": [place, field], "msg": error.detail, "type": f"value_error.{error.code}"}]
    if isinstance(error, Unauthenticated) and not isinstance(error, InvalidToken):
        return "Not authenticated"
    return error.detail


def _headers(error: PlatformError) -> Mapping[str, str]:
    if isinstance(error, TooMany | Unavailable):
        return {"retry-after": str(error.retry_after_s)}
    return {"www-authenticate": "Bearer"} if isinstance(error, Unauthenticated) else {}


def _of_validation(error: RequestValidationError) -> list[dict[str, object]]:
    return [
        {
            "loc": [part if isinstance(part, int) else str(part)[:MAX_TOLD] for part in one["loc"]],
            "msg": str(one["msg"]),
            "type": str(one["type"]),
        }
        for one in cast("list[dict[str, Any]]", error.errors())[:MAX_ERRORS]
    ]
