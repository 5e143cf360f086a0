"""A stream of bytes over two descriptors of this process, which the engine's exec gives it."""

from __future__ import annotations

import os

import anyio

__all__ = ["Pipes"]

PIECE = 64 * 1024


class Pipes:
    """Reads one descriptor and writes another; see `downstage.spawners.remote.line.Wire`."""

    def __init__(self, reads: int, writes: int) -> None:
        self._reads, self._writes = reads, writes
        for handle in (reads, writes):
            os.set_blocking(handle, False)

    async def receive(self) -> bytes:
        """What has come; nothing: it is over."""
        while True:
            await anyio.wait_readable(self._reads)
            try:
                return os.read(self._reads, PIECE)
            except BlockingIOError:
                continue
            except OSError:
                return b""

    async def send(self, data: bytes) -> None:
        """Hand over all of *data*.

        Raises:
            OSError: nobody takes it any more.
        """
        view = memoryview(data)
        while view:
            try:
                view = view[os.write(self._writes, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._writes)
