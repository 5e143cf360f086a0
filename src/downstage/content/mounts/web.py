"""A web server: its files by name, and its folders where it speaks WebDAV. To read only."""

from __future__ import annotations

import asyncio
import re
import socket
from collections.abc import AsyncIterator
from datetime import UTC
from email.utils import parsedate_to_datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote, unquote, urljoin, urlsplit

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from defusedxml import ElementTree
from defusedxml.common import DefusedXmlException

from downstage.content import names
from downstage.content.blobs.protocol import BlobReading, BlobRef, Body
from downstage.content.blobs.reading import ClosedAfterUse, bounds
from downstage.content.mounts.protocol import Found, Rest
from downstage.kernel.errors import (
    BadUrl,
    Damaged,
    DeadlineExceeded,
    Forbidden,
    NotFound,
    NotSupported,
    Upstream,
    WrongType,
)
from downstage.kernel.net import Guard

__all__ = ["GuardedSession", "WebServer"]

TIMEOUT = aiohttp.ClientTimeout(total=None, connect=10, sock_connect=10, sock_read=30)
REDIRECTS = 5
PIECE = 256 * 1024
MOST_LISTING = 8 * 1024 * 1024
"""Bytes of a listing that are read."""
CONNECTIONS = 32
HTTP_NOT_FOUND = frozenset({404, 410})
HTTP_REFUSED = frozenset({401, 403})
HTTP_REDIRECT = frozenset({301, 302, 303, 307, 308})
HTTP_OK, HTTP_PARTIAL, HTTP_MULTI = 200, 206, 207
DAV = "{DAV:}"
PROPFIND = (
    b'<?xml version="1.0" encoding="utf-8"?><propfind xmlns="DAV:"><prop><resourcetype/>'
    b"<getcontentlength/><getlastmodified/><getetag/></prop></propfind>"
)


