"""Where the bytes lie on disk, and the few durable steps that everything is made of.

::

    <folder>/tmp/          bodies on their way in; swept at start
    <folder>/blobs/aa/bb/  one file a content, named by its hash
    <folder>/packs/        differences of large files, many to a file
    <folder>/uploads/      parts of uploads that may be resumed
"""

from __future__ import annotations

import errno
import os
import secrets
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from downstage.kernel.errors import OutOfSpace

__all__ = ["RESERVE", "Layout", "disk_errors", "sync_folder", "write_all"]

RESERVE = 32 * 1024 * 1024
"""Bytes that bodies leave free on the disk, so that the database can still commit."""

FRESH_S = 0.2
"""Seconds for which the disk's answer about its room is believed, where there is plenty."""
SHARE = 8
"""Part of the room that is given away on one answer: others fill the disk too."""

AT_ONCE = 256 * 1024
"""Bytes of one call: for larger ones the kernel looks for larger pages, which at times takes it
longer than the copying (three times the processor time for 1 MiB, on Linux 6.18 with ext4)."""

_FULL = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EFBIG})


@contextmanager
def disk_errors() -> Generator[None]:
    """A full disk as `OutOfSpace`; every other error as it is."""
    try:
        yield
    except OSError as error:
        if error.errno in _FULL:
            raise OutOfSpace("There is no space left on the server's disk.") from error
        raise


def sync_folder(folder: Path) -> None:
    """Make the names in *folder* durable."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def write_all(descriptor: int, data: bytes | bytearray | memoryview) -> None:
    """Write all of *data*, in as many calls as it takes."""
    with memoryview(data) as view:
        done = 0
        while done < len(view):
            done += os.write(descriptor, view[done : done + AT_ONCE])


class Layout:
    """Names below one folder.

    Args:
        folder: of all content; made when missing.
        reserve: bytes to leave free on its disk.
    """

    def __init__(self, folder: Path, *, reserve: int = RESERVE) -> None:
        self.folder = folder
        self._reserve = reserve
        self._room = 0
        self._believed_until = 0.0

    def prepare(self) -> None:
        """Make the folders; they are for this user's eyes only."""
        for part in (self.folder, self.tmp, self.blobs, self.packs, self.uploads):
            part.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(self.folder)

    @property
    def tmp(self) -> Path:
        """Bodies on their way in."""
        return self.folder / "tmp"

    @property
    def blobs(self) -> Path:
        """Whole contents."""
        return self.folder / "blobs"

    @property
    def packs(self) -> Path:
        """Differences."""
        return self.folder / "packs"

    @property
    def uploads(self) -> Path:
        """Uploads in progress."""
        return self.folder / "uploads"

    def of(self, name: str) -> Path:
        """The file of a source's *name*."""
        return self.folder / name

    def temporary(self) -> Path:
        """A name that nobody has."""
        return self.tmp / secrets.token_hex(16)

    @staticmethod
    def blob_name(digest: str) -> str:
        """The source's name of a content that lies whole."""
        return f"blobs/{digest[:2]}/{digest[2:4]}/{digest}"

    @staticmethod
    def pack_name() -> str:
        """A new pack's."""
        return f"packs/{secrets.token_hex(12)}"

    def settle(self, temporary: Path, name: str) -> None:
        """Move a durable temporary file to its *name*, durably."""
        target = self.of(name)
        fresh = [folder for folder in (target.parent, target.parent.parent) if not folder.exists()]
        target.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        temporary.replace(target)
        sync_folder(target.parent)
        for folder in fresh:
            sync_folder(folder.parent)

    def check_room(self, size: int) -> None:
        """Refuse what cannot fit; small bodies are too many to ask the disk for each of them.

        Raises:
            OutOfSpace: *size* bytes would leave less than the reserve.
        """
        now = time.monotonic()
        if size <= self._room and now < self._believed_until:
            self._room -= size
            return
        status = os.statvfs(self.folder)
        free = status.f_bavail * status.f_frsize
        if free - size < self._reserve:
            raise OutOfSpace("There is no space left on the server's disk.", free_bytes=free)
        self._room = (free - size - self._reserve) // SHARE
        self._believed_until = now + FRESH_S
