"""Transfers, which fronts answer, as routes: so that they stand in the description.

Their handlers hand a request on to the plain application that the front is made of,
and answer the same where there is no front.
"""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Header, Query, Request, Response
from starlette.types import ASGIApp, Receive, Scope, Send
from starlette.websockets import WebSocket

from downstage.content.dialects.http import PREFIX as FILES
from downstage.content.dialects.socket import PATH as SOCKET
from downstage.content.dialects.tus import PREFIX as UPLOADS
from downstage.contracts.files import FileEntry, FolderPage
from downstage.services.openapi import refusals, secured
from downstage.services.routers import ServiceAPIRouter

__all__ = ["described_router"]

BYTES: dict[str, Any] = {"schema": {"type": "string", "format": "binary"}}
FOUND: dict[str, Any] = {
    "description": "A file's bytes, or a page of a folder.",
    "content": {
        "application/octet-stream": BYTES,
        "*/*": BYTES,
        "application/json": {"schema": {}},
    },
}
Text = Annotated[str | None, Query()]
Field = Annotated[str | None, Header()]


class _HandOn(Response):
    """An answer that a plain application gives."""

    def __init__(self, app: ASGIApp) -> None:
        super().__init__()
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await self._app(scope, receive, send)


def described_router(files: ASGIApp, uploads: ASGIApp, socket: ASGIApp) -> APIRouter:
    """What *files*, *uploads* and *socket* answer in front of the framework."""
    router = ServiceAPIRouter(tags=["files"])
    _describe_files(router, _HandOn(files))
    _describe_uploads(router, _HandOn(uploads))

    async def files_socket(websocket: WebSocket) -> None:
        """Calls in MessagePack, many in flight: `downstage.contracts.content`."""
        await socket(websocket.scope, websocket.receive, websocket.send)

    router.add_api_websocket_route(SOCKET, files_socket)
    return router


def _describe_files(router: ServiceAPIRouter, answered: _HandOn) -> None:
    async def read_file(  # noqa: PLR0917 - as they stand in the query
        path: str,
        checkpoint: Text = None,
        stat: Text = None,
        after: Text = None,
        limit: Text = None,
        recursive: Text = None,
        deleted: Text = None,
    ) -> Response:
        """A file's bytes (ranges and conditions as HTTP has them), or a page of a folder."""
        del path, checkpoint, stat, after, limit, recursive, deleted
        return answered

    async def write_file(path: str, request: Request) -> Response:
        """Give a file its content; the answer comes when that is durable."""
        del path, request
        return answered

    async def delete_file(path: str, recursive: Text = None) -> Response:
        """Hide a file, or a folder with all below it."""
        del path, recursive
        return answered

    one = f"{FILES}/{{path:path}}"
    reading: dict[int | str, Any] = {
        200: {**FOUND, "model": FolderPage | FileEntry},
        206: {"description": "Part of a file.", "content": {"*/*": BYTES}},
        304: {"description": "It is what the caller has."},
        **refusals(400, 404, 409, 412, 416, 422),
    }
    writing: dict[int | str, Any] = {
        200: {"description": "A new content.", "model": FileEntry},
        201: {"description": "A new file.", "model": FileEntry},
        **refusals(400, 404, 409, 412, 413, 415, 422, 423, 501, 504, 507),
    }
    body = {"requestBody": {"content": {"application/octet-stream": BYTES}}}
    router.get(one, responses=reading, openapi_extra=secured())(read_file)
    router.put(one, responses=writing, openapi_extra={**secured(), **body})(write_file)
    gone = refusals(400, 404, 409, 412, 422, 423, 501)
    router.delete(one, status_code=204, responses=gone, openapi_extra=secured())(delete_file)


def _describe_uploads(router: ServiceAPIRouter, answered: _HandOn) -> None:
    async def begin_upload(
        tus_resumable: Field = None,
        upload_length: Field = None,
        upload_metadata: Field = None,
    ) -> Response:
        """Begin a resumable upload (tus 1.0); its address is in Location."""
        del tus_resumable, upload_length, upload_metadata
        return answered

    async def ask_upload(upload_id: str, tus_resumable: Field = None) -> Response:
        """How much of an upload has arrived (tus 1.0)."""
        del upload_id, tus_resumable
        return answered

    async def continue_upload(
        upload_id: str,
        tus_resumable: Field = None,
        upload_offset: Field = None,
    ) -> Response:
        """The next bytes of an upload (tus 1.0); with the last of them the file is written."""
        del upload_id, tus_resumable, upload_offset
        return answered

    async def end_upload(upload_id: str, tus_resumable: Field = None) -> Response:
        """Drop an upload (tus 1.0)."""
        del upload_id, tus_resumable
        return answered

    one = f"{UPLOADS}/{{upload_id}}"
    extra = secured()
    wrong = refusals(400, 404, 409, 410, 412, 413, 415, 422, 423, 429, 501, 504, 507)
    body = {"requestBody": {"content": {"application/offset+octet-stream": BYTES}}}
    router.post(UPLOADS, status_code=201, responses=wrong, openapi_extra=extra)(begin_upload)
    router.head(one, responses=wrong, openapi_extra=extra)(ask_upload)
    router.patch(one, status_code=204, responses=wrong, openapi_extra={**extra, **body})(
        continue_upload
    )
    router.delete(one, status_code=204, responses=wrong, openapi_extra=extra)(end_upload)