class _GuardedResolver(AbstractResolver):
    """Gives only addresses that were checked; they are what is connected to."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    async def resolve(
        self, host: str, port: int = 0, family: socket.AddressFamily = socket.AF_INET
    ) -> list[ResolveResult]:
        del family
        return [
            ResolveResult(
                hostname=host,
                host=address,
                port=port,
                family=socket.AF_INET6 if ":" in address else socket.AF_INET,
                proto=0,
                flags=socket.AI_NUMERICHOST,
            )
            for address in await self._guard.resolve(host, port)
        ]

    async def close(self) -> None:
        """Nothing is open."""


class GuardedSession:
    """Requests that lead only where the guard lets them, also after a redirect.

    Args:
        guard: decides.
    """

    def __init__(self, guard: Guard) -> None:
        self._guard = guard
        self._session: aiohttp.ClientSession | None = None

    async def request(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None = None
    ) -> aiohttp.ClientResponse:
        """The answer, its body unread; close it.

        Raises:
            Forbidden: it leads where it may not.
            Upstream: no answer, or too many redirects.
            DeadlineExceeded: none in time.
        """
        for _ in range(REDIRECTS):
            await self._guard.check_url(url)
            response = await self._ask(method, url, headers, data)
            target = response.headers.get("Location")
            if response.status not in HTTP_REDIRECT or not target:
                return response
            response.close()
            url = urljoin(url, target)
        raise Upstream("The server redirects without end.")

    async def close(self) -> None:
        """End the connections."""
        if self._session is not None:
            await self._session.close()

    async def _ask(
        self, method: str, url: str, headers: dict[str, str], data: bytes | None
    ) -> aiohttp.ClientResponse:
        try:
            return await self._opened().request(
                method, url, headers=headers, data=data, allow_redirects=False
            )
        except TimeoutError:
            raise DeadlineExceeded("The mounted server does not answer.") from None
        except aiohttp.ClientError as error:
            raise Upstream("The mounted server cannot be reached.") from error

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(
                resolver=_GuardedResolver(self._guard),
                use_dns_cache=False,
                limit=CONNECTIONS,
                socket_factory=self._socket,
            )
            self._session = aiohttp.ClientSession(
                connector=connector,
                timeout=TIMEOUT,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                trust_env=False,
            )
        return self._session

    def _socket(self, info: tuple[Any, ...]) -> socket.socket:
        family, kind, protocol, _, address = info
        self._guard.check_peer(str(address[0]), int(address[1]))
        made = socket.socket(family, kind, protocol)
        made.setblocking(False)
        return made


class WebServer:
    """See `protocol.Place`.

    Args:
        url: of the folder there.
        session: for requests.
    """

    is_writable = False

    def __init__(self, url: str, session: GuardedSession) -> None:
        self._url = url.rstrip("/") + "/"
        self._session = session

    async def stat(self, rest: Rest) -> Found:
        """See `protocol.Place`."""
        if not rest:
            return Found("", "folder")
        response = await self._request("HEAD", self._address(rest), {})
        response.close()
        if urlsplit(str(response.url)).path.endswith("/"):
            return Found(rest[-1], "folder", 0, _modified(response))
        return _found(rest[-1], response)

    async def list(self, rest: Rest) -> list[Found]:
        """See `protocol.Place`."""
        address = self._address(rest)
        address = address if address.endswith("/") else address + "/"
        headers = {"Depth": "1", "Content-Type": "application/xml"}
        response = await self._session.request("PROPFIND", address, headers, PROPFIND)
        try:
            if response.status in HTTP_NOT_FOUND:
                raise NotFound("There is nothing at this path.")
            if response.status != HTTP_MULTI:
                raise NotSupported("This server tells no listings.")
            body = await _read(response)
        finally:
            response.close()
        return await asyncio.to_thread(_listing, body, urlsplit(str(response.url)).path)

    async def open(self, rest: Rest) -> tuple[Found, BlobReading]:
        """See `protocol.Place`."""
        found = await self.stat(rest)
        if found.kind == "folder":
            raise WrongType("That is a folder.")
        return found, _WebReading(self, self._address(rest), found)

    async def write(self, rest: Rest, body: Body) -> Found:
        """Never."""
        raise NotSupported("A mounted web server is not written to.")

    async def create_folder(self, rest: Rest) -> Found:
        """Never."""
        raise NotSupported("A mounted web server is not written to.")

    async def delete(self, rest: Rest, *, recursive: bool) -> None:
        """Never."""
        raise NotSupported("A mounted web server is not written to.")

    async def close(self) -> None:
        """See `protocol.Place`."""
        await self._session.close()

    async def get(self, address: str, headers: dict[str, str]) -> aiohttp.ClientResponse:
        """The beginning of an answer with bytes."""
        return await self._request("GET", address, headers)

    async def _request(
        self, method: str, address: str, headers: dict[str, str]
    ) -> aiohttp.ClientResponse:
        headers = {"Accept-Encoding": "identity", **headers}
        response = await self._session.request(method, address, headers)
        if response.status in {HTTP_OK, HTTP_PARTIAL}:
            return response
        response.close()
        if response.status in HTTP_NOT_FOUND:
            raise NotFound("There is nothing at this path.")
        if response.status in HTTP_REFUSED:
            raise Forbidden("The mounted server refuses that.")
        raise Upstream("The mounted server failed.", answer=response.status)

    def _address(self, rest: Rest) -> str:
        return self._url + "/".join(quote(name, safe="") for name in rest)


class _WebReading(ClosedAfterUse):
    """A file of a web server; each reading of pieces is one request."""

    data: bytes | None = None
    file: Path | None = None

    def __init__(self, server: WebServer, address: str, found: Found) -> None:
        self.ref = BlobRef("", found.size)
        self._server = server
        self._address = address
        self._etag = found.etag

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        begin, end = bounds(self.ref.size, start, stop)
        if begin == end:
            return
        is_part = (begin, end) != (0, self.ref.size)
        headers = {"Range": f"bytes={begin}-{end - 1}"} if is_part else {}
        response = await self._server.get(self._address, headers)
        try:
            if is_part and response.status != HTTP_PARTIAL:
                raise NotSupported("The mounted server gives no ranges.")
            if self._etag and response.headers.get("ETag", self._etag) != self._etag:
                raise Damaged("The file changed while it was read.")
            left = end - begin
            async for piece in response.content.iter_chunked(PIECE):
                left -= len(piece)
                if left < 0:
                    break
                yield piece
            if left:
                raise Upstream("The mounted server sent another number of bytes.")
        except TimeoutError:
            raise DeadlineExceeded("The mounted server fell silent.") from None
        except aiohttp.ClientError as error:
            raise Upstream("The mounted server broke off.") from error
        finally:
            response.close()


def _found(name: str, response: aiohttp.ClientResponse) -> Found:
    length = response.headers.get("Content-Length", "")
    if not re.fullmatch(r"[0-9]{1,18}", length):
        raise NotSupported("The mounted server tells no size.")
    return Found(name, "file", int(length), _modified(response), response.headers.get("ETag", ""))


def _modified(response: aiohttp.ClientResponse) -> int:
    return _nanoseconds(response.headers.get("Last-Modified"))


def _nanoseconds(date: str | None) -> int:
    try:
        told = parsedate_to_datetime(date or "")
        return int(told.astimezone(UTC).timestamp()) * 10**9
    except (ValueError, OverflowError):
        return 0


async def _read(response: aiohttp.ClientResponse) -> bytes:
    body = bytearray()
    try:
        async for piece in response.content.iter_chunked(PIECE):
            body += piece
            if len(body) > MOST_LISTING:
                raise Upstream("The mounted server's listing is too long.")
    except TimeoutError:
        raise DeadlineExceeded("The mounted server fell silent.") from None
    except aiohttp.ClientError as error:
        raise Upstream("The mounted server broke off.") from error
    return bytes(body)


def _listing(body: bytes, folder: str) -> list[Found]:
    """What a multistatus tells of the things right in *folder*."""
    try:
        tree = ElementTree.fromstring(body)
    except (ElementTree.ParseError, DefusedXmlException, ValueError) as error:
        raise Upstream("The mounted server's listing is no XML.") from error
    above = unquote(folder).rstrip("/") + "/"
    found = list[Found]()
    for item in tree.iterfind(f"{DAV}response"):
        path = unquote(urlsplit(item.findtext(f"{DAV}href", "")).path)
        name = path.removeprefix(above).rstrip("/")
        if not path.startswith(above) or not name or not _is_nameable(name):
            continue
        is_folder = item.find(f".//{DAV}collection") is not None
        size = item.findtext(f".//{DAV}getcontentlength", "0")
        found.append(
            Found(
                name,
                "folder" if is_folder else "file",
                int(size) if re.fullmatch(r"[0-9]{1,18}", size) and not is_folder else 0,
                _nanoseconds(item.findtext(f".//{DAV}getlastmodified")),
                item.findtext(f".//{DAV}getetag", "") or "",
            )
        )
    return found


def _is_nameable(name: str) -> bool:
    try:
        return names.check_name(name) == name
    except BadUrl:
        return False
