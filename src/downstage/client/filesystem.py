"""The client for fsspec: pandas, zarr, xarray and pathlib-like paths over ``omniverse://`` URLs.

::

    pandas.read_csv("omniverse://localhost/Data/a.csv")
    UPath("omniverse://localhost/Data").iterdir()
"""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, ClassVar, cast

from fsspec.asyn import AsyncFileSystem
from fsspec.spec import AbstractBufferedFile

from downstage.client import files
from downstage.client.client import Client, default_client
from downstage.client.types import CopyBehavior, ListEntry
from downstage.client.url_parts import decode, split
from downstage.client.urls import make_url
from downstage.kernel import errors

__all__ = ["DownstageFileSystem"]

SCHEMES = ("omniverse", "omni", "downstage")
CHECKPOINT = re.compile(r"\?(&[0-9]+)$")
_OURS: tuple[tuple[type[errors.PlatformError], type[OSError]], ...] = (
    (errors.NotFound, FileNotFoundError),
    (errors.AlreadyExists, FileExistsError),
    (errors.WrongType, IsADirectoryError),
    (errors.Forbidden, PermissionError),
    (errors.Unauthenticated, PermissionError),
    (errors.Locked, PermissionError),
    (errors.Unavailable, ConnectionError),
    (errors.DeadlineExceeded, TimeoutError),
)


class _OsErrors:
    """Turns our errors into those that users of files expect."""

    def __init__(self, path: str) -> None:
        self._path = path

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        if not isinstance(error, errors.PlatformError):
            return
        for ours, theirs in _OURS:
            if isinstance(error, ours):
                raise theirs(f"{error.detail} ({self._path})") from error
        raise OSError(f"{error.detail} ({self._path})") from error


