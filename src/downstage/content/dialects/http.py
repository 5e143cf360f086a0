"""Native HTTP: ``/v1/files/{path}``. A plain ASGI application, since each request must cost little.

What the bytes are is the store's affair, what callers may is the tree's; here is only what HTTP
says about it: ranges, conditions, headers that keep browsers from running what users stored.
"""

from __future__ import annotations

import mimetypes
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from email.utils import formatdate
from functools import lru_cache
from typing import Protocol

from starlette.types import Receive, Scope, Send

from downstage.auth.principal import Principal
from downstage.content.dialects.addresses import (
    Headers,
    Query,
    condition_of,
    flag_of,
    header_of,
    number_of,
    path_of,
    query_of,
    text_of,
)
from downstage.content.dialects.forms import entry_json, page_json
from downstage.content.dialects.transfer import Idle, body_of, send_rest
from downstage.content.directory import Callers
from downstage.content.model import Caller, Condition, Entry
from downstage.content.service import Content, Reading
from downstage.contracts.files import CAPABILITY
from downstage.kernel.errors import (
    InvalidInput,
    InvalidToken,
    PlatformError,
    RangeNotSatisfiable,
    Unauthenticated,
    UnsupportedMedia,
    VersionMismatch,
    WrongType,
)
from downstage.services.fronts import TEMPLATE
from downstage.services.ranges import one_range
from downstage.services.refusal import answer

__all__ = ["PREFIX", "Authenticating", "Files", "bearer_of", "part_of"]

PREFIX = "/v1/files"
SMALL = 64 * 1024
"""Bodies up to this are gathered before they are handed on."""
PAGE = 1000
MAX_PAGE = 10_000
CAPABLE = (CAPABILITY.encode(), b"1")
SAFE: tuple[tuple[bytes, bytes], ...] = (
    CAPABLE,
    (b"content-disposition", b"attachment"),
    (b"content-security-policy", b"sandbox; default-src 'none'"),
    (b"x-content-type-options", b"nosniff"),
    (b"cache-control", b"private, no-cache"),
    (b"accept-ranges", b"bytes"),
)
"""What keeps a browser from running what users have stored; and from keeping it unasked."""
JSON = (b"content-type", b"application/json")
UNTYPED = b"application/octet-stream"
MAX_SUFFIX = 17
NO_STORE = (b"cache-control", b"no-store")
Answer = list[tuple[bytes, bytes]]


class Authenticating(Protocol):
    """Turns tokens into principals (`downstage.services.facilities.principal.Authenticator`)."""

    async def principal(self, token: str) -> Principal:
        """The principal that *token* proves."""
        ...


def bearer_of(headers: Headers) -> str:
    """The token of the one Authorization header.

    Raises:
        Unauthenticated: there is none.
        InvalidToken: there are several, or of another scheme.
    """
    found: bytes | None = None
    for name, value in headers:
        if name == b"authorization":
            if found is not None:
                raise InvalidToken
            found = value
    if found is None:
        raise Unauthenticated("This needs a bearer token. Sign in first.")
    scheme, _, token = found.partition(b" ")
    if scheme.lower() != b"bearer" or not token.strip():
        raise InvalidToken
    return token.strip().decode("latin-1")


def _type_of(path: str) -> bytes:
    _, dot, suffix = path[-MAX_SUFFIX:].rpartition(".")
    return _type_of_suffix(suffix.lower()) if dot and "/" not in suffix else UNTYPED


@lru_cache(maxsize=1024)
def _type_of_suffix(suffix: str) -> bytes:
    found, encoding = mimetypes.guess_type(f"x.{suffix}")
    return found.encode("ascii") if found and not encoding else UNTYPED


@lru_cache(maxsize=256)
def _date_of(seconds: int) -> bytes:
    return formatdate(seconds, usegmt=True).encode("ascii")


