"""A bucket of an object store that speaks S3.

Where it lies and who asks comes from the operator's environment (``AWS_ENDPOINT_URL``,
``AWS_ACCESS_KEY_ID``, …), never from who mounts.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

import obstore
from obstore.exceptions import (
    BaseError,
    PermissionDeniedError,
    PreconditionError,
    UnauthenticatedError,
)
from obstore.store import S3Store

from downstage.content import names
from downstage.content.blobs.protocol import BlobReading, BlobRef, Body
from downstage.content.blobs.reading import ClosedAfterUse, bounds
from downstage.content.mounts.protocol import Found, Rest, pieces_of
from downstage.kernel.errors import (
    BadUrl,
    Damaged,
    Forbidden,
    NotFound,
    NotSupported,
    PlatformError,
    Upstream,
    WrongType,
)

if TYPE_CHECKING:
    from obstore import ObjectMeta

__all__ = ["Bucket"]

PIECE = 1024 * 1024

TIMEOUT = timedelta(seconds=30)
MOST = 100_000


class Bucket:
    """See `protocol.Place`.

    Args:
        name: of the bucket.
        prefix: all keys begin with it; empty, or without a slash at its ends.
        writable: whether it may be changed.
    """

    def __init__(self, name: str, prefix: str, *, writable: bool) -> None:
        self._store = S3Store(
            name,
            prefix=prefix or None,
            client_options={"timeout": TIMEOUT, "allow_http": True},
            retry_config={"max_retries": 3, "retry_timeout": TIMEOUT},
        )
        self.is_writable = writable

    async def stat(self, rest: Rest) -> Found:
        """See `protocol.Place`."""
        if not rest:
            return Found("", "folder")
        key = "/".join(rest)
        try:
            meta = await obstore.head_async(self._store, key)
        except (BaseError, FileNotFoundError) as error:
            fault = _fault(error)
            if not isinstance(fault, NotFound):
                raise fault from error
        else:
            return _found(rest[-1], meta)
        if await self._first(key + "/"):
            return Found(rest[-1], "folder")
        raise NotFound("There is nothing at this path.")

    async def list(self, rest: Rest) -> list[Found]:
        """See `protocol.Place`."""
        prefix = "/".join(rest)
        try:
            page = await obstore.list_with_delimiter_async(  # pyright: ignore[reportUnknownMemberType] its Arrow form needs arro3
                self._store, prefix or None
            )
        except (BaseError, FileNotFoundError) as error:
            raise _fault(error) from error
        found = [Found(name, "folder") for name in map(_last, page["common_prefixes"])]
        found += [
            _found(_last(meta["path"]), meta)
            for meta in page["objects"]
            if meta["path"].rstrip("/") != prefix
        ]
        if not found and rest and (await self.stat(rest)).kind != "folder":
            raise WrongType("That is no folder.")
        return [one for one in found if _is_nameable(one.name)][:MOST]

    async def open(self, rest: Rest) -> tuple[Found, BlobReading]:
        """See `protocol.Place`."""
        found = await self.stat(rest)
        if found.kind == "folder":
            raise WrongType("That is a folder.")
        return found, _ObjectReading(self._store, "/".join(rest), found)

    async def write(self, rest: Rest, body: Body) -> Found:
        """See `protocol.Place`."""
        source = body if isinstance(body, bytes) else _sound(pieces_of(body))
        try:
            await obstore.put_async(self._store, "/".join(rest), source)
        except (BaseError, FileNotFoundError) as error:
            raise _fault(error) from error
        return await self.stat(rest)

    async def create_folder(self, rest: Rest) -> Found:
        """Never: a folder is there when something lies in it."""
        raise NotSupported("A bucket holds no empty folders; write a file.")

    async def delete(self, rest: Rest, *, recursive: bool) -> None:
        """See `protocol.Place`."""
        found = await self.stat(rest)
        key = "/".join(rest)
        try:
            if found.kind == "file":
                await obstore.delete_async(self._store, key)
            elif not recursive:
                raise NotSupported("A bucket's folder goes with what it holds.")
            else:
                async for page in self._pages(key + "/"):
                    await obstore.delete_async(self._store, [meta["path"] for meta in page])
        except (BaseError, FileNotFoundError) as error:
            raise _fault(error) from error

    async def close(self) -> None:
        """Nothing to give back."""

    def _pages(self, prefix: str, size: int = 500) -> AsyncIterator[Sequence[ObjectMeta]]:
        """Everything whose key begins so."""
        return obstore.list(self._store, prefix, chunk_size=size)  # pyright: ignore[reportUnknownMemberType] see `list`

    async def _first(self, prefix: str) -> bool:
        """Whether any key begins so."""
        try:
            async for page in self._pages(prefix, 1):
                return bool(page)
        except (BaseError, FileNotFoundError) as error:
            raise _fault(error) from error
        return False


class _ObjectReading(ClosedAfterUse):
    """The bytes of an object, as long as it is the one that was found."""

    data: bytes | None = None
    file: Path | None = None

    def __init__(self, store: S3Store, key: str, found: Found) -> None:
        self.ref = BlobRef("", found.size)
        self._store = store
        self._key = key
        self._etag = found.etag

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        begin, end = bounds(self.ref.size, start, stop)
        if begin == end:
            return
        try:
            answer = await obstore.get_async(
                self._store,
                self._key,
                options={"range": (begin, end), "if_match": self._etag or None},
            )
            async for piece in answer.stream(min_chunk_size=PIECE):
                yield bytes(piece)
        except (BaseError, FileNotFoundError) as error:
            raise _fault(error) from error


async def _sound(pieces: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """The pieces that hold something: an empty one would end the upload."""
    async for piece in pieces:
        if piece:
            yield piece


def _found(name: str, meta: ObjectMeta) -> Found:
    at = int(meta["last_modified"].timestamp() * 1e6) * 1000
    return Found(name, "file", meta["size"], at, meta["e_tag"] or "")


def _last(key: str) -> str:
    return key.rstrip("/").rpartition("/")[2]


def _is_nameable(name: str) -> bool:
    try:
        return names.check_name(name) == name
    except BadUrl:
        return False


def _fault(error: Exception) -> PlatformError:
    if isinstance(error, FileNotFoundError):
        return NotFound("There is nothing at this path.")
    if isinstance(error, (PermissionDeniedError, UnauthenticatedError)):
        return Forbidden("The mounted bucket refuses that.")
    if isinstance(error, PreconditionError):
        return Damaged("The file changed while it was read.")
    return Upstream("The mounted bucket failed.")
