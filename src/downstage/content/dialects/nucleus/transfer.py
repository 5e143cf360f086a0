"""Large bodies over HTTP: minted, sent in parts, fetched from where an answer said."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from typing import Any, cast

import msgspec
from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from downstage.content.dialects.exchange import USER_CONTENT, Exchange
from downstage.content.dialects.nucleus.desk import Desk
from downstage.content.dialects.nucleus.origin import check_site
from downstage.content.dialects.nucleus.paths import read_address
from downstage.content.dialects.nucleus.spool import MAX_PART, MAX_SIZE
from downstage.content.model import Access, Caller
from downstage.kernel.errors import (
    Forbidden,
    InvalidField,
    InvalidInput,
    NotSupported,
    TooLarge,
    Unauthenticated,
    VersionMismatch,
    WrongType,
)
from downstage.services.incoming import pieces_of

__all__ = ["Transfer"]

MAX_JSON = 64 * 1024
IDLE_S = 60.0
"""How long a part may stand still."""
DIGITS = 20
HARMLESS: Mapping[str, str] = {
    **USER_CONTENT,
    "referrer-policy": "no-referrer",
    "cache-control": "private, no-store",
    "content-type": "application/octet-stream",
}


class Transfer:
    """The HTTP half of the wire.

    Args:
        desk: what sessions share.
    """

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    async def mint(self, request: Request) -> Response:
        """Begin an upload of the path that the body names."""
        caller = await self._caller(request)
        fields = _object(await _whole(request, MAX_JSON))
        address = read_address(fields.get("path"))
        if address.is_folder:
            raise WrongType("A folder has no content.")
        await self._refuse(caller, address.path, 0)
        upload = await self._desk.spool.mint(caller, address.path)
        return JSONResponse({"content_id": str(upload.id), "content_id_numeric": upload.id})

    async def put(self, request: Request) -> Response:
        """Take one part."""
        caller = await self._caller(request)
        name = "content-id-numeric" if "content-id-numeric" in request.headers else "content-id"
        upload = self._desk.spool.find(caller, _number(request, name))
        size, start = _number(request, "content-length", 0), _number(request, "content-start")
        if size > MAX_PART:
            raise TooLarge(f"A part has at most {MAX_PART} bytes.", limit=MAX_PART)
        await self._refuse(caller, upload.path, min(start + size, MAX_SIZE))
        await self._desk.spool.put(upload, start, _body(request))
        return JSONResponse({"content_id": str(upload.id)})

    async def _refuse(self, caller: Caller, path: str, size: int) -> None:
        """Refuse bytes that could not be committed: only who may write takes room on the disk."""
        content = self._desk.content
        try:
            await content.check_upload(caller, path, size)
        except NotSupported:  # it lies in a mount, which keeps its own counsel on the rest
            folder = await content.stat(caller, path.rpartition("/")[0] or "/")
            if not folder.access & Access.WRITE:
                raise Forbidden("You may not do that here.", path=path) from None

    async def download(self, request: Request, path: str, exchange: Exchange) -> None:
        """The bytes that an answer sent the client here for.

        They are those of the etag in the address, or none.
        """
        caller = await self._caller(request)
        query = request.query_params
        number = query.get("checkpoint", "")
        checkpoint = (
            int(number) if number.isascii() and number.isdigit() and len(number) < DIGITS else 0
        )
        address = read_address({"path": path, "checkpoint": checkpoint})
        async with await self._desk.content.read(
            caller, address.path, checkpoint=checkpoint
        ) as reading:
            entry = reading.entry
            if query.get("etag", entry.etag) != entry.etag:
                raise VersionMismatch("The file changed meanwhile. Ask for it again.")
            fields = {**HARMLESS, "etag": f'"{entry.etag}"', "content-length": str(entry.size)}
            await exchange.send_reading(200, fields, reading, 0, entry.size)

    async def _caller(self, request: Request) -> Caller:
        """Who asks: by the access token in a header, never in the address."""
        check_site(request)
        scheme, _, token = request.headers.get("authorization", "").partition(" ")
        if scheme.lower() != "bearer":
            raise Unauthenticated("This needs a bearer token. Sign in first.")
        principal = await self._desk.principal(token.strip())
        return await self._desk.gate.caller(principal, "")


def _body(request: Request) -> AsyncIterator[bytes]:
    """The pieces of a part as they come."""
    return pieces_of(request, "part", idle_s=IDLE_S)


async def _whole(request: Request, limit: int) -> bytes:
    found = bytearray()
    async for piece in _body(request):
        found += piece
        if len(found) > limit:
            raise TooLarge(f"The body has at most {limit} bytes.", limit=limit)
    return bytes(found)


def _object(text: bytes) -> dict[str, Any]:
    try:
        found = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError, UnicodeDecodeError) as error:
        raise InvalidInput("The body is no JSON.") from error
    if not isinstance(found, dict):
        raise InvalidInput("The body is no object.")
    return cast("dict[str, Any]", found)


def _number(request: Request, name: str, default: int | None = None) -> int:
    text = request.headers.get(name)
    if text is None and default is not None:
        return default
    if text is None or not (text.isascii() and text.isdigit()) or len(text) >= DIGITS:
        raise InvalidField(name, f"{name}: a number.")
    return int(text)
