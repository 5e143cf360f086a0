"""The envelope of every answer of this dialect, and the routes that see to it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from http import HTTPStatus
from typing import Any, Literal

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from pydantic import ValidationError
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from downstage.contracts.wire import Answer
from downstage.kernel.errors import InvalidField, NotSupported, PlatformError, TooMany, Unavailable
from downstage.kernel.logging import get_logger
from downstage.services.openapi import secured

__all__ = ["BASE", "PREFIX", "AmsRoute", "deny", "failure", "listing", "prefix_of", "sync"]

BASE = "/ams/1.0"
"""Where the dialect stands on the public port."""
PREFIX = "downstage.ams.prefix"
"""Key of a scope: the prefix by which the caller called, where it is another."""
SERVER = 500
log = get_logger(__name__)


def prefix_of(request: Request) -> str:
    """What the addresses in an answer begin with: as the caller called."""
    return str(request.scope.get(PREFIX, BASE))


def sync(metadata: Any, *, etag: str | None = None) -> JSONResponse:
    """An answer that brings what was asked for."""
    headers = {} if etag is None else {"etag": etag}
    body = {"type": "sync", "status": "Success", "status_code": 200, "metadata": metadata}
    return JSONResponse(body, headers=headers)


def listing(request: Request, items: list[dict[str, Any]], kind: str, key: str) -> JSONResponse:
    """A list: addresses, or with ``recursion=1`` the things themselves; `limit` and `offset`.

    Raises:
        InvalidField: one of these is no number.
    """
    offset, limit = _number(request, "offset", 0), _number(request, "limit", len(items) or 1)
    page = items[offset : offset + limit]
    if _number(request, "recursion", 0):
        return _sized(page, len(items))
    base = f"{prefix_of(request)}/{kind}"
    return _sized([f"{base}/{item[key]}" for item in page], len(items))


def _sized(page: list[Any], total: int) -> JSONResponse:
    body = {"type": "sync", "status": "Success", "status_code": 200}
    return JSONResponse({**body, "metadata": page, "total_size": total})


def _number(request: Request, name: str, otherwise: int) -> int:
    text = request.query_params.get(name, "")
    if not text:
        return otherwise
    if not (text.isascii() and text.isdigit()) or len(text) > 9:  # noqa: PLR2004 - fits an index
        raise InvalidField(name, f"{name} is a number.")
    return int(text)


def failure(error: PlatformError, request: Request) -> JSONResponse:
    """*error* in its envelope."""
    headers = dict[str, str]()
    if isinstance(error, TooMany | Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    status = 400 if isinstance(error, InvalidField | NotSupported) else error.status
    body = {
        "type": "error",
        "error": error.detail,
        "error_code": status,
        "metadata": {"code": error.code, "request_id": request.scope.get("request_id")},
    }
    return JSONResponse(body, status, headers=headers)


async def deny(socket: WebSocket, error: PlatformError) -> None:
    """Refuse a socket by *error*'s status: nothing is accepted."""
    body = {"type": "error", "error": error.detail, "error_code": error.status}
    await socket.send_denial_response(JSONResponse(body, error.status))


class AmsFailure(Answer):
    """An answer that brings nothing."""

    type: Literal["error"] = "error"
    error: str
    """What is wrong, and what to do."""
    error_code: int
    metadata: dict[str, Any]


RETRY = {"Retry-After": {"description": "Seconds to wait", "schema": {"type": "integer"}}}
REFUSALS: dict[int | str, dict[str, Any]] = {
    202: {"description": "Begun: `operation` says where it is followed"},
    **{
        status: {
            "model": AmsFailure,
            "description": HTTPStatus(status).phrase,
            **({"headers": RETRY} if status in (429, 503) else {}),
        }
        for status in (400, 401, 403, 404, 409, 412, 413, 415, 422, 429, 503, 507)
    },
}


class AmsRoute(APIRoute):
    """Answers in the envelope, whatever happens."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        options["responses"] = {**REFUSALS, **(options.get("responses") or {})}
        options["openapi_extra"] = options.get("openapi_extra") or secured()
        super().__init__(path, endpoint, **options)

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        """The handler, its errors enveloped."""
        handle = super().get_route_handler()

        async def answered(request: Request) -> Response:
            try:
                return await handle(request)
            except PlatformError as error:
                if error.status >= SERVER and not isinstance(error, Unavailable):
                    log.exception("request.failed", path=request.url.path)
                return failure(error, request)
            except RequestValidationError as error:
                first = error.errors()[0]
                field = ".".join(str(part) for part in first["loc"][1:]) or "body"
                return failure(InvalidField(field, f"{field}: {first['msg'].lower()}."), request)
            except ValidationError as error:
                field = ".".join(str(part) for part in error.errors()[0]["loc"]) or "body"
                return failure(InvalidField(field, f"{field} is not well formed."), request)
            except HTTPException as error:
                return failure(InvalidField("body", str(error.detail)), request)

        return answered
