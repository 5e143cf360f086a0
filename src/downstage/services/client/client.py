"""`AsyncClient`: a service's paths as attributes, the same in this process and across a network.

``await client.session_service.session.get(limit=10)`` is ``GET /session-service/session?limit=10``;
``client.v1.sessions[session_id]`` and ``getattr(client.session, session_id)`` name one segment.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable, Mapping
from datetime import date, datetime
from enum import Enum
from pathlib import PurePath
from typing import Any, Self, cast
from urllib.parse import quote, urlsplit
from uuid import UUID

import msgspec
import structlog
from pydantic import AnyUrl, BaseModel, SecretBytes, SecretStr

from downstage.services.errors import (
    BaseServiceError,
    ServiceNotFoundError,
    ServiceUnavailableError,
)
from downstage.services.transports import Answer, Call, Transport, create

__all__ = ["AsyncClient"]

VERBS = frozenset({"get", "post", "put", "delete", "patch"})
UNSAFE = re.compile(r"[\x00-\x1f\x7f]|[^\x00-\xff]")
REQUEST_ID = "x-request-id"
Secret = (SecretStr, SecretBytes)
CACHED_NODES = 128
"""Attribute nodes kept for each parent; ids reached by getattr must not grow it for ever."""

Authorize = Callable[[], Awaitable[str]]


class _Node:
    """A path under a client; calling it makes the request."""

    def __init__(self, client: AsyncClient, segments: tuple[str, ...], verb: str | None) -> None:
        self._client = client
        self._segments = segments
        self._verb = verb
        """The last attribute, where it is a verb: then it may be one and not a segment."""

    def __getattr__(self, name: str) -> _Node:
        if name.startswith("_"):
            # Debuggers, copy and IPython probe such names: they must not become requests.
            raise AttributeError(name)
        node = self._child(name.replace("_", "-"), name if name in VERBS else None)
        if len(self.__dict__) < CACHED_NODES:
            self.__dict__[name] = node
        return node

    def __getitem__(self, segment: str) -> _Node:
        return self._child(segment, None)

    def _child(self, segment: str, verb: str | None) -> _Node:
        return _Node(self._client, (*self._segments, _checked(segment)), verb)

    def __repr__(self) -> str:
        return f"<{self._client!r} /{'/'.join(self._segments)}>"

    async def __call__(self, *arguments: object, **keywords: object) -> Any:
        segments, verb = self._segments, self._verb
        if verb is not None:
            segments = segments[:-1]
        return await self._client.call(verb, segments, arguments, keywords)


class AsyncClient:
    """Calls one service.

    Args:
        uri: ``local://name``, ``http(s)://host[:port][/base]`` or any registered scheme.
        app: for ``local://``: the ASGI application; None is the one registered by name.
        raise_for_status: False returns error answers, dicts gaining ``__http_status__``.
        timeout_s: deadline of each call.
        token: bearer token, or a coroutine function that gives the present one.

    Raises:
        ValueError: no scheme, or (`TransportNotFoundError`) an unknown one.
    """

    def __init__(
        self,
        uri: str,
        app: Any = None,
        api_version: str | None = None,
        persist_connections: bool = True,
        raise_for_status: bool = True,
        *,
        timeout_s: float = 60.0,
        token: str | Authorize | None = None,
    ) -> None:
        del api_version, persist_connections  # connections always persist; one pool a loop
        self._transport: Transport = create(uri, app)
        self._uri = uri
        self._raises = raise_for_status
        self._timeout_s = timeout_s
        self._token = token
        self._root = _Node(self, (), None)

    def __getattr__(self, name: str) -> _Node:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._root, name)

    def __getitem__(self, segment: str) -> _Node:
        return self._root[segment]

    def __repr__(self) -> str:
        parts = urlsplit(self._uri)
        host = parts.netloc.rpartition("@")[2]
        return f"AsyncClient({parts.scheme}://{host}{parts.path})"

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.stop_async()

    def stop(self) -> None:
        """Nothing to do: the pool belongs to the loop, not to this client."""

    async def stop_async(self) -> None:
        """The same as `stop`."""

    async def call(
        self,
        verb: str | None,
        segments: tuple[str, ...],
        arguments: tuple[object, ...],
        keywords: dict[str, object],
    ) -> Any:
        """Make one request; attribute paths end here.

        Args:
            verb: HTTP verb in lower case; None is POST.
            segments: path segments, not yet encoded.
            arguments: further segments, or one model that is the body.
            keywords: query (GET) or JSON body; ``__headers__``, ``__method__`` as their names say.

        Raises:
            BaseServiceError: the answer was an error, or none came.
        """
        method = str(keywords.pop("__method__", None) or verb or "post").upper()
        headers = _headers(keywords.pop("__headers__", {}))
        more, body = _split(arguments)
        path = "".join(f"/{quote(s, safe='')}" for s in (*segments, *more))
        query: tuple[tuple[str, str], ...] = ()
        content = b""
        if body is not None:
            content = _encode(body)
            query = _query(keywords)
        elif method == "GET":
            query = _query(keywords)
        elif keywords:
            content = _encode(keywords)
        if content:
            headers.setdefault("content-type", "application/json")
        _correlate(headers)
        await self._authorize(headers)
        answer = await self._transport.request(
            Call(method, path, query, headers, content, self._timeout_s)
        )
        return self._result(method, path, answer)

    async def _authorize(self, headers: dict[str, str]) -> None:
        if self._token is None or any(k.lower() == "authorization" for k in headers):
            return
        token = self._token if isinstance(self._token, str) else await self._token()
        headers["authorization"] = f"Bearer {token}"

    def _result(self, method: str, path: str, answer: Answer) -> Any:
        body = _decode(answer)
        if answer.status < 300:  # noqa: PLR2004 - redirects are not followed: no answer for us
            return body
        if not self._raises:
            return _with_status(body, answer.status)
        raise _error(method, path, answer, body)


def _headers(given: object) -> dict[str, str]:
    """Header fields as text; a line break in one would begin another."""
    headers = {str(k): str(v) for k, v in cast("Mapping[Any, Any]", given).items()}
    for name, value in headers.items():
        if UNSAFE.search(name) or UNSAFE.search(value):
            raise ValueError(f"the header {name!r} holds characters that no header may")
    return headers


def _correlate(headers: dict[str, str]) -> None:
    """A call made for a request carries that request's id, so that logs can be joined."""
    request_id = structlog.contextvars.get_contextvars().get("request_id")
    if isinstance(request_id, str) and not any(k.lower() == REQUEST_ID for k in headers):
        headers[REQUEST_ID] = request_id


