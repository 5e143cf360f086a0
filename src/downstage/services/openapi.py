"""What an application says of itself: OpenAPI that tells the truth about errors, and its sockets.

FastAPI documents an error body that no service of ours sends. Here each operation names the
problems that it can answer, and WebSocket routes stand in ``x-websockets``.
"""

from __future__ import annotations

import hashlib
import inspect
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import anyio
import anyio.to_thread
from fastapi.openapi.utils import get_openapi
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import BaseRoute

from downstage.services.book import book_of
from downstage.services.refusal import PROBLEM_TYPE

if TYPE_CHECKING:
    from fastapi import FastAPI

__all__ = ["RETRY_AFTER", "add_document", "describe", "document", "refusals", "secured"]

REFERENCE = {"$ref": "#/components/schemas/Problem"}
PROBLEM = {
    "title": "Problem",
    "description": "What went wrong, as RFC 9457 has it.",
    "type": "object",
    "properties": {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "code": {"type": "string", "description": "Stable; made for programs."},
        "detail": {"type": "string", "description": "Made for people."},
        "message": {"type": "string", "description": "The same, for older clients."},
        "request_id": {"type": ["string", "null"]},
        "field": {"type": "string", "description": "Where one field is at fault."},
    },
    "required": ["type", "title", "status", "code", "detail"],
    "additionalProperties": True,
}
RETRY_AFTER = {
    "Retry-After": {
        "description": "Seconds after which a try may succeed.",
        "schema": {"type": "integer"},
    }
}
WORDS = {
    400: "The request is malformed.",
    401: "No valid proof of who is asking.",
    403: "Known, but not allowed.",
    404: "There is no such thing, or it is not the caller's.",
    409: "The present state does not allow it.",
    413: "The body is too large.",
    415: "The body's coding is not known here.",
    422: "A field is not acceptable.",
    429: "Asked too often.",
    503: "A part that is needed does not answer just now.",
    504: "It took longer than it may.",
}
BEARER: dict[str, list[str]] = {"bearer": []}
LATER = (429, 503)
OURS = ("HTTPValidationError", "ValidationError")
FIRST_ERROR = 400
Json = dict[str, Any]


def refusals(*statuses: int) -> dict[int | str, Json]:
    """For a route's `responses`: it may answer a problem of each of *statuses*."""
    return {status: _refusal(status) for status in statuses}


def secured(*, optional: bool = False) -> Json:
    """For a route's `openapi_extra`, where the caller is checked in the handler itself."""
    return {"security": [BEARER, *([{}] if optional else [])]}


def describe(app: FastAPI) -> Json:
    """The description of all that *app* serves just now."""
    found = document(
        app.title,
        app.version,
        app.routes,
        summary=app.summary,
        description=app.description,
        terms_of_service=app.terms_of_service,
        contact=app.contact,
        license_info=app.license_info,
        openapi_version=app.openapi_version,
        webhooks=app.webhooks.routes,
        tags=app.openapi_tags,
        servers=app.servers,
        separate_input_output_schemas=app.separate_input_output_schemas,
        external_docs=app.openapi_external_docs,
    )
    sockets = {
        entry.path: _socket(entry.route)
        for entry in book_of(app).dispatcher.index()
        if entry.kind == "websocket"
    }
    if sockets:
        found["x-websockets"] = sockets
    return found


def document(title: str, version: str, routes: Sequence[BaseRoute], **more: Any) -> Json:
    """OpenAPI of *routes*, with the errors that they really answer."""
    found = get_openapi(title=title, version=version, routes=list(routes), **more)
    components = cast("Json", found.setdefault("components", {}))
    schemas = cast("Json", components.setdefault("schemas", {}))
    for name in OURS:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM
    components["schemas"] = {name: schemas[name] for name in sorted(schemas)}
    for item in cast("dict[str, Json]", found.get("paths", {})).values():
        for operation in cast("list[Json]", list(item.values())):
            _tell_truth(operation)
            if BEARER in operation.get("security", []):
                schemes = cast("Json", components.setdefault("securitySchemes", {}))
                schemes.setdefault("bearer", {"type": "http", "scheme": "bearer"})
    return found


def _tell_truth(operation: Json) -> None:
    responses = cast("dict[str, Json]", operation["responses"])
    validation = responses.get("422", {}).get("content", {}).get("application/json", {})
    if validation.get("schema", {}).get("$ref", "").endswith("/HTTPValidationError"):
        del responses["422"]
    for status in _expected(operation):
        if not {str(status), f"{status // 100}XX", "default"} & responses.keys():
            responses[str(status)] = _refusal(status)
    operation["responses"] = {key: responses[key] for key in sorted(responses)}


def _expected(operation: Json) -> Iterable[int]:
    """Which errors the framework itself answers for such an operation."""
    if "requestBody" in operation:
        yield from (400, 413, 415)
    if "requestBody" in operation or operation.get("parameters"):
        yield 422
    if operation.get("security"):
        yield from (401, 403, 503)


def _refusal(status: int) -> Json:
    found: Json = {
        "description": WORDS.get(status, HTTPStatus(status).phrase),
        "content": {PROBLEM_TYPE: {"schema": dict(REFERENCE)}},
    }
    if status in LATER:
        found["headers"] = RETRY_AFTER
    return found


def _socket(route: BaseRoute) -> Json:
    name = str(getattr(route, "name", ""))
    words = inspect.getdoc(getattr(route, "endpoint", None)) or ""
    return {"summary": name.replace("_", " ").capitalize(), "description": words}


@dataclass(slots=True)
class _Built:
    version: int
    root_path: str
    body: bytes
    tag: str


class _Document:
    """Serves the description: built in a thread, kept until something changes."""

    def __init__(self) -> None:
        self._built: _Built | None = None
        self._lock: anyio.Lock | None = None

    async def __call__(self, request: Request) -> Response:
        app: FastAPI = request.app
        root = request.scope.get("root_path", "").rstrip("/")
        built = self._built
        if built is None or built.version != book_of(app).version or built.root_path != root:
            self._lock = self._lock or anyio.Lock()
            async with self._lock:
                built = self._built
                while built is None or built.version != book_of(app).version:
                    built = await self._build(app, root)
                if built.root_path != root:
                    built = await self._build(app, root)
        headers = {"etag": built.tag, "cache-control": "no-cache"}
        asked = request.headers.get("if-none-match", "")
        if built.tag in [tag.strip().removeprefix("W/") for tag in asked.split(",")]:
            return Response(status_code=304, headers=headers)
        return Response(built.body, headers=headers, media_type="application/json")

    async def _build(self, app: FastAPI, root: str) -> _Built:
        version = book_of(app).version
        book_of(app).dispatcher.index()  # in the loop: it belongs to it
        found = await anyio.to_thread.run_sync(app.openapi)
        if root and app.root_path_in_servers:
            found = {**found, "servers": [{"url": root}, *found.get("servers", [])]}
        body = await anyio.to_thread.run_sync(_encoded, found)
        tag = '"' + hashlib.sha256(body).hexdigest()[:32] + '"'
        self._built = _Built(version, root, body, tag)
        return self._built


def _encoded(found: Json) -> bytes:
    return json.dumps(found, ensure_ascii=False, separators=(",", ":")).encode()


def add_document(app: FastAPI, path: str) -> None:
    """Serve the description of *app* at *path*."""
    app.router.add_route(path, _Document().__call__, methods=["GET"], include_in_schema=False)
