"""The envelope of every answer of this dialect, and the routes that see to it.

Whatever a handler raises leaves as ``{"type": "error", "status": "failed", …}`` with the cause and
the remedy as text; our own error code and facts stand in its metadata.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any, Generic, Literal, TypeVar

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from downstage.contracts.wire import Answer
from downstage.gateway.dialects.anbox.origins import Origins
from downstage.kernel.errors import (
    Forbidden,
    InvalidField,
    InvalidInput,
    NoCapacity,
    NotSupported,
    PlatformError,
    TooMany,
    Unauthenticated,
    Unavailable,
)
from downstage.kernel.logging import get_logger

__all__ = ["Envelope", "ErrorEnvelope", "enveloped", "failure", "status_of"]

T = TypeVar("T")
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
BAD_REQUEST, NO_AGENT, SERVER = 400, 404, 500
log = get_logger(__name__)


class Envelope(Answer, Generic[T]):
    """An answer that brings what was asked for."""

    type: Literal["sync", "async"] = "sync"
    status: Literal["success", "failed", "unknown"] = "success"
    status_code: int = 200
    metadata: T
    total_size: int | None = None
    """Of a list: how many there are in all."""


class ErrorEnvelope(Answer):
    """An answer that brings none."""

    type: Literal["error"] = "error"
    status: Literal["failed"] = "failed"
    status_code: int
    error: str
    """What is wrong, and what to do."""
    metadata: dict[str, Any]
    """``code``: the error's name for programs; and facts about it."""


def status_of(error: PlatformError) -> int:
    """The HTTP status by which this dialect tells *error*."""
    match error:
        case InvalidField() | NotSupported():
            return BAD_REQUEST
        case NoCapacity():
            return NO_AGENT  # the dialect's word for: nobody can host it
        case _:
            return error.status


def failure(error: PlatformError, request: Request) -> JSONResponse:
    """*error* in its envelope."""
    status = status_of(error)
    headers = dict[str, str]()
    if isinstance(error, TooMany | Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Macaroon, Bearer"
    facts = {**error.context, "code": error.code, "request_id": request.scope.get("request_id")}
    body = ErrorEnvelope(status_code=status, error=error.detail, metadata=facts)
    return JSONResponse(body.model_dump(), status, headers=headers)


def enveloped(origins: Origins) -> type[APIRoute]:
    """The class of this dialect's routes, for pages of *origins*."""

    class EnvelopedRoute(APIRoute):
        """Answers in the envelope, to pages that may read it."""

        def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
            handle = super().get_route_handler()

            async def answered(request: Request) -> Response:
                try:
                    _check_page(origins, request)
                    response = await handle(request)
                except PlatformError as error:
                    if status_of(error) >= SERVER and not isinstance(error, Unavailable):
                        log.exception("request.failed", path=request.url.path)
                    response = failure(error, request)
                except RequestValidationError as error:
                    response = failure(_invalid(error), request)
                except HTTPException as error:
                    response = failure(InvalidInput(str(error.detail)), request)
                response.headers.update(origins.headers(request))
                return response

            return answered

    return EnvelopedRoute


def _check_page(origins: Origins, request: Request) -> None:
    """A page that is not listed could not read the answer: it may not change anything either."""
    if request.method not in SAFE and origins.allows(request) is False:
        raise Forbidden(
            "This page's origin may not call this API. List it in platform.origins.",
            origin=request.headers.get("origin", "")[:256],
        )


def _invalid(error: RequestValidationError) -> PlatformError:
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid":
        return InvalidInput("The body is not JSON.")
    inside = place[1:] if len(place) > 1 else place
    field = ".".join(inside)[:256]
    return InvalidField(field, f"{field}: {first['msg']}.")
