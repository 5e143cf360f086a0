"""A folder of this machine."""

from __future__ import annotations

import errno
import os
import secrets
import shutil
import stat
from collections.abc import AsyncIterator, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

import anyio

from downstage.content import names
from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.layout import disk_errors, write_all
from downstage.content.blobs.protocol import BlobReading, BlobRef, Body
from downstage.content.blobs.reading import PIECE, ClosedAfterUse, bounds
from downstage.content.mounts.beneath import Beneath, is_shown, open_for_reading, reopen
from downstage.content.mounts.protocol import Found, Rest, pieces_of
from downstage.kernel.errors import (
    AlreadyExists,
    BadUrl,
    FolderNotEmpty,
    Forbidden,
    NotFound,
    SetupError,
    Upstream,
    WrongType,
)

__all__ = ["LocalFolder"]

TEMPORARY = ".downstage-"
"""How names of files begin that are still being written; they do not show."""
MOST = 100_000
"""Things that one folder shows."""


class LocalFolder:
    """See `protocol.Place`.

    Args:
        folder: of this machine; opened once, so that moving it away shows nothing else.
        pool: of workers.
        writable: whether it may be changed.
        one_call: see `Beneath`.

    Raises:
        SetupError: there is no such folder.
    """

    def __init__(
        self, folder: Path, pool: ThreadPoolExecutor, *, writable: bool, one_call: bool = True
    ) -> None:
        try:
            self._root = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except OSError as error:
            raise SetupError(f"There is no folder {folder}.") from error
        self._owner = os.fstat(self._root).st_uid
        self._beneath = Beneath(self._root, one_call=one_call)
        self._pool = pool
        self.is_writable = writable

    async def stat(self, rest: Rest) -> Found:
        """See `protocol.Place`."""
        return await in_worker(self._pool, lambda: self._stat(rest))

    async def list(self, rest: Rest) -> list[Found]:
        """See `protocol.Place`."""
        return await in_worker(self._pool, lambda: self._list(rest))

    async def open(self, rest: Rest) -> tuple[Found, BlobReading]:
        """See `protocol.Place`."""

        def job() -> tuple[Found, BlobReading]:
            with _faults():
                descriptor = open_for_reading(self._beneath, rest, self._owner)
            status = os.fstat(descriptor)
            found = _found(rest[-1], status)
            return found, _LocalReading(descriptor, status.st_size, self._pool)

        return await in_worker(self._pool, job, undo=lambda opened: opened[1].close())

    async def write(self, rest: Rest, body: Body) -> Found:
        """See `protocol.Place`."""
        folder = await in_worker(self._pool, lambda: self._folder(rest[:-1]), undo=os.close)
        temporary = TEMPORARY + secrets.token_hex(12)
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
            with _faults():
                file = os.open(temporary, flags, 0o644, dir_fd=folder)
            try:
                async for piece in pieces_of(body):
                    await in_worker(self._pool, lambda: _write(file, piece))  # noqa: B023
                await in_worker(self._pool, lambda: _settle(file, temporary, rest[-1], folder))
                return _found(rest[-1], os.fstat(file))
            finally:
                os.close(file)
        finally:
            with anyio.CancelScope(shield=True):
                await in_worker(self._pool, lambda: _remove(temporary, folder))
            os.close(folder)

    async def create_folder(self, rest: Rest) -> Found:
        """See `protocol.Place`."""

        def job() -> Found:
            folder = self._folder(rest[:-1])
            try:
                with _faults():
                    os.mkdir(rest[-1], 0o755, dir_fd=folder)
                    os.fsync(folder)
            finally:
                os.close(folder)
            return self._stat(rest)

        return await in_worker(self._pool, job)

    async def delete(self, rest: Rest, *, recursive: bool) -> None:
        """See `protocol.Place`."""
        await in_worker(self._pool, lambda: self._delete(rest, recursive=recursive))

    async def close(self) -> None:
        """See `protocol.Place`."""
        root, self._root = self._root, -1
        if root >= 0:
            os.close(root)

    def _stat(self, rest: Rest) -> Found:
        with _faults():
            path = self._beneath.open(rest)
        try:
            status = os.fstat(path)
        finally:
            os.close(path)
        if not is_shown(status, self._owner):
            raise NotFound("There is nothing at this path.")
        return _found(rest[-1] if rest else "", status)

    def _list(self, rest: Rest) -> list[Found]:
        found = list[Found]()
        folder = self._folder(rest)
        try:
            with _faults(), os.scandir(folder) as entries:
                for entry in entries:
                    if not _is_nameable(entry.name):
                        continue
                    status = entry.stat(follow_symlinks=False)
                    if is_shown(status, self._owner):
                        found.append(_found(entry.name, status))
                    if len(found) >= MOST:
                        break
        finally:
            os.close(folder)
        return found

    def _delete(self, rest: Rest, *, recursive: bool) -> None:
        is_folder = self._stat(rest).kind == "folder"
        folder = self._folder(rest[:-1])
        try:
            with _faults():
                if not is_folder:
                    os.unlink(rest[-1], dir_fd=folder)
                elif recursive:
                    shutil.rmtree(rest[-1], dir_fd=folder)  # from descriptor to descriptor
                else:
                    os.rmdir(rest[-1], dir_fd=folder)
        finally:
            os.close(folder)

    def _folder(self, rest: Rest) -> int:
        """A folder to list or to change.

        Raises:
            WrongType: it is none.
        """
        with _faults():
            path = self._beneath.open(rest)
            try:
                status = os.fstat(path)
                if not is_shown(status, self._owner):
                    raise NotFound("There is nothing at this path.")
                if not stat.S_ISDIR(status.st_mode):
                    raise WrongType("That is no folder.")
                return reopen(path, os.O_RDONLY | os.O_DIRECTORY)
            finally:
                os.close(path)


