"""The envelope of every answer of this dialect, and the routes that see to it."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from fastapi.exceptions import RequestValidationError
from fastapi.routing import APIRoute
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.websockets import WebSocket

from downstage.kernel.errors import InvalidField, PlatformError, Unavailable
from downstage.kernel.logging import get_logger

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
    if isinstance(error, Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    status = 400 if isinstance(error, InvalidField) else error.status
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


class AmsRoute(APIRoute):
    """Answers in the envelope, whatever happens."""

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
            except HTTPException as error:
                return failure(InvalidField("body", str(error.detail)), request)

        return answered
