"""Copies of files on this machine, by hash: verified, bounded, shared by a user's programs."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import suppress
from pathlib import Path
from secrets import token_hex

from downstage.client.types import Content

__all__ = ["Cache", "hash_of"]

LOWEST = 0.8
"""Share of the bound that is left after making room."""
ABANDONED_S = 24 * 3600
"""Seconds after which nobody writes to a part any more."""
CHECK_EVERY = 32
"""Copies between two looks at how much there is."""


class Cache:
    """A folder of files named by their BLAKE3; every call blocks, so call it in a thread.

    Args:
        folder: private to the user; made where it is missing.
        most: bytes that it may hold; 0: it keeps nothing.
    """

    def __init__(self, folder: Path, most: int) -> None:
        self._folder = folder
        self._most = most
        self._put_since_check = 0

    @property
    def is_kept(self) -> bool:
        """Whether anything is kept."""
        return self._most > 0

    def get(self, digest: str) -> Content | None:
        """The bytes with that hash; what is not them any more is removed."""
        path = self._path(digest)
        try:
            with path.open("rb") as file:
                content = Content(os.fstat(file.fileno()).st_size)
                file.readinto(content)
            os.utime(path)
        except OSError:
            return None
        if hash_of(content) != digest:
            path.unlink(missing_ok=True)
            return None
        return content

    def put(self, digest: str, data: bytes | bytearray | memoryview) -> Path | None:
        """Keep *data*, whose hash has been checked; None where it is too much for here."""
        if not self.is_kept or len(data) > self._most:
            return None
        path = self._path(digest)
        temporary = path.with_name(f".{token_hex(8)}.part")
        try:
            path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o400)
            with os.fdopen(handle, "wb") as file:
                file.write(data)
            temporary.replace(path)
        except OSError:
            # A full disk, or a home that cannot be written to, costs the copy, not the read.
            with suppress(OSError):
                temporary.unlink(missing_ok=True)
            return None
        self._put_since_check += 1
        if self._put_since_check >= CHECK_EVERY or len(data) * CHECK_EVERY > self._most:
            self._put_since_check = 0
            with suppress(OSError):
                self.make_room()
        return path

    def temporary(self) -> Path:
        """A new name in the folder, to write to and then `adopt`."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        return self._folder / f".{token_hex(8)}.part"

    def adopt(self, digest: str, temporary: Path) -> Path:
        """Keep the file *temporary*, whose hash has been checked."""
        path = self._path(digest)
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        temporary.chmod(0o400)
        temporary.replace(path)
        self.make_room()
        return path

    def make_room(self) -> None:
        """Remove what was used longest ago, where there is more than may be."""
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        with (self._folder / "lock").open("w") as lock:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError:
                return  # another program is at it
            self._remove_abandoned()
            found = list[tuple[float, int, Path]]()
            for path in self._folder.glob("??/*"):
                try:
                    seen = path.stat()
                except OSError:
                    continue
                found.append((seen.st_mtime, seen.st_size, path))
            total = sum(size for _, size, _ in found)
            if total <= self._most:
                return
            for _, size, path in sorted(found):
                if total <= self._most * LOWEST:
                    break
                path.unlink(missing_ok=True)
                total -= size

    def _remove_abandoned(self) -> None:
        """Take away what programs began that were killed."""
        oldest = time.time() - ABANDONED_S
        for path in self._folder.glob(".*.part"):
            with suppress(OSError):
                if path.stat().st_mtime < oldest:
                    path.unlink()

    def path(self, digest: str) -> Path | None:
        """Where the bytes with that hash lie, verified now; None where they do not."""
        return self._path(digest) if self.get(digest) is not None else None

    def _path(self, digest: str) -> Path:
        if not (digest.isascii() and digest.isalnum()):
            return self._folder / "no" / "such"
        return self._folder / digest[:2] / digest[2:]


def hash_of(data: bytes | bytearray | memoryview) -> str:
    """BLAKE3, hexadecimal; by several threads where there is much."""
    from blake3 import blake3

    threads = blake3.AUTO if len(data) > 1024 * 1024 else 1
    return blake3(data, max_threads=threads).hexdigest()
