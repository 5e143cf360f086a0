"""Errors as RFC 9457 answers, with request ids and body limits: the edge of every service's app."""

from __future__ import annotations

import errno
import os
from typing import Any, cast

from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.websockets import WebSocketState

from downstage.kernel.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidField,
    InvalidInput,
    NotFound,
    OutOfSpace,
    PlatformError,
    TooMany,
    Unavailable,
    Upstream,
)
from downstage.kernel.limits import MAX_BODY
from downstage.kernel.logging import get_logger
from downstage.services.bodies import BodyLimit
from downstage.services.book import book_of
from downstage.services.correlation import REQUEST_ID, REQUEST_ID_HEADER, RequestId
from downstage.services.errors import (
    BaseServiceError,
    ServiceTimeoutError,
    ServiceUnavailableError,
)
from downstage.services.refusal import answer

__all__ = ["REQUEST_ID", "BodyLimit", "RequestId", "answer", "install"]

MAX_FIELD = 256
"""Characters of a field's name in an answer: the caller chose it."""
FULL = frozenset({errno.ENOSPC, errno.EDQUOT})
EXHAUSTED = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})
RETRY_S = 5
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
log = get_logger(__name__)


def install(
    app: FastAPI, *, max_body: int | None = MAX_BODY, request_id_header: str = REQUEST_ID
) -> None:
    """Give *app* the platform's errors, request ids and body limit (None: no limit)."""
    app.add_exception_handler(PlatformError, cast("Any", _platform_error))  # sockets: no answer
    app.add_exception_handler(BaseServiceError, cast("Any", _service_error))
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(OSError, cast("Any", _system_error))
    app.add_exception_handler(Exception, _unexpected)
    book = book_of(app)
    app.add_middleware(BodyLimit, limit=max_body, encoders=book.encoders, larger=book.larger)
    app.add_middleware(RequestId, header=request_id_header)


def _request_id(connection: HTTPConnection) -> str | None:
    return cast("str | None", connection.scope.get("request_id"))


async def _platform_error(connection: HTTPConnection, error: Exception) -> JSONResponse | None:
    assert isinstance(error, PlatformError)  # noqa: S101 - registered for this class alone
    if error.status >= 500 and not isinstance(error, Unavailable):  # noqa: PLR2004
        log.error("request.failed", exc_info=error, path=connection.url.path, code=error.code)
    response = answer(error, _request_id(connection))
    if not isinstance(connection, WebSocket):
        return response
    await _refuse_socket(connection, error, response)
    return None


async def _system_error(connection: HTTPConnection, error: Exception) -> JSONResponse | None:
    """What the machine cannot give just now is nobody's mistake, and over by itself."""
    number = error.errno if isinstance(error, OSError) else None
    if number not in FULL | EXHAUSTED:
        raise error
    log.warning("machine.exhausted", path=connection.url.path, why=str(error))
    if number in FULL:
        return await _platform_error(connection, OutOfSpace("The disk is full."))
    what = "This machine cannot do that just now: "
    told = Unavailable(what + f"{os.strerror(number or 0).lower()}.", retry_after_s=RETRY_S)
    return await _platform_error(connection, told)


async def _service_error(connection: HTTPConnection, error: Exception) -> JSONResponse | None:
    """A handler let through what a call of its own came to: what of it is the caller's business."""
    assert isinstance(error, BaseServiceError)  # noqa: S101 - registered for this class alone
    log.warning(
        "upstream.failed", status=error.status, path=connection.url.path, url=error.url,
        request_id=error.request_id,
    )  # fmt: skip
    return await _platform_error(connection, _translated(error))


def _translated(error: BaseServiceError) -> PlatformError:
    retry_after = {} if error.retry_after is None else {"retry_after_s": error.retry_after}
    match error.status:
        case 404:
            return NotFound(error.detail)
        case 409:
            return Conflict(error.detail)
        case 429:
            return TooMany(error.detail, **retry_after)
        case _ if isinstance(error, ServiceTimeoutError):
            return DeadlineExceeded("A service that this needs did not answer in time.")
        case _ if isinstance(error, ServiceUnavailableError) or error.status is None:
            return Unavailable("A service that this needs does not answer.", **retry_after)
        case _:
            return Upstream("A service that this needs answered with an error.")


async def _refuse_socket(socket: WebSocket, error: PlatformError, response: JSONResponse) -> None:
    """Before it is accepted a socket gets the answer itself, then a close code and the reason."""
    if socket.application_state is WebSocketState.CONNECTING:
        await socket.send_denial_response(response)
    elif WebSocketState.DISCONNECTED not in (socket.application_state, socket.client_state):
        ours = error.status >= 500  # noqa: PLR2004 - HTTP
        await socket.close(code=INTERNAL_ERROR if ours else POLICY_VIOLATION, reason=error.code)


async def _validation_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, RequestValidationError)  # noqa: S101 - registered for this class alone
    first = error.errors()[0]
    place = [str(part) for part in first["loc"]]
    if first["type"] == "json_invalid":
        return answer(InvalidInput("The body is not JSON."), _request_id(request))
    inside = place[1:] if place[0] in ("body", "query", "path", "header", "cookie") else place
    field = ".".join(inside)[:MAX_FIELD] or place[0]
    extra = first["type"] == "extra_forbidden"
    detail = f"{field}: {'this field is not known here' if extra else first['msg']}."
    return answer(InvalidField(field, detail), _request_id(request))


async def _http_error(request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)  # noqa: S101 - registered for this class alone
    code = {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http")
    body: dict[str, object] = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "code": code,
        "detail": str(error.detail),
        "message": str(error.detail),
        "request_id": _request_id(request),
    }
    return JSONResponse(
        body,
        status_code=error.status_code,
        headers=dict(error.headers or {}),
        media_type="application/problem+json",
    )


async def _unexpected(request: Request, error: Exception) -> JSONResponse:
    # This runs outside of `RequestId`: neither its log context nor its header is there any more.
    request_id = _request_id(request)
    log.error("request.crashed", exc_info=error, path=request.url.path, request_id=request_id)
    response = answer(PlatformError("An error of ours; the log has it."), request_id)
    if request_id is not None:
        response.headers[request.scope.get(REQUEST_ID_HEADER, REQUEST_ID)] = request_id
    return response
