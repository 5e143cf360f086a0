"""The files of uploads in progress: ``<id>`` for ranges, ``<id>.<number>`` for parts."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator, Collection, Iterable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Self

import anyio
import blake3

from downstage.content.blobs.intake import in_worker
from downstage.content.blobs.layout import disk_errors, sync_folder
from downstage.content.blobs.sinks import RangeSink
from downstage.content.blobs.store import DiskBlobs
from downstage.content.upload_rows import Part
from downstage.kernel.chaos import point
from downstage.kernel.errors import Conflict

__all__ = ["RangeFile", "UploadFiles"]

READ = 1024 * 1024


class _PartSink:
    """Hashes what goes into a part."""

    def __init__(self, descriptor: int) -> None:
        self._sink = RangeSink(descriptor, 0)
        self.hash = blake3.blake3()

    def write(self, data: bytes | bytearray, /) -> None:
        self._sink.write(data)
        self.hash.update(data)


class UploadFiles:
    """Writes what arrives, durably before it is told.

    Args:
        store: whose workers, bounds and folder are used.
    """

    def __init__(self, store: DiskBlobs) -> None:
        self._store = store
        self._folder = store.layout.uploads

    def whole(self, upload_id: str) -> Path:
        """The file of a range upload."""
        return self._folder / upload_id

    def part(self, upload_id: str, number: int) -> Path:
        """The file of one part."""
        return self._folder / f"{upload_id}.{number}"

    def range(self, upload_id: str, start: int) -> RangeFile:
        """Write into the file of a range upload, from *start* on."""
        return RangeFile(self._store.pool, self.whole(upload_id), start)

    async def write_part(
        self,
        upload_id: str,
        number: int,
        body: AsyncIterator[bytes],
        *,
        max_size: int | None,
        idle_s: float | None,
    ) -> Part:
        """Write a part, whole or not at all, in place of an earlier one.

        Raises:
            OutOfSpace: the disk is full.
            TooLarge: more than *max_size*.
        """
        temporary = self._store.layout.temporary()
        target = self.part(upload_id, number)
        try:
            descriptor = await in_worker(
                self._store.pool, lambda: _create(temporary), undo=os.close
            )
            sink = _PartSink(descriptor)
            try:
                size = await self._store.take(body, sink, max_size=max_size, idle_s=idle_s)
            finally:
                with anyio.CancelScope(shield=True):
                    await in_worker(self._store.pool, lambda: _sync_and_close(descriptor))
            await in_worker(self._store.pool, lambda: _settle(temporary, target))
            point("content.upload.part_settled")
        finally:
            with anyio.CancelScope(shield=True):
                await in_worker(self._store.pool, lambda: temporary.unlink(missing_ok=True))
        return Part(number, size, sink.hash.hexdigest())

    async def joined(self, upload_id: str, numbers: Iterable[int]) -> AsyncIterator[bytes]:
        """The bytes of parts, one behind the other."""
        for number in numbers:
            with self.part(upload_id, number).open("rb", 0) as file:
                while piece := await in_worker(self._store.pool, lambda: file.read(READ)):
                    yield piece

    async def remove(self, upload_ids: Collection[str]) -> None:
        """Delete all files of uploads."""

        def job() -> None:
            for path in self._folder.iterdir():
                if path.name.partition(".")[0] in upload_ids:
                    path.unlink(missing_ok=True)

        if upload_ids:
            await in_worker(self._store.pool, job)

    async def sweep(self) -> int:
        """Delete files of uploads that have no row; how many."""
        return await in_worker(self._store.pool, self._sweep)

    def _sweep(self) -> int:
        removed = 0
        with self._store.database.read() as db:
            known = {row[0] for row in db.execute("SELECT id FROM upload")}
        for path in self._folder.iterdir():
            if path.name.partition(".")[0] not in known:
                path.unlink()
                removed += 1
        return removed


class RangeFile:
    """The file of a range upload while a body goes into it.

    Durable when the block ends, however it does; `durable` tells up to where.

    Raises:
        Conflict: the upload was finished before a crash: the file is the store's now.
        OutOfSpace: the disk is full.
    """

    def __init__(self, pool: ThreadPoolExecutor, path: Path, start: int) -> None:
        self._pool = pool
        self._path = path
        self._start = start
        self._sink: RangeSink | None = None
        self._descriptor = -1
        self.durable = start

    async def __aenter__(self) -> Self:
        self._descriptor = await in_worker(self._pool, self._open, undo=os.close)
        self._sink = RangeSink(self._descriptor, self._start)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        with anyio.CancelScope(shield=True):
            await in_worker(self._pool, lambda: _sync_and_close(self._descriptor))
        point("content.upload.synced")
        if self._sink is not None:
            self.durable = self._sink.at

    def write(self, data: bytes | bytearray, /) -> None:
        """Take the next bytes; in a worker."""
        if self._sink is not None:
            self._sink.write(data)

    def _open(self) -> int:
        with disk_errors():
            flags = os.O_WRONLY | os.O_CREAT | os.O_CLOEXEC
            descriptor = os.open(self._path, flags, 0o600)
        status = os.fstat(descriptor)
        if status.st_nlink > 1:
            os.close(descriptor)
            raise Conflict("This upload was finished.")
        if status.st_size == 0:
            sync_folder(self._path.parent)
        return descriptor


def _create(path: Path) -> int:
    with disk_errors():
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)


def _sync_and_close(descriptor: int) -> None:
    try:
        with disk_errors():
            os.fdatasync(descriptor)
    finally:
        os.close(descriptor)


def _settle(temporary: Path, target: Path) -> None:
    temporary.replace(target)
    sync_folder(target.parent)