def _with_status(body: object, status: int) -> object:
    if isinstance(body, dict):
        return {**cast("dict[str, object]", body), "__http_status__": status}
    return body


def _checked(segment: str) -> str:
    if segment in ("", ".", ".."):
        raise ValueError(f"{segment!r} is no path segment")
    return segment


def _split(arguments: tuple[object, ...]) -> tuple[list[str], object]:
    """Positional arguments: plain values are segments, a model is the body."""
    segments, body = list[str](), None
    for argument in arguments:
        if isinstance(argument, str | int | UUID):
            segments.append(_checked(str(argument)))
        elif body is None:
            body = argument
        else:
            raise TypeError("a call takes one body")
    return segments, body


def _plain(value: object) -> Any:
    """What the JSON encoder does not know by itself."""
    if isinstance(value, BaseModel):
        # model_dump(mode="json") would mask SecretStr: the wire needs the value.
        return value.model_dump(mode="python")
    if isinstance(value, Secret):
        return cast("Any", value).get_secret_value()
    if isinstance(value, PurePath | AnyUrl):
        return str(value)
    raise NotImplementedError(f"{type(value).__name__} has no JSON form")


def _encode(body: object) -> bytes:
    return msgspec.json.encode(body, enc_hook=_plain)


def _query(keywords: Mapping[str, object]) -> tuple[tuple[str, str], ...]:
    pairs = list[tuple[str, str]]()
    for key, value in keywords.items():
        values = cast("list[object]", value) if isinstance(value, list | tuple | set) else [value]
        pairs += [(key, _text(item)) for item in values if item is not None]
    return tuple(pairs)


def _text(value: object) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)


def _decode(answer: Answer) -> Any:
    kind = answer.headers.get("content-type", "").partition(";")[0].strip().lower()
    if not answer.body and kind in ("", "application/json"):
        return None
    if kind == "application/json" or kind.endswith("+json"):
        try:
            return msgspec.json.decode(answer.body)
        except (msgspec.DecodeError, RecursionError):
            return answer.body.decode("utf-8", "replace")
    if kind == "application/octet-stream":
        return answer.body
    return answer.body.decode("utf-8", "replace")


def _error(method: str, path: str, answer: Answer, body: object) -> BaseServiceError:
    message = body if isinstance(body, str) else ""
    if isinstance(body, dict):
        fields = cast("dict[str, object]", body)
        message = str(fields.get("detail") or fields.get("message") or fields.get("title") or "")
    kind = {404: ServiceNotFoundError, 503: ServiceUnavailableError}.get(
        answer.status, BaseServiceError
    )
    return kind(
        f"{method} {path} answered {answer.status}: {message[:200]}",
        status=answer.status,
        headers=answer.headers,
        body=cast("object", body),
        method=method,
        url=path,
    )
