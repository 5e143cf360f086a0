"""A WebDAV server, where one said that it is one: list, write, copy, move, delete."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from xml.etree.ElementTree import Element

from downstage.client.http import Http
from downstage.client.places import Place
from downstage.client.providers.http_files import HttpFiles, time_of, whole_url
from downstage.client.providers.provider import Copying, Outgoing, Progress
from downstage.client.types import (
    AccessFlags,
    ItemFlags,
    ListEntry,
    ListIncludeOption,
    WriteFileExInfo,
)
from downstage.client.url_parts import decode, split
from downstage.client.urls import combine_urls
from downstage.kernel import errors

__all__ = ["WebDavFiles"]

DAV = "{DAV:}"
PIECE = 256 * 1024
MULTI = 207
MISSING = frozenset({404, 409})
PRESENT = frozenset({405})
WHAT = (
    b'<?xml version="1.0"?><propfind xmlns="DAV:"><prop><resourcetype/><getcontentlength/>'
    b"<getlastmodified/><creationdate/><getetag/></prop></propfind>"
)
XML = {"Content-Type": "application/xml"}
MAX_ANSWER = 64 * 1024 * 1024
READ_WRITE = AccessFlags.READ | AccessFlags.WRITE


class WebDavFiles(HttpFiles):
    """Files of a WebDAV server.

    Args:
        http: to the server.
    """

    def __init__(self, http: Http) -> None:
        super().__init__(http)

    async def stat(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> ListEntry:
        """What the server's properties say."""
        found = await self._find(place, "0")
        if not found:
            raise errors.NotFound("There is nothing there.")
        return found[0][1].at(place.url, place.name)

    async def entries(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> tuple[ListEntry, ...]:
        """What lies in a folder, by name."""
        if include is ListIncludeOption.ONLY_DELETED_FILES:
            return ()
        entries = list[ListEntry]()
        for path, entry in await self._find(place, "1"):
            if path == place.path:
                if not entry.is_folder:
                    raise errors.WrongType("That is a file.")
                continue
            name = path.rpartition("/")[2]
            entries.append(entry.at(place.child(name).url, name))
        return tuple(sorted(entries, key=lambda entry: entry.relative_path))

    async def _find(self, place: Place, depth: str) -> list[tuple[str, ListEntry]]:
        from defusedxml.ElementTree import fromstring

        headers = {**XML, "Depth": depth}
        url = whole_url(place)
        async with self.http.request("PROPFIND", url, headers=headers, data=WHAT) as response:
            if response.status != MULTI:
                raise errors.NotSupported("The server does not speak WebDAV there.")
            body = await response.content.read(MAX_ANSWER)
            while more := await response.content.read(MAX_ANSWER - len(body)):
                body += more
        tree: Element = fromstring(body)
        return [_found(place, answer) for answer in tree.iter(f"{DAV}response")]

    async def write(
        self, place: Place, body: Outgoing, message: str, progress: Progress
    ) -> WriteFileExInfo:
        """Make or replace a file, and the folders above it."""
        await self._make_folders(place)
        length = body.length
        if length is None:  # few servers take a body that does not say how long it is
            body = Outgoing(data=await body.whole())
            length = body.length or 0
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(length)}
        pieces = _told(body, length, progress)
        async with self.http.request("PUT", place.url, headers=headers, data=pieces) as answer:
            etag = answer.headers.get("ETag", "").strip('"')
        return WriteFileExInfo(version=etag)

    async def _make_folders(self, place: Place) -> None:
        missing = list[str]()
        url = combine_urls(place.url, ".")
        while split(url).path not in {"", "/"}:
            if await self._is_there(url):
                break
            missing.append(url)
            url = combine_urls(url, "..")
        for url in reversed(missing):
            async with self.http.request("MKCOL", url, allowed=PRESENT):
                pass

    async def _is_there(self, url: str) -> bool:
        headers = {**XML, "Depth": "0"}
        async with self.http.request(
            "PROPFIND", url, headers=headers, data=WHAT, allowed=MISSING
        ) as response:
            return response.status == MULTI

    async def create_folder(self, place: Place) -> None:
        """Make a folder, and those above it."""
        await self._make_folders(place)
        async with self.http.request("MKCOL", place.url + "/", allowed=PRESENT) as response:
            if response.status in PRESENT:
                raise errors.AlreadyExists("Something is there already.")

    async def delete(self, place: Place, *, recursive: bool) -> None:
        """Remove a file or folder."""
        entry = await self.stat(place)
        if not recursive and entry.is_folder and await self.entries(place):
            raise errors.FolderNotEmpty("The folder holds something.")
        url = place.url + ("/" if entry.is_folder else "")
        async with self.http.request("DELETE", url):
            return

    async def copy(self, source: Place, target: Place, how: Copying) -> None:
        """Copy at the server; of two folders of one name, what only the target has stays."""
        await self._transfer("COPY", source, target, how)

    async def move(self, source: Place, target: Place, how: Copying) -> bool:
        """Move at the server."""
        await self._transfer("MOVE", source, target, how)
        return False

    async def _transfer(self, method: str, source: Place, target: Place, how: Copying) -> None:
        entry = await self.stat(source)
        if how.only is not None and (how.only == "folder") != entry.is_folder:
            raise errors.WrongType(f"The source is no {how.only}.")
        there = await self._entry(target)
        if there is not None and (not how.overwrite or there.is_folder != entry.is_folder):
            raise errors.AlreadyExists("Something is there already.")
        if there is not None and entry.is_folder:
            for child in await self.entries(source):
                inner = source.child(child.relative_path), target.child(child.relative_path)
                await self._transfer(method, *inner, Copying(overwrite=True))
            if method == "MOVE":
                await self.delete(source, recursive=False)  # what came meanwhile stays
            return
        await self._make_folders(target)
        slash = "/" if entry.is_folder else ""
        headers = {"Destination": target.url + slash, "Overwrite": "T" if how.overwrite else "F"}
        async with self.http.request(method, source.url + slash, headers=headers):
            return

    async def _entry(self, place: Place) -> ListEntry | None:
        try:
            return await self.stat(place)
        except errors.NotFound:
            return None


async def _told(body: Outgoing, length: int, progress: Progress) -> AsyncGenerator[bytes]:
    done = 0
    async for piece in body.chunks():
        view = memoryview(piece).cast("B")
        for start in range(0, len(view), PIECE):
            part = bytes(view[start : start + PIECE])
            yield part
            done += len(part)
            progress(done, length)


def _found(place: Place, answer: Element) -> tuple[str, ListEntry]:
    href = (answer.findtext(f"{DAV}href") or "").strip()
    path = decode(split(combine_urls(place.url, href)).path).rstrip("/") or "/"

    def text(name: str) -> str:
        found = answer.find(f".//{DAV}prop/{DAV}{name}")
        return "" if found is None else (found.text or "").strip()

    is_folder = answer.find(f".//{DAV}resourcetype/{DAV}collection") is not None
    flags = ItemFlags.READABLE_FILE | ItemFlags.WRITEABLE_FILE | ItemFlags.DOES_NOT_HAVE_CHILDREN
    size, etag = text("getcontentlength"), text("getetag").removeprefix("W/").strip('"')
    return path, ListEntry(
        access=READ_WRITE,
        flags=ItemFlags.CAN_HAVE_CHILDREN if is_folder else flags,
        size=int(size) if size.isdigit() and not is_folder else 0,
        modified_time=time_of(text("getlastmodified")),
        created_time=time_of(text("creationdate")),
        version=etag or None,
    )