class Files:
    """The application.

    Args:
        content: the service.
        callers: makes callers of principals.
        authenticator: of the platform.
        idle_s: how long a transfer may stand still.
    """

    def __init__(
        self, content: Content, callers: Callers, authenticator: Authenticating, *, idle_s: float
    ) -> None:
        self._content = content
        self._callers = callers
        self._authenticator = authenticator
        self._idle_s = idle_s
        self._methods: dict[str, Callable[[_Request], Awaitable[None]]] = {
            "GET": self._get,
            "HEAD": self._get,
            "PUT": self._put,
            "DELETE": self._delete,
        }

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        scope[TEMPLATE] = "/v1/files/{path}"
        try:
            method = self._methods.get(scope["method"])
            if method is None:
                await _not_allowed(send, scope.get("request_id"))
                return
            headers: Headers = scope["headers"]
            principal = await self._authenticator.principal(bearer_of(headers))
            caller = self._callers.known(principal) or await self._callers.of(principal)
            path, query = path_of(scope, PREFIX), query_of(scope["query_string"])
            await method(_Request(scope["method"], path, query, headers, caller, receive, send))
        except PlatformError as error:
            await _refuse(error, scope, receive, send)

    async def _get(self, asked: _Request) -> None:
        checkpoint = number_of(asked.query, "checkpoint", 0)
        if "stat" in asked.query or asked.is_head:
            deleted = flag_of(asked.query, "deleted")
            entry = await self._content.stat(
                asked.caller, asked.path, checkpoint=checkpoint, deleted=deleted
            )
            if "stat" in asked.query:
                await _send_json(asked.send, 200, entry_json(entry), entry)
            elif entry.kind in ("folder", "mount"):
                await _send_whole(asked.send, 200, [CAPABLE, JSON, *_facts(entry)], b"")
            else:
                await _send_whole(asked.send, *self._head(asked, entry), b"")
            return
        try:
            reading = await self._content.read(asked.caller, asked.path, checkpoint=checkpoint)
        except WrongType:
            await self._send_folder(asked)
        else:
            await self._send_file(asked, reading)

    async def _send_folder(self, asked: _Request) -> None:
        page = await self._content.list(
            asked.caller,
            asked.path,
            after=asked.query.get("after", ""),
            limit=max(1, number_of(asked.query, "limit", PAGE, most=MAX_PAGE)),
            recursive=flag_of(asked.query, "recursive"),
            deleted=flag_of(asked.query, "deleted"),
        )
        await _send_whole(asked.send, 200, [CAPABLE, JSON, NO_STORE], page_json(page))

    async def _send_file(self, asked: _Request, reading: Reading) -> None:
        async with reading:
            status, headers = self._head(asked, reading.entry)
            if status == 304:  # noqa: PLR2004 - HTTP
                await _send_whole(asked.send, status, headers, b"")
                return
            start, stop = asked.part or (0, reading.entry.size)
            await asked.send({"type": "http.response.start", "status": status, "headers": headers})
            await send_rest(asked.send, asked.receive, reading, start, stop, idle_s=self._idle_s)

    def _head(self, asked: _Request, entry: Entry) -> tuple[int, Answer]:
        """Status and headers of an answer that holds a file, or part of it."""
        condition = condition_of(asked.headers)
        if _is_stale(condition, entry):
            raise VersionMismatch("It is not what you have.", etag=entry.etag)
        headers: Answer = [*SAFE, *_facts(entry)]
        if _is_same(condition, entry):
            return 304, headers
        asked.part = part_of(asked.headers, entry)
        first, stop = asked.part or (0, entry.size)
        headers.append((b"content-type", _type_of(entry.path)))
        headers.append((b"content-length", str(stop - first).encode()))
        if asked.part is None:
            return 200, headers
        headers.append((b"content-range", f"bytes {first}-{stop - 1}/{entry.size}".encode()))
        return 206, headers

    async def _put(self, asked: _Request) -> None:
        headers = asked.headers
        if header_of(headers, b"content-encoding") not in (None, b"identity"):
            raise UnsupportedMedia("Files are stored as they come: send without Content-Encoding.")
        if header_of(headers, b"content-range") is not None:
            raise InvalidInput("PUT takes a whole file; parts go by an upload.")
        token = header_of(headers, b"downstage-lock")
        caller = asked.caller
        if token is not None:
            caller = replace(caller, lock_tokens=frozenset({token.decode("latin-1")}))
        length = _length_of(headers)
        with Idle(self._idle_s) as idle:
            body = body_of(asked.receive, idle)
            entry = await self._content.write(
                caller,
                asked.path,
                b"".join([piece async for piece in body]) if _is_small(length) else body,
                condition=condition_of(headers),
                message=text_of(header_of(headers, b"downstage-message")),
                parents=header_of(headers, b"downstage-parents") != b"0",
                size_hint=length,
            )
        status = 201 if entry.version == 1 else 200
        await _send_json(asked.send, status, entry_json(entry), entry)

    async def _delete(self, asked: _Request) -> None:
        await self._content.delete(
            asked.caller,
            asked.path,
            recursive=flag_of(asked.query, "recursive", default=True),
            condition=condition_of(asked.headers),
        )
        await _send_whole(asked.send, 204, [CAPABLE], None)