class DownstageFileSystem(AsyncFileSystem):
    """Files of content servers. Inside it a path is ``host:port/folder/name``, decoded.

    What is given with its scheme is an address, and its escapes are decoded.
    """

    protocol: ClassVar[Any] = SCHEMES
    root_marker = ""
    cachable = True

    @classmethod
    def _strip_protocol(cls, path: Any) -> Any:
        if isinstance(path, list):
            return [cls._strip_protocol(item) for item in cast("list[Any]", path)]
        text = str(path)
        parts = split(text)
        if parts.scheme is None or parts.scheme.lower() not in SCHEMES:
            return text.rstrip("/")
        found = (parts.authority or "") + decode(parts.path).rstrip("/")
        return f"{found}?{parts.query}" if parts.query else found

    def unstrip_protocol(self, name: str) -> str:
        """The address of a path."""
        return self._url(self._strip_protocol(name))

    @staticmethod
    def _url(path: str) -> str:
        found = CHECKPOINT.search(path)
        query = found.group(1) if found else None
        plain = path[: found.start()] if found else path
        host, slash, rest = plain.partition("/")
        address = make_url("omniverse", path=slash + rest or "/", query=query, host="")
        return address.replace("omniverse://", f"omniverse://{host}", 1)

    async def _info(self, path: str, **kwargs: Any) -> dict[str, Any]:
        del kwargs
        path = self._strip_protocol(path)
        with _OsErrors(path):
            return _described(path, await files.stat_async(self._url(path)))

    async def _ls(self, path: str, detail: bool = True, **kwargs: Any) -> list[Any]:
        del kwargs
        path = self._strip_protocol(path)
        with _OsErrors(path):
            try:
                found = await files.list_async(self._url(path))
            except errors.WrongType:
                info = await self._info(path)
                return [info] if detail else [path]
        entries = [_described(f"{path}/{entry.relative_path}", entry) for entry in found]
        return entries if detail else [entry["name"] for entry in entries]

    async def _cat_file(
        self, path: str, start: int | None = None, end: int | None = None, **kwargs: Any
    ) -> bytes:
        del kwargs
        path = self._strip_protocol(path)
        url = self._url(path)
        with _OsErrors(path):
            if start is None and end is None:
                return bytes((await files.read_file_async(url))[1])
            first, last = start or 0, end
            if first < 0 or last is None or last < 0:
                size = (await files.stat_async(url)).size
                first = max(0, first + size) if first < 0 else first
                last = size if last is None else last + size if last < 0 else last
            return await default_client().run_async(_read_range, url, first, last)

    async def _pipe_file(
        self, path: str, value: bytes, mode: str = "overwrite", **kwargs: Any
    ) -> None:
        del kwargs
        path = self._strip_protocol(path)
        if mode == "create" and await self._exists(path):
            raise FileExistsError(path)
        with _OsErrors(path):
            await files.write_file_async(self._url(path), value)

    async def _put_file(self, lpath: str, rpath: str, **kwargs: Any) -> None:
        del kwargs
        path = self._strip_protocol(rpath)
        with _OsErrors(path):
            if Path(lpath).is_dir():  # noqa: ASYNC240 - fsspec's loop is its own
                await self._makedirs(path, exist_ok=True)
            else:
                await files.upload_async(lpath, self._url(path))

    async def _get_file(self, rpath: str, lpath: str, **kwargs: Any) -> None:
        del kwargs
        path = self._strip_protocol(rpath)
        with _OsErrors(path):
            if (await files.stat_async(self._url(path))).is_folder:
                Path(lpath).mkdir(parents=True, exist_ok=True)  # noqa: ASYNC240 - the same
            else:
                await files.download_async(self._url(path), lpath)

    async def _rm_file(self, path: str, **kwargs: Any) -> None:
        del kwargs
        path = self._strip_protocol(path)
        with _OsErrors(path):
            await files.delete_single_async(self._url(path))

    async def _rm(self, path: Any, recursive: bool = False, **kwargs: Any) -> None:
        del kwargs
        for item in cast("list[Any]", path) if isinstance(path, list) else [path]:
            plain = self._strip_protocol(item)
            with _OsErrors(plain):
                remove = files.delete_async if recursive else files.delete_single_async
                await remove(self._url(plain))

    async def _mkdir(self, path: str, create_parents: bool = True, **kwargs: Any) -> None:
        del create_parents, kwargs
        path = self._strip_protocol(path)
        with _OsErrors(path):
            await files.create_folder_async(self._url(path))

    async def _makedirs(self, path: str, exist_ok: bool = False) -> None:
        try:
            await self._mkdir(path)
        except FileExistsError:
            if not exist_ok:
                raise

    async def _rmdir(self, path: str) -> None:
        await self._rm_file(path)

    async def _cp_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        del kwargs
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with _OsErrors(source):
            if (await files.stat_async(self._url(source))).is_folder:
                await self._makedirs(target, exist_ok=True)
            else:
                await files.copy_async(self._url(source), self._url(target), CopyBehavior.OVERWRITE)

    async def _mv_file(self, path1: str, path2: str, **kwargs: Any) -> None:
        del kwargs
        source, target = self._strip_protocol(path1), self._strip_protocol(path2)
        with _OsErrors(source):
            await files.move_async(self._url(source), self._url(target), CopyBehavior.OVERWRITE)

    def created(self, path: str) -> datetime:
        """When it came to be."""
        return cast("datetime", self.info(path)["created"])

    def modified(self, path: str) -> datetime:
        """When it was changed last."""
        return cast("datetime", self.info(path)["mtime"])

    def ukey(self, path: str) -> str:
        """Changes with the content."""
        info = self.info(path)
        return str(info["hash"] or info["version"])

    def _open(self, path: str, mode: str = "rb", **kwargs: Any) -> Any:
        kwargs.pop("autocommit", None)
        if mode in {"ab", "r+b"}:
            raise NotImplementedError("files of the content service are written whole")
        if mode == "xb" and self.exists(path):
            raise FileExistsError(path)
        return _File(self, self._strip_protocol(path), "wb" if mode == "xb" else mode, **kwargs)


class _File(AbstractBufferedFile):
    """Reads by ranges; gathers what is written and sends it whole when it is closed."""

    def __init__(self, fs: DownstageFileSystem, path: str, mode: str, **kwargs: Any) -> None:
        super().__init__(fs, path, mode, **kwargs)
        self._gathered = bytearray()

    def _fetch_range(self, start: int, end: int) -> bytes:
        return cast("bytes", self.fs.cat_file(self.path, start=start, end=end))

    def _initiate_upload(self) -> None:
        self._gathered = bytearray()

    def _upload_chunk(self, final: bool = False) -> bool:
        buffer: Any = self.buffer
        self._gathered += buffer.getvalue()
        if final:
            self.fs.pipe_file(self.path, bytes(self._gathered))
        return True


def _described(path: str, entry: ListEntry) -> dict[str, Any]:
    return {
        "name": path,
        "size": entry.size,
        "type": "directory" if entry.is_folder else "file",
        "created": entry.created_datetime or datetime.fromtimestamp(0, UTC),
        "mtime": entry.modified_datetime or datetime.fromtimestamp(0, UTC),
        "version": entry.version,
        "hash": entry.hash,
        "url": entry.url,
    }


async def _read_range(client: Client, url: str, start: int, stop: int) -> bytes:
    place = client.place(url)
    return await (await client.provider(place)).read_range(place, start, stop)
