"""Any HTTP server, read only: HEAD is `stat`, GET is `read`, parts by Range."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

import msgspec.structs

from downstage.client.http import Http
from downstage.client.places import Place
from downstage.client.providers.provider import Copying, Incoming, Outgoing, Progress, Provider
from downstage.client.types import (
    AccessFlags,
    ItemFlags,
    ListEntry,
    ListIncludeOption,
    ServerInfo,
    WriteFileExInfo,
)
from downstage.kernel.errors import NotSupported, RangeNotSatisfiable, VersionMismatch

__all__ = ["HttpFiles", "entry_of_headers", "time_of", "whole_url"]

PIECE = 256 * 1024
NO_HEAD = frozenset({405, 501})
NO_RANGE = frozenset({416})
PARTIAL = 206
PLAIN = {"Accept-Encoding": "identity"}
"""Packed answers have neither the length nor the version of the file."""


class HttpFiles(Provider):
    """Files of a server of others.

    Args:
        http: to the server.
    """

    def __init__(self, http: Http) -> None:
        self.http = http

    async def stat(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> ListEntry:
        """What the headers say; a server without HEAD is asked for one byte."""
        url = whole_url(place)
        async with self.http.request("HEAD", url, headers=PLAIN, allowed=NO_HEAD) as response:
            if response.status not in NO_HEAD and "Content-Length" in response.headers:
                return entry_of_headers(place, response.headers)
        headers = {**PLAIN, "Range": "bytes=0-0"}
        async with self.http.request("GET", url, headers=headers, allowed=NO_RANGE) as response:
            entry = entry_of_headers(place, response.headers)
            total = response.headers.get("Content-Range", "").rpartition("/")[2]
            return _sized(entry, int(total)) if total.isdigit() else entry

    async def read_range(self, place: Place, start: int, stop: int) -> bytes:
        """The bytes from *start* up to *stop*; a server without ranges is read from the start."""
        if stop <= start:
            return b""
        headers = {**PLAIN, "Range": f"bytes={start}-{stop - 1}"}
        try:
            async with self.http.request("GET", whole_url(place), headers=headers) as response:
                if response.status == PARTIAL:
                    return await response.content.read(-1)
                found = bytearray()
                async for piece in response.content.iter_chunked(PIECE):
                    found += piece
                    if len(found) >= stop:
                        break
                return bytes(found[start:stop])
        except RangeNotSatisfiable:
            return b""

    @asynccontextmanager
    async def incoming(self, place: Place) -> AsyncGenerator[Incoming]:
        """A file, piece by piece."""
        async with self.http.request("GET", whole_url(place), headers=PLAIN) as response:
            entry = entry_of_headers(place, response.headers)
            # What was packed nevertheless is unpacked here, and no longer as long as it was.
            is_plain = "Content-Encoding" not in response.headers
            size = response.content_length if is_plain else None
            yield Incoming(size, entry.version or "", response.content.iter_chunked(PIECE))

    @asynccontextmanager
    async def rest(self, place: Place, start: int, entry: ListEntry) -> AsyncGenerator[Incoming]:
        """The bytes from *start* on, from servers that know ranges and versions."""
        if not entry.version:
            raise VersionMismatch("The server does not say which version it has.")
        is_date = entry.version.endswith(" GMT")
        headers = {
            "Range": f"bytes={start}-",
            "If-Range": entry.version if is_date else f'"{entry.version}"',
            **PLAIN,
        }
        async with self.http.request("GET", whole_url(place), headers=headers) as response:
            if response.status != PARTIAL:
                raise VersionMismatch("The file changed meanwhile.")
            pieces = response.content.iter_chunked(PIECE)
            yield Incoming(response.content_length, entry.version, pieces)

    async def write(
        self, place: Place, body: Outgoing, message: str, progress: Progress
    ) -> WriteFileExInfo:
        """It cannot."""
        raise _read_only()

    async def create_folder(self, place: Place) -> None:
        """It cannot."""
        raise _read_only()

    async def delete(self, place: Place, *, recursive: bool) -> None:
        """It cannot."""
        raise _read_only()

    async def copy(self, source: Place, target: Place, how: Copying) -> None:
        """It cannot."""
        raise _read_only()

    async def server_info(self, place: Place) -> ServerInfo:
        """What it calls itself."""
        async with self.http.request(
            "HEAD", self.http.origin.url + "/", allowed=frozenset(range(400, 600))
        ) as response:
            return ServerInfo(version=response.headers.get("Server", ""))

    async def reconnect(self, place: Place) -> None:
        """Try it again, whatever failed before."""
        self.http.breaker.reset()

    async def disconnect(self) -> None:
        """Close every connection."""
        await self.http.close()


def whole_url(place: Place) -> str:
    """The address with its query."""
    return place.url if place.query is None else f"{place.url}?{place.query}"


def entry_of_headers(place: Place, headers: Mapping[str, str]) -> ListEntry:
    """How a file is shown of which headers are known."""
    etag = headers.get("ETag", "").removeprefix("W/").strip('"')
    length = headers.get("Content-Length", "")
    return ListEntry(
        relative_path=place.name,
        access=AccessFlags.READ,
        flags=ItemFlags.READABLE_FILE | ItemFlags.DOES_NOT_HAVE_CHILDREN,
        size=int(length) if length.isdigit() else 0,
        modified_time=time_of(headers.get("Last-Modified", "")),
        created_time=0,
        version=etag or headers.get("Last-Modified") or None,
        url=whole_url(place),
    )


def time_of(text: str) -> int:
    """Nanoseconds since the epoch of an HTTP or ISO date; 0 where it is none."""
    try:
        found = datetime.fromisoformat(text) if text[:4].isdigit() else parsedate_to_datetime(text)
    except (ValueError, TypeError, IndexError):
        return 0
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    return int(found.timestamp()) * 1_000_000_000


def _sized(entry: ListEntry, size: int) -> ListEntry:
    return msgspec.structs.replace(entry, size=size)


def _read_only() -> NotSupported:
    return NotSupported("This HTTP server can only be read; see set_webdav for one that can more.")