@dataclass(slots=True)
class _Request:
    """One request, read."""

    method: str
    path: str
    query: Query
    headers: Headers
    caller: Caller
    receive: Receive
    send: Send
    part: tuple[int, int] | None = None
    """First byte, and the one after the last, where a part is asked for."""

    @property
    def is_head(self) -> bool:
        """Whether only the answer's head is wanted."""
        return self.method == "HEAD"


def part_of(headers: Headers, entry: Entry) -> tuple[int, int] | None:
    """First byte, and the one after the last, that Range and If-Range ask for; None: the whole.

    Raises:
        RangeNotSatisfiable: none of it is there.
    """
    wanted = header_of(headers, b"range")
    if wanted is None:
        return None
    only_if = header_of(headers, b"if-range")
    if only_if is not None and only_if.strip() != _quoted(entry.etag):
        return None  # a weak or other etag, or a date: the whole file then
    return one_range(wanted.decode("latin-1"), entry.size)


def _is_stale(condition: Condition, entry: Entry) -> bool:
    return condition.if_match is not None and entry.etag not in condition.if_match


def _is_same(condition: Condition, entry: Entry) -> bool:
    known = condition.if_none_match
    return condition.if_none_match_any or (known is not None and entry.etag in known)


def _quoted(etag: str) -> bytes:
    return f'"{etag}"'.encode()


def _facts(entry: Entry) -> Answer:
    return [
        (b"etag", _quoted(entry.etag)),
        (b"last-modified", _date_of(entry.modified_at // 1_000_000_000)),
        (b"downstage-kind", entry.kind.encode()),
        (b"downstage-version", str(entry.version).encode()),
    ]


def _length_of(headers: Headers) -> int | None:
    """Of the body, where it is announced; the server has checked its form."""
    text = header_of(headers, b"content-length")
    if text is not None and text.isdigit():
        return int(text)
    return None if header_of(headers, b"transfer-encoding") is not None else 0


def _is_small(length: int | None) -> bool:
    return length is not None and length <= SMALL


async def _send_json(send: Send, status: int, body: bytes, entry: Entry) -> None:
    await _send_whole(send, status, [CAPABLE, JSON, NO_STORE, *_facts(entry)], body)


async def _send_whole(send: Send, status: int, headers: Answer, body: bytes | None) -> None:
    if body:
        headers.append((b"content-length", str(len(body)).encode()))
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body or b"", "more_body": False})


async def _not_allowed(send: Send, request_id: str | None) -> None:
    del request_id
    headers: Answer = [CAPABLE, (b"allow", b"GET, HEAD, PUT, DELETE")]
    await _send_whole(send, 405, headers, None)


async def _refuse(error: PlatformError, scope: Scope, receive: Receive, send: Send) -> None:
    """Answer *error* as everywhere, with the mark by which clients know us."""
    response = answer(error, scope.get("request_id"))
    response.headers[CAPABILITY] = "1"
    if isinstance(error, RangeNotSatisfiable):
        response.headers["content-range"] = f"bytes */{error.context.get('size', 0)}"
    if isinstance(error, VersionMismatch) and error.context.get("etag"):
        response.headers["etag"] = f'"{error.context["etag"]}"'
    await response(scope, receive, send)
