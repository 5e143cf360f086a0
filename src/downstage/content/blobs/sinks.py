"""Where a large body goes while it comes in: to a temporary file, hashed in passing.

Everything here blocks and belongs in a worker's thread, one call at a time.
"""

from __future__ import annotations

import ctypes
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Protocol

import blake3

from downstage.content.blobs.layout import AT_ONCE, Layout, disk_errors, write_all
from downstage.content.blobs.protocol import Extent
from downstage.kernel.chaos import point

__all__ = ["FileSink", "RangeSink", "Sink", "WholeSink", "start_writeback"]

WRITEBACK_EVERY = 8 * 1024 * 1024
"""Bytes after which the kernel is told to begin writing: the sync at the end is short then."""

READ = 1024 * 1024
"""Bytes read at a time."""

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2


def start_writeback(descriptor: int, offset: int, length: int) -> None:
    """Have the kernel begin to write a range; a hint, failure means nothing."""
    _libc.sync_file_range(
        ctypes.c_int(descriptor),
        ctypes.c_int64(offset),
        ctypes.c_int64(length),
        ctypes.c_uint(_SYNC_FILE_RANGE_WRITE),
    )


class Sink(Protocol):
    """A body on its way in."""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Take the next bytes.

        Raises:
            OutOfSpace: the disk is full.
        """
        ...

    def digest(self) -> str:
        """Hash of everything written; nothing may be written after."""
        ...

    def settle(self) -> Sequence[Extent]:
        """Make it durable under its name; then say where it lies."""
        ...

    def abort(self) -> None:
        """Remove what is not settled; idempotent."""
        ...


class RangeSink:
    """Part of a file that exists, from *at* on; the file is another's.

    Args:
        descriptor: of the file.
        at: where the body begins in it.
    """

    def __init__(self, descriptor: int, at: int) -> None:
        self._descriptor = descriptor
        self.at = at

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """See `Sink`."""
        with disk_errors(), memoryview(data) as view:
            done = 0
            while done < len(view):
                written = os.pwrite(self._descriptor, view[done : done + AT_ONCE], self.at)
                done += written
                self.at += written


class FileSink:
    """A file that is there already: it gets a second name, and no copy.

    Args:
        layout: of the folder; the file lies on the same disk.
        path: of the file; nobody writes to it any more.
    """

    def __init__(self, layout: Layout, path: Path) -> None:
        self._layout = layout
        self._path = path
        self._link = layout.temporary()
        self._digest = ""

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """Never: it is all there."""
        raise NotImplementedError

    def digest(self) -> str:
        """See `Sink`."""
        digest = blake3.blake3()
        with self._path.open("rb", 0) as file:
            while piece := file.read(READ):
                digest.update(piece)
        self._digest = digest.hexdigest()
        return self._digest

    def settle(self) -> Sequence[Extent]:
        """See `Sink`."""
        name = self._layout.blob_name(self._digest)
        with disk_errors():
            with self._path.open("rb", 0) as file:
                os.fdatasync(file.fileno())
                size = os.fstat(file.fileno()).st_size
            self._link.hardlink_to(self._path)
            point("content.blob.linked")
            self._layout.settle(self._link, name)
            point("content.blob.renamed")
        return (Extent(name, 0, size),)

    def abort(self) -> None:
        """See `Sink`."""
        self._link.unlink(missing_ok=True)


class WholeSink:
    """One file for one content.

    Raises:
        OutOfSpace: the disk is full.
    """

    def __init__(self, layout: Layout) -> None:
        self._layout = layout
        self._path = layout.temporary()
        with disk_errors():
            self._descriptor = os.open(
                self._path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
            )
        self._hash = blake3.blake3()
        self._size = 0
        self._started = 0

    def write(self, data: bytes | bytearray | memoryview, /) -> None:
        """See `Sink`."""
        self._hash.update(data)
        with disk_errors():
            write_all(self._descriptor, data)
        self._size += len(data)
        if self._size - self._started >= WRITEBACK_EVERY:
            start_writeback(self._descriptor, self._started, self._size - self._started)
            self._started = self._size

    def digest(self) -> str:
        """See `Sink`."""
        return self._hash.hexdigest()

    def settle(self) -> Sequence[Extent]:
        """See `Sink`."""
        name = self._layout.blob_name(self.digest())
        with disk_errors():
            point("content.blob.written")
            os.fdatasync(self._descriptor)
            point("content.blob.synced")
            self._layout.settle(self._path, name)
            point("content.blob.renamed")
        self._close()
        return (Extent(name, 0, self._size),)

    def abort(self) -> None:
        """See `Sink`."""
        if self._descriptor >= 0:
            self._close()
            self._path.unlink(missing_ok=True)

    def _close(self) -> None:
        os.close(self._descriptor)
        self._descriptor = -1
