"""Resumable uploads as tus 1.0 has them: ``/v1/files-uploads``.

Our own, thin: what has arrived is durable and counted by `Uploads`, bytes are hashed by the store,
and an upload is its owner's alone; here are only the headers. With the byte that completes it the
file is written; a client that misses that answer hears of it by HEAD.
"""

from __future__ import annotations

import base64
import binascii
from collections import OrderedDict
from datetime import timedelta
from email.utils import formatdate

from starlette.types import Receive, Scope, Send

from downstage.content.dialects.addresses import Headers, header_of
from downstage.content.dialects.http import Authenticating, bearer_of
from downstage.content.dialects.transfer import Idle, body_of
from downstage.content.directory import Callers
from downstage.content.model import Caller, Entry
from downstage.content.service import Content
from downstage.content.upload_rows import Upload
from downstage.contracts.files import CAPABILITY
from downstage.kernel.errors import (
    Conflict,
    Gone,
    InvalidField,
    InvalidInput,
    NotFound,
    PlatformError,
    UnsupportedMedia,
)
from downstage.services.fronts import TEMPLATE
from downstage.services.refusal import answer

__all__ = ["PREFIX", "Tus"]

PREFIX = "/v1/files-uploads"
VERSION = "1.0.0"
EXTENSIONS = "creation,creation-with-upload,expiration,termination"
BODY = b"application/offset+octet-stream"
MAX_METADATA = 16_384
MAX_SIZE = 2**50
MAX_DIGITS = 16
MOST_DONE = 1024
"""Finished uploads remembered, for clients that missed the last answer."""
Fields = list[tuple[str, str]]


class _WrongVersion(PlatformError):
    code = "tus-version"
    status = 412
    title = "Another version of the protocol"


