"""Buckets: S3 through obstore, by path style or host, of Amazon or of any other server.

S3 has no folders: one is there as long as something lies in it, or a marker, an empty object whose
key ends with a slash (`providers.s3_markers`).
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import asynccontextmanager, contextmanager
from datetime import datetime
from functools import partial
from typing import Any, cast

import obstore
from obstore import exceptions
from obstore.store import S3Store

from downstage.client.http import Breaker
from downstage.client.options import Options, S3Options
from downstage.client.places import Place
from downstage.client.providers.provider import Copying, Incoming, Outgoing, Progress, Provider
from downstage.client.providers.s3_markers import Markers
from downstage.client.types import (
    AccessFlags,
    Content,
    ItemFlags,
    ListEntry,
    ListIncludeOption,
    ServerInfo,
    WriteFileExInfo,
)
from downstage.kernel import errors

__all__ = ["S3Files"]

s3: Any = obstore  # half of its signatures speak of Arrow, which is not here

PIECE = 4 * 1024 * 1024
PAGE = 1000
CODE = re.compile(r"<Error>.{0,200}?<Code>([A-Za-z0-9]{1,64})</Code>", re.DOTALL)
AT_ONCE = 16
WHOLE_S = 7 * 24 * 3600
"""Seconds for a whole object: as long as it moves, it may take."""
READ_WRITE = AccessFlags.READ | AccessFlags.WRITE
FILE = ItemFlags.READABLE_FILE | ItemFlags.WRITEABLE_FILE | ItemFlags.DOES_NOT_HAVE_CHILDREN
_ERRORS: tuple[tuple[type[Exception], type[errors.PlatformError]], ...] = (
    (FileNotFoundError, errors.NotFound),
    (exceptions.AlreadyExistsError, errors.AlreadyExists),
    (exceptions.PreconditionError, errors.VersionMismatch),
    (exceptions.PermissionDeniedError, errors.Forbidden),
    (exceptions.UnauthenticatedError, errors.Unauthenticated),
    (exceptions.InvalidPathError, errors.BadUrl),
    (exceptions.NotSupportedError, errors.NotSupported),
)


class S3Files(Provider):
    """Objects of one bucket.

    Args:
        place: anywhere in it.
        options: of the client.
    """

    def __init__(self, place: Place, options: Options) -> None:
        found = options.s3.get(place.authority) or options.s3.get("*") or S3Options()
        self._bucket = found.bucket or place.authority
        self._breaker = Breaker(options.closed_s)
        self._answer_s = options.answer_s
        self._has_answered = False
        self._make = partial(_store_of, self._bucket, found, options)
        self._made: S3Store | None = None
        self._markers = Markers(self._bucket, found, options)

    @property
    def _store(self) -> S3Store:
        if self._made is None:
            self._made = self._make()
        return self._made

    async def stat(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> ListEntry:
        """What is there; a folder where something lies in it."""
        key = _key(place)
        if key:
            try:
                with self._errors():
                    meta = await self._soon(s3.head_async(self._store, key))
            except errors.NotFound:
                pass
            else:
                return _entry(place, place.name, meta)
        if not key or await self._holds(key):
            return _folder(place, place.name)
        raise errors.NotFound("There is nothing there.")

    async def _holds(self, key: str) -> bool:
        with self._errors():
            found = await self._soon(s3.list_with_delimiter_async(self._store, key))
        if found["objects"] or found["common_prefixes"]:
            return True
        return await self._markers.has(key)

    async def entries(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> tuple[ListEntry, ...]:
        """What lies in a folder, by name."""
        if include is ListIncludeOption.ONLY_DELETED_FILES:
            return ()
        key = _key(place)
        with self._errors():
            found = await self._soon(s3.list_with_delimiter_async(self._store, key or None))
        entries = dict[str, ListEntry]()
        for meta in found["objects"]:
            name = str(meta["path"]).rpartition("/")[2]
            if meta["path"] != key and name:
                entries[name] = _entry(place.child(name), name, meta)
        for prefix in found["common_prefixes"]:
            name = prefix.rstrip("/").rpartition("/")[2]
            entries[name] = _folder(place.child(name), name)
        if not entries and not (await self.stat(place)).is_folder:
            raise errors.WrongType("That is a file.")
        return tuple(entries[name] for name in sorted(entries))

    async def read(self, place: Place, progress: Progress) -> tuple[str, Content]:
        """Version and bytes of an object."""
        async with self.incoming(place) as incoming:
            content, done = Content(incoming.size or 0), 0
            async for piece in incoming.pieces:
                content[done : done + len(piece)] = piece
                done += len(piece)
                progress(done, incoming.size or done)
            return incoming.version, content

    async def read_range(self, place: Place, start: int, stop: int) -> bytes:
        """The bytes from *start* up to *stop*."""
        entry = await self.stat(place)
        stop = min(stop, entry.size)
        if stop <= start:
            return b""
        with self._errors():
            found = await s3.get_range_async(self._store, _key(place), start=start, end=stop)
        return bytes(found)

    @asynccontextmanager
    async def incoming(self, place: Place) -> AsyncGenerator[Incoming]:
        """An object, piece by piece."""
        _refuse_versions(place)
        with self._errors():
            found = await self._soon(s3.get_async(self._store, _key(place)))
        meta = found.meta
        yield Incoming(int(meta["size"]), _version(meta), self._pieces(found))

    @asynccontextmanager
    async def rest(self, place: Place, start: int, entry: ListEntry) -> AsyncGenerator[Incoming]:
        """The bytes from *start* on of an object that is still that one."""
        _refuse_versions(place)
        with self._errors():
            meta = await s3.head_async(self._store, _key(place))
            if _version(meta) != entry.version or not meta["e_tag"]:
                raise errors.VersionMismatch("The object changed meanwhile.")
            options = {"range": {"offset": start}, "if_match": meta["e_tag"]}
            found = await s3.get_async(self._store, _key(place), options=options)
        yield Incoming(entry.size - start, entry.version or "", self._pieces(found))

    async def _pieces(self, found: Any) -> AsyncGenerator[memoryview]:
        with self._errors():
            async for piece in found.stream(min_chunk_size=PIECE):
                yield memoryview(piece)

    async def write(
        self, place: Place, body: Outgoing, message: str, progress: Progress
    ) -> WriteFileExInfo:
        """Make or replace an object."""
        _refuse_versions(place)
        key = _key(place)
        if not key:
            raise errors.WrongType("That is the bucket.")
        data: Any = body.data if body.data is not None else _told(body, progress)
        if not self._has_answered:
            await self._present(place)  # a dead server is found out soon, by what has a deadline
        with self._errors():
            made = await s3.put_async(self._store, key, data)
        return WriteFileExInfo(version=(made["e_tag"] or "").strip('"'))

    async def create_folder(self, place: Place) -> None:
        """Leave a marker."""
        if await self._present(place) is not None:
            raise errors.AlreadyExists("Something is there already.")
        await self._markers.put(_key(place))

    async def delete(self, place: Place, *, recursive: bool) -> None:
        """Remove an object, or everything below a folder."""
        entry = await self.stat(place)
        key = _key(place)
        if not entry.is_folder:
            with self._errors():
                await s3.delete_async(self._store, key)
            return
        keys = [key async for key in self._below(key)]
        if keys and not recursive:
            raise errors.FolderNotEmpty("The folder holds something.")
        with self._errors():
            for start in range(0, len(keys), PAGE):
                await s3.delete_async(self._store, keys[start : start + PAGE])
        await self._markers.remove_below(key)

    async def _below(self, key: str) -> AsyncIterator[str]:
        with self._errors():
            async for page in s3.list(self._store, key or None, chunk_size=PAGE):
                for meta in page:
                    if meta["path"] != key:
                        yield str(meta["path"])

    async def copy(self, source: Place, target: Place, how: Copying) -> None:
        """Copy inside the bucket, object by object."""
        _refuse_versions(source)
        entry = await self.stat(source)
        if how.only is not None and (how.only == "folder") != entry.is_folder:
            raise errors.WrongType(f"The source is no {how.only}.")
        there = await self._present(target)
        if there is not None and (not how.overwrite or there.is_folder != entry.is_folder):
            raise errors.AlreadyExists("Something is there already.")
        if not entry.is_folder:
            await self._copy_one(_key(source), _key(target))
            return
        inside = [key async for key in self._below(_key(source))]
        if not inside:
            await self._markers.put(_key(target))
        slots, done = asyncio.Semaphore(AT_ONCE), 0

        async def one(key: str) -> None:
            nonlocal done
            async with slots:
                rest = key.removeprefix(_key(source)).lstrip("/")
                await self._copy_one(key, f"{_key(target)}/{rest}")
            done += 1
            how.progress(min(done, len(inside) - 1), len(inside))

        await asyncio.gather(*(one(key) for key in inside))

    async def _copy_one(self, source: str, target: str) -> None:
        with self._errors():
            await s3.copy_async(self._store, source, target)

    async def move(self, source: Place, target: Place, how: Copying) -> bool:
        """Copy, then delete: S3 has nothing else."""
        await self.copy(source, target, how)
        await self.delete(source, recursive=True)
        return True

    async def _present(self, place: Place) -> ListEntry | None:
        try:
            return await self.stat(place)
        except errors.NotFound:
            return None

    async def server_info(self, place: Place) -> ServerInfo:
        """Of S3 little is known."""
        return ServerInfo(version="S3")

    async def reconnect(self, place: Place) -> None:
        """Try it again, whatever failed before."""
        self._breaker.reset()

    async def disconnect(self) -> None:
        """Close every connection; obstore closes its own with the store."""
        self._made = None
        await self._markers.close()

    async def _soon(self, call: Any) -> Any:
        """Await *call*; not long where this server has never answered yet."""
        try:
            async with asyncio.timeout(None if self._has_answered else self._answer_s):
                found = await call
        except exceptions.BaseError as error:
            self._has_answered = self._has_answered or not _is_unreachable(error)
            raise
        self._has_answered = True
        return found

    @contextmanager
    def _errors(self) -> Any:
        self._breaker.check()
        try:
            yield
        except errors.PlatformError:
            raise
        except (exceptions.BaseError, OSError, ValueError) as error:
            raise self._ours(error) from error

    def _ours(self, error: Exception) -> errors.PlatformError:
        for kind, ours in _ERRORS:
            if isinstance(error, kind):
                return ours("S3 said no.")
        if isinstance(error, TimeoutError) or _is_unreachable(error):
            self._breaker.failed("no connection")
            return errors.Unavailable("The S3 server cannot be reached.")
        code = found.group(1) if (found := CODE.search(str(error))) else ""
        if code == "NoSuchBucket":
            return errors.NotFound("There is no such bucket.")
        return errors.Upstream(f"S3 answered an error {code}".rstrip() + ".")


def _is_unreachable(error: Exception) -> bool:
    # With its blanks: addresses, which may hold any word but no blank, are in the text too.
    return "HTTP error: error sending request" in str(error)


def _store_of(bucket: str, found: S3Options, options: Options) -> S3Store:
    config: dict[str, Any] = {"virtual_hosted_style_request": not found.path_style}
    if found.region or found.endpoint:
        config["region"] = found.region or "us-east-1"
    if found.endpoint:
        config["endpoint"] = found.endpoint
    if found.access_key_id:
        config["access_key_id"] = found.access_key_id
        config["secret_access_key"] = found.secret_access_key
    client: dict[str, Any] = {
        "allow_http": found.allow_http,
        "connect_timeout": f"{options.connect_s}s",
        "timeout": f"{WHOLE_S}s",
        "read_timeout": f"{options.idle_s}s",
        "pool_idle_timeout": f"{options.keep_s}s",
    }
    retries: dict[str, Any] = {"max_retries": options.retries.times}
    return S3Store(
        bucket,
        config=cast("Any", config),
        client_options=cast("Any", client),
        retry_config=cast("Any", retries),
    )


async def _told(body: Outgoing, progress: Progress) -> AsyncGenerator[bytes]:
    done = 0
    async for piece in body.chunks():
        yield bytes(piece)
        done += len(piece)
        progress(done, body.size or done)


def _key(place: Place) -> str:
    return place.path.strip("/")


def _version(meta: Any) -> str:
    return str(meta["version"] or meta["e_tag"] or "").strip('"')


def _entry(place: Place, name: str, meta: Any) -> ListEntry:
    modified: datetime = meta["last_modified"]
    return ListEntry(
        relative_path=name,
        access=READ_WRITE,
        flags=FILE,
        size=int(meta["size"]),
        modified_time=int(modified.timestamp() * 1_000_000) * 1000,
        version=_version(meta) or None,
        url=place.url,
    )


def _folder(place: Place, name: str) -> ListEntry:
    return ListEntry(
        relative_path=name, access=READ_WRITE, flags=ItemFlags.CAN_HAVE_CHILDREN, url=place.url
    )


def _refuse_versions(place: Place) -> None:
    if place.checkpoint:
        raise errors.NotSupported("Buckets have no checkpoints.")
