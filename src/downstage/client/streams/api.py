"""Requests to our own API of streams, and their answers."""

from __future__ import annotations

from collections.abc import AsyncGenerator, AsyncIterator, Mapping
from contextlib import asynccontextmanager
from typing import Any, TypeVar
from urllib.parse import quote, urlencode

import aiohttp
import msgspec

from downstage.client.http import Http
from downstage.client.streams.model import Entry, StreamInfo
from downstage.kernel.errors import Damaged, NotFound, Unavailable

__all__ = ["Api", "Query", "path_of"]

T = TypeVar("T")
Query = Mapping[str, Any]
PAGE = 1000
KEPT = 4096
MAX_ENTRY = 1 << 30


def path_of(*parts: str) -> str:
    """A path under ``/v1`` of names that may hold anything."""
    return "/v1/" + "/".join(quote(part, safe="") for part in parts)


def query_of(query: Query | None) -> str:
    """``?a=b``; what is None is left out, True and False are said as servers want them."""
    given = {
        name: str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in (query or {}).items()
        if value is not None
    }
    return f"?{urlencode(given)}" if given else ""


class Api:
    """One server.

    Args:
        http: requests to it.
    """

    def __init__(self, http: Http) -> None:
        self.http = http
        self.types: dict[str, str | None] = {}
        """Content types of streams, as far as they are known."""

    @asynccontextmanager
    async def request(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        body: Any = None,
        data: Any = None,
        headers: Mapping[str, str] | None = None,
    ) -> AsyncGenerator[aiohttp.ClientResponse]:
        """One request; *body* is sent as JSON, *data* as it is.

        Raises:
            PlatformError: as the server said, or `Unavailable`.
        """
        sent = dict(headers or {})
        if body is not None:
            data = msgspec.json.encode(body)
            sent["Content-Type"] = "application/json"
        url = f"{self.http.origin.url}{path}{query_of(query)}"
        async with self.http.request(method, url, headers=sent, data=data) as response:
            yield response

    async def call(
        self,
        method: str,
        path: str,
        query: Query | None = None,
        *,
        returns: type[T],
        body: Any = None,
        data: Any = None,
    ) -> T:
        """The answer of one request, as *returns*."""
        async with self.request(method, path, query, body=body, data=data) as response:
            return decoded(await response.read(), returns)

    async def do(
        self, method: str, path: str, query: Query | None = None, *, body: Any = None
    ) -> None:
        """One request whose answer says nothing."""
        async with self.request(method, path, query, body=body) as response:
            await response.read()

    def forget_token(self) -> None:
        """Look for another one at the next request."""
        if self.http.credentials is not None:
            self.http.credentials.forget()

    async def info(self, stream: str) -> StreamInfo:
        """One stream.

        Raises:
            NotFound: there is none, or it may not be read.
        """
        found = await self.call("GET", path_of("streams", stream), returns=StreamInfo)
        self.note(found)
        return found

    async def find(self, stream: str) -> StreamInfo | None:
        """The same; None: there is none."""
        try:
            return await self.info(stream)
        except NotFound:
            return None

    async def infos(self, pattern: str = "*", *, everything: bool = False) -> list[StreamInfo]:
        """All streams of *pattern*, by name."""
        found, after = list[StreamInfo](), None
        while True:
            query = {"pattern": pattern, "details": True, "everything": everything, "after": after}
            page = await self.call("GET", "/v1/streams", query, returns=StreamPage)
            for info in page.items:
                self.note(info)
            found += page.items
            after = page.next
            if after is None:
                return found

    def note(self, info: StreamInfo) -> None:
        """Remember the type of a stream's entries."""
        if len(self.types) < KEPT or info.name in self.types:
            self.types[info.name] = info.content_type

    async def type_of(self, stream: str) -> str | None:
        """The content type of a stream's entries; asked once."""
        if stream in self.types:
            return self.types[stream]
        info = await self.find(stream)
        if info is None and len(self.types) < KEPT:
            self.types[stream] = None
        return None if info is None else info.content_type

    async def parts(self, stream: str, query: Query) -> AsyncIterator[Entry]:
        """Entries of one stream as they are, not more at once than the network brings."""
        path = path_of("streams", stream, "entries")
        headers = {"Accept": "multipart/mixed"}
        async with self.request("GET", path, query, headers=headers) as response:
            kind = await self.type_of(stream)
            while (head := await _head(response.content)) is not None:
                data = await response.content.readexactly(int(head["content-length"]))
                await response.content.readexactly(2)
                yield Entry(stream, head["x-entry-id"], data, kind)


class StreamPage(msgspec.Struct):
    """Some streams, and what to go on after."""

    items: list[StreamInfo]
    next: str | None = None


def decoded(data: bytes, returns: type[T]) -> T:
    """An answer as *returns*.

    Raises:
        Damaged: it is something else.
    """
    try:
        return msgspec.json.decode(data, type=returns)
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise Damaged(f"The server's answer is out of form: {error}") from error


async def _head(content: aiohttp.StreamReader) -> dict[str, str] | None:
    """The head of the next part; None: that was the last one."""
    found = dict[str, str]()
    try:
        line = await content.readline()
        if not line:
            raise Unavailable("The answer ended in the middle.")
        if line.rstrip().endswith(b"--"):
            return None
        while (line := await content.readline()).strip():
            name, _, value = line.decode("latin-1").partition(":")
            found[name.strip().lower()] = value.strip()
        is_sound = 0 <= int(found["content-length"]) <= MAX_ENTRY and "x-entry-id" in found
    except (ValueError, KeyError):
        is_sound = False
    if not is_sound:
        raise Damaged("The server's answer is out of form.")
    return found
