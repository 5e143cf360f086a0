"""Errors as RFC 9457 answers, request ids and body limits: one place for every service's app."""

from __future__ import annotations

import re
from typing import Any, cast

import structlog
from fastapi import FastAPI, Request, WebSocket
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.types import ASGIApp, Message, Receive, Scope, Send
from starlette.websockets import WebSocketState

from downstage.kernel.errors import (
    InvalidField,
    InvalidInput,
    PlatformError,
    TooLarge,
    TooMany,
    Unauthenticated,
    Unavailable,
    problem,
)
from downstage.kernel.ids import new_uuid
from downstage.kernel.limits import MAX_BODY
from downstage.kernel.logging import get_logger

__all__ = ["REQUEST_ID", "BodyLimit", "RequestId", "answer", "install"]

REQUEST_ID = "x-request-id"
GOOD_ID = re.compile(r"[A-Za-z0-9._-]{1,64}")
MAX_FIELD = 256
"""Characters of a field's name in an answer: the caller chose it."""
POLICY_VIOLATION = 1008
INTERNAL_ERROR = 1011
log = get_logger(__name__)


def install(app: FastAPI) -> None:
    """Give *app* the platform's errors, request ids and body limit."""
    app.add_exception_handler(PlatformError, cast("Any", _platform_error))  # sockets: no answer
    app.add_exception_handler(RequestValidationError, _validation_error)
    app.add_exception_handler(HTTPException, _http_error)
    app.add_exception_handler(Exception, _unexpected)
    app.add_middleware(BodyLimit)
    app.add_middleware(RequestId)


def answer(error: PlatformError, request_id: str | None = None) -> JSONResponse:
    """*error* as ``application/problem+json``, with Retry-After where it has one."""
    headers = dict[str, str]()
    if isinstance(error, TooMany | Unavailable):
        headers["retry-after"] = str(error.retry_after_s)
    if isinstance(error, Unauthenticated):
        headers["www-authenticate"] = "Bearer"
    return JSONResponse(
        problem(error, request_id=request_id),
        status_code=error.status,
        headers=headers,
        media_type="application/problem+json",
    )


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
    body: dict[str, object] = {
        "type": "about:blank",
        "title": str(error.detail),
        "status": error.status_code,
        "code": {404: "not-found", 405: "method-not-allowed"}.get(error.status_code, "http"),
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
        response.headers[REQUEST_ID] = request_id
    return response


class RequestId:
    """Every request has an id: the caller's where it is well formed, else a new one."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Bind the id to the log context and put it on the answer."""
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        given = next((v for k, v in scope["headers"] if k == REQUEST_ID.encode()), b"")
        text = given.decode("latin-1")
        request_id = text if GOOD_ID.fullmatch(text) else new_uuid()
        scope["request_id"] = request_id

        async def tagged(message: Message) -> None:
            if message["type"] in ("http.response.start", "websocket.http.response.start"):
                headers = list(cast("list[tuple[bytes, bytes]]", message.get("headers", [])))
                headers.append((REQUEST_ID.encode(), request_id.encode()))
                message["headers"] = headers
            await send(message)

        with structlog.contextvars.bound_contextvars(request_id=request_id):
            await self._app(scope, receive, tagged)


class BodyLimit:
    """Refuses request bodies over `MAX_BODY`, announced or not."""

    def __init__(self, app: ASGIApp, limit: int = MAX_BODY) -> None:
        self._app = app
        self._limit = limit

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Count the body as it comes; 413 past the limit."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        announced = next((v for k, v in scope["headers"] if k == b"content-length"), b"0")
        if announced.isdigit() and int(announced) > self._limit:
            await self._refuse(scope, receive, send)
            return
        seen, started = 0, False

        async def counted() -> Message:
            nonlocal seen
            message = await receive()
            seen += len(message.get("body", b""))
            if seen > self._limit:
                raise self._refusal()
            return message

        async def guarded(message: Message) -> None:
            # FastAPI answers 400 to whatever fails while it reads a body: ours is 413.
            nonlocal started
            if seen <= self._limit or started:
                started = True
                await send(message)

        try:
            await self._app(scope, counted, guarded)
        except TooLarge:
            if seen <= self._limit:
                raise
        if seen > self._limit and not started:
            await self._refuse(scope, receive, send)

    async def _refuse(self, scope: Scope, receive: Receive, send: Send) -> None:
        await answer(self._refusal(), scope.get("request_id"))(scope, receive, send)

    def _refusal(self) -> TooLarge:
        return TooLarge(f"The body is larger than {self._limit} bytes.", limit=self._limit)