class Tus:
    """The application.

    Args:
        content: the service.
        callers: makes callers of principals.
        authenticator: of the platform.
        idle_s: how long a transfer may stand still.
        life: how long an upload may rest.
    """

    def __init__(
        self,
        content: Content,
        callers: Callers,
        authenticator: Authenticating,
        *,
        idle_s: float,
        life: timedelta,
    ) -> None:
        self._content = content
        self._callers = callers
        self._authenticator = authenticator
        self._idle_s = idle_s
        self._life_s = life.total_seconds()
        self._done: OrderedDict[tuple[str, str, str], int] = OrderedDict()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        upload_id = scope["path"].removeprefix(PREFIX).strip("/")
        scope[TEMPLATE] = f"{PREFIX}/{{id}}" if upload_id else PREFIX
        try:
            status, fields = await self._answer(scope, receive, upload_id)
        except PlatformError as error:
            response = answer(error, scope.get("request_id"))
            response.headers[CAPABILITY] = "1"
            response.headers["tus-resumable"] = VERSION
            if isinstance(error, _WrongVersion):
                response.headers["tus-version"] = VERSION
            await response(scope, receive, send)
            return
        given = [(CAPABILITY, "1"), ("tus-resumable", VERSION), ("cache-control", "no-store")]
        headers = [(name.encode(), text.encode()) for name, text in (*given, *fields)]
        await send({"type": "http.response.start", "status": status, "headers": headers})
        await send({"type": "http.response.body", "body": b""})

    async def _answer(self, scope: Scope, receive: Receive, upload_id: str) -> tuple[int, Fields]:
        headers: Headers = scope["headers"]
        method = header_of(headers, b"x-http-method-override") or scope["method"].encode()
        if method == b"OPTIONS":
            facts = [("tus-version", VERSION), ("tus-extension", EXTENSIONS)]
            return 204, [*facts, ("tus-max-size", str(MAX_SIZE))]
        principal = await self._authenticator.principal(bearer_of(headers))
        caller = self._callers.known(principal) or await self._callers.of(principal)
        if header_of(headers, b"tus-resumable") != VERSION.encode():
            raise _WrongVersion(f"Tus-Resumable: {VERSION} is spoken here.")
        match method, bool(upload_id):
            case b"POST", False:
                return await self._create(caller, headers, receive)
            case b"HEAD", True:
                return await self._head(caller, upload_id)
            case b"PATCH", True:
                return await self._patch(caller, upload_id, headers, receive)
            case b"DELETE", True:
                await self._content.uploads.abort(caller, upload_id)
                return 204, []
            case _:
                return 405, [("allow", "HEAD, PATCH, DELETE" if upload_id else "POST, OPTIONS")]

    async def _create(
        self, caller: Caller, headers: Headers, receive: Receive
    ) -> tuple[int, Fields]:
        size = _number(headers, b"upload-length")
        about = _metadata(header_of(headers, b"upload-metadata") or b"")
        path = about.get("path") or about.get("filename", "")
        if not path:
            raise InvalidField("path", "Upload-Metadata names the path, in Base64.")
        if size > MAX_SIZE:
            raise InvalidField("Upload-Length", "That is more than can be stored.")
        upload = await self._content.uploads.create(
            caller,
            path if path.startswith("/") else f"/{path}",
            size=size,
            message=about.get("message", ""),
        )
        fields = [("location", f"{PREFIX}/{upload.id}"), *self._state(upload)]
        has_body = header_of(headers, b"content-type") == BODY
        if not (has_body or size == 0):
            return 201, fields
        more = await self._take(caller, upload, 0, receive if has_body else _nothing)
        return 201, [fields[0], *more]

    async def _head(self, caller: Caller, upload_id: str) -> tuple[int, Fields]:
        key = (caller.tenant, caller.subject, upload_id)
        if key not in self._done:
            try:
                upload = await self._find(caller, upload_id, at_rest=True)
                return 200, [*self._state(upload), ("upload-length", str(upload.size or 0))]
            except Gone:
                if key not in self._done:  # else it was completed meanwhile
                    raise
        done = str(self._done[key])
        return 200, [("upload-offset", done), ("upload-length", done)]

    async def _patch(
        self, caller: Caller, upload_id: str, headers: Headers, receive: Receive
    ) -> tuple[int, Fields]:
        if header_of(headers, b"content-type") != BODY:
            raise UnsupportedMedia(f"Send it as {BODY.decode()}.")
        offset = _number(headers, b"upload-offset")
        upload = await self._find(caller, upload_id)
        if offset != upload.offset:
            raise Conflict("That is not where to go on.", offset=upload.offset)
        return 204, await self._take(caller, upload, offset, receive)

    async def _take(self, caller: Caller, upload: Upload, offset: int, receive: Receive) -> Fields:
        """Take bytes in; with the last of them the file is written."""
        with Idle(self._idle_s) as idle:
            upload = await self._content.uploads.append(
                caller, upload.id, offset, body_of(receive, idle)
            )
            if upload.offset != upload.size:
                return self._state(upload)
        entry = await self._finish(caller, upload)
        return [
            ("upload-offset", str(upload.offset)),
            ("etag", f'"{entry.etag}"'),
            ("downstage-version", str(entry.version)),
        ]

    async def _finish(self, caller: Caller, upload: Upload) -> Entry:
        async with self._content.uploads.finished(caller, upload.id) as staged:
            entry = await self._content.write(caller, upload.path, staged, message=upload.message)
            self._done[caller.tenant, caller.subject, upload.id] = entry.size
            while len(self._done) > MOST_DONE:
                self._done.popitem(last=False)
        return entry

    async def _find(self, caller: Caller, upload_id: str, *, at_rest: bool = False) -> Upload:
        uploads = self._content.uploads
        try:
            return await (uploads.at_rest if at_rest else uploads.head)(caller, upload_id)
        except NotFound as error:
            raise Gone("There is no such upload, or it has expired.") from error

    def _state(self, upload: Upload) -> Fields:
        expires = upload.touched_at + self._life_s
        return [
            ("upload-offset", str(upload.offset)),
            ("upload-expires", formatdate(expires, usegmt=True)),
        ]


async def _nothing() -> dict[str, object]:
    return {"type": "http.request", "body": b"", "more_body": False}


def _number(headers: Headers, name: bytes) -> int:
    text = header_of(headers, name)
    if text is None or not text.isdigit() or len(text) > MAX_DIGITS:
        shown = name.decode().title()
        raise InvalidField(shown, f"{shown}: a number is needed.")
    return int(text)


def _metadata(given: bytes) -> dict[str, str]:
    """``key base64, key base64``.

    Raises:
        InvalidInput: out of form.
    """
    if len(given) > MAX_METADATA:
        raise InvalidInput("Upload-Metadata is too long.")
    found = dict[str, str]()
    for pair in filter(None, given.split(b",")):
        key, _, value = pair.strip().partition(b" ")
        try:
            found[key.decode("ascii")] = base64.b64decode(value, validate=True).decode("utf-8")
        except (binascii.Error, UnicodeDecodeError) as error:
            raise InvalidInput("Upload-Metadata is not Base64 of UTF-8.") from error
    return found