class _LocalReading(ClosedAfterUse):
    """The bytes of an open file; a file that shrinks meanwhile breaks off."""

    data: bytes | None = None
    file: Path | None = None

    def __init__(self, descriptor: int, size: int, pool: ThreadPoolExecutor) -> None:
        self.ref = BlobRef("", size)
        self._descriptor = descriptor
        self._pool = pool

    async def pieces(self, start: int = 0, stop: int | None = None) -> AsyncIterator[bytes]:
        begin, end = bounds(self.ref.size, start, stop)
        while begin < end:
            size = min(PIECE, end - begin)
            piece = await in_worker(
                self._pool,
                lambda: os.pread(self._descriptor, size, begin),  # noqa: B023
            )
            if not piece:
                raise Upstream("The file became shorter while it was read.")
            begin += len(piece)
            yield piece

    def close(self) -> None:
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            os.close(descriptor)


def _found(name: str, status: os.stat_result) -> Found:
    etag = f"{status.st_mtime_ns:x}-{status.st_size:x}-{status.st_ino:x}"
    if stat.S_ISDIR(status.st_mode):
        return Found(name, "folder", 0, status.st_mtime_ns, etag)
    return Found(name, "file", status.st_size, status.st_mtime_ns, etag)


def _is_nameable(name: str) -> bool:
    """Whether a path can lead there: in NFC, valid UTF-8, and not being written."""
    try:
        return not name.startswith(TEMPORARY) and names.check_name(name) == name
    except (BadUrl, UnicodeError):
        return False


def _write(descriptor: int, piece: bytes) -> None:
    with disk_errors():
        write_all(descriptor, piece)


def _settle(file: int, temporary: str, name: str, folder: int) -> None:
    with _faults():
        os.fdatasync(file)
        os.rename(temporary, name, src_dir_fd=folder, dst_dir_fd=folder)
        os.fsync(folder)


def _remove(temporary: str, folder: int) -> None:
    try:
        os.unlink(temporary, dir_fd=folder)
    except FileNotFoundError:
        return


@contextmanager
def _faults() -> Generator[None]:
    """The system's errors as ours."""
    try:
        with disk_errors():
            yield
    except FileNotFoundError:
        raise NotFound("There is nothing at this path.") from None
    except FileExistsError:
        raise AlreadyExists("There is something already.") from None
    except (IsADirectoryError, NotADirectoryError):
        raise WrongType("A folder where a file is needed, or the reverse.") from None
    except PermissionError:
        raise Forbidden("The server may not do that in this folder.") from None
    except OSError as error:
        if error.errno == errno.ENOTEMPTY:
            raise FolderNotEmpty("The folder is not empty.") from None
        raise Upstream("The mounted folder failed.", errno=error.errno) from error
