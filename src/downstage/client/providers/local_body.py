"""A file of this machine as a body to send: read in pieces by threads, from any byte on."""

from __future__ import annotations

import asyncio
import os
import stat as modes
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

from downstage.client.providers.disk import os_errors
from downstage.client.providers.provider import Outgoing
from downstage.kernel.errors import VersionMismatch, WrongType

__all__ = ["LocalFile", "local_body"]

PIECE = 1024 * 1024


class LocalFile:
    """An open file whose bytes must not change while they are sent; `close` it.

    Args:
        path: of it.

    Raises:
        WrongType: it is no plain file.
    """

    def __init__(self, path: str) -> None:
        self.path = path
        with os_errors():
            # Not blocking: a pipe of that name would never open.
            self._handle = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
        self.seen = os.fstat(self._handle)
        if not modes.S_ISREG(self.seen.st_mode):
            self.close()
            raise WrongType("That is no file that can be read.")

    @property
    def size(self) -> int:
        """Bytes when it was opened."""
        return self.seen.st_size

    async def pieces(self, start: int = 0) -> AsyncGenerator[bytes]:
        """Its bytes from *start* on.

        Raises:
            VersionMismatch: it was cut meanwhile.
        """
        while start < self.size:
            count = min(PIECE, self.size - start)
            piece = await asyncio.to_thread(os.pread, self._handle, count, start)
            if not piece:
                raise VersionMismatch("The file was cut while it was read.")
            start += len(piece)
            yield piece

    def check(self) -> None:
        """Pass where it still is what was opened.

        Raises:
            VersionMismatch: it was written to.
        """
        now = os.fstat(self._handle)
        if (now.st_size, now.st_mtime_ns) != (self.seen.st_size, self.seen.st_mtime_ns):
            raise VersionMismatch("The file changed while it was read; copy it again.")

    def digest(self, stop: int | None = None) -> str:
        """BLAKE3 of its bytes up to *stop*, hexadecimal; reads all of them."""
        from blake3 import blake3

        hasher, done = blake3(max_threads=blake3.AUTO), 0
        stop = self.size if stop is None else stop
        while done < stop:
            piece = os.pread(self._handle, min(4 * PIECE, stop - done), done)
            if not piece:
                break
            hasher.update(piece)
            done += len(piece)
        return hasher.hexdigest()

    def close(self) -> None:
        """Let go of it."""
        os.close(self._handle)


@asynccontextmanager
async def local_body(path: str) -> AsyncGenerator[Outgoing]:
    """The file at *path* as a body; at the end it is checked that it stayed what it was."""
    file = await asyncio.to_thread(LocalFile, path)
    try:
        yield Outgoing(pieces=file.pieces(), size=file.size)
        file.check()
    finally:
        file.close()
