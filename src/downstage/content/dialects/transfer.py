"""Moving bytes over HTTP: bodies as they come, files as they lie, both with an idle deadline.

Nothing here starts a task or a context manager for each piece: a gigabyte has thousands of them.
"""

from __future__ import annotations

import asyncio
import errno
import math
import os
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from starlette.types import Receive, Send

from downstage.content.open_file import Reading
from downstage.kernel.errors import DeadlineExceeded, InvalidInput, PlatformError
from downstage.kernel.logging import get_logger

__all__ = ["CutShort", "Idle", "body_of", "send_file", "send_pieces", "send_reading", "send_rest"]

log = get_logger(__name__)

PIECE = 256 * 1024
"""Bytes handed to the server at once."""
TURN = 4 * 1024 * 1024
"""Bytes after which others have a turn, however fast they go; also to hear who went away."""
NEVER = math.inf
AT_ONCE = os.RWF_NOWAIT
"""Read only what needs no disk: then the loop is held for microseconds."""


class CutShort(InvalidInput):
    """The caller went away before the body ended; nobody is left to read this."""

    code = "cut-short"


class Idle:
    """A deadline for waiting on the other side: `waits` begins it anew, `moved` ends the waiting.

    Both cost one assignment. What we ourselves take long for (a disk, a commit) is not counted.

    Args:
        seconds: of waiting; then what runs inside is cancelled.

    Raises:
        DeadlineExceeded: at exit, when that happened.
    """

    __slots__ = ("_expired", "_handle", "_leaving", "_loop", "_seconds", "_since", "_task")

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._loop = asyncio.get_running_loop()
        self._since = NEVER
        self._task: asyncio.Task[object] | None = None
        self._handle: asyncio.TimerHandle | None = None
        self._expired = False
        self._leaving: asyncio.Task[None] | None = None

    def watch(self, receive: Receive) -> None:
        """Notice when the other side goes away while it is sent much: the server does not tell."""
        self._leaving = asyncio.create_task(_leaving(receive))

    def refuse_gone(self) -> None:
        """Go on only while somebody is there.

        Raises:
            CutShort: the other side went away.
        """
        if self._leaving is not None and self._leaving.done():
            raise CutShort("The caller went away.")

    def waits(self) -> None:
        """From now on the other side must move."""
        self._since = self._loop.time()

    def moved(self) -> None:
        """It did."""
        self._since = NEVER

    def __enter__(self) -> Self:
        self._task = asyncio.current_task()
        self._handle = self._loop.call_later(self._seconds, self._check)
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._handle is not None:
            self._handle.cancel()
        if self._leaving is not None:
            self._leaving.cancel()
        if not self._expired or self._task is None:
            return
        # Ours alone, or somebody else's too: theirs must go on (as `asyncio.timeout` does it).
        if self._task.uncancel() == 0 and isinstance(error, asyncio.CancelledError):
            raise DeadlineExceeded(f"Nothing moved for {self._seconds:g} s.") from error

    def _check(self) -> None:
        left = min(self._since + self._seconds - self._loop.time(), self._seconds)
        if left > 0:
            self._handle = self._loop.call_later(left, self._check)
        elif self._task is not None:
            self._expired = True
            self._task.cancel()


async def _leaving(receive: Receive) -> None:
    """Until the other side goes away; what it sends in place of that is not wanted."""
    while (await receive())["type"] != "http.disconnect":
        await asyncio.sleep(0)


async def body_of(receive: Receive, idle: Idle) -> AsyncGenerator[bytes]:
    """The pieces of a request's body as they come.

    Raises:
        CutShort: the caller went away.
    """
    more = True
    while more:
        idle.waits()
        message = await receive()
        idle.moved()
        if message["type"] != "http.request":
            raise CutShort("The body ended early.")
        piece: bytes = message.get("body", b"")
        more = message.get("more_body", False)
        if piece:
            yield piece


async def send_rest(
    send: Send, receive: Receive, reading: Reading, start: int, stop: int, *, idle_s: float
) -> None:
    """Send bytes *start* to *stop* after the head of an answer.

    What fails now can be told only by breaking off: then the answer is left without its end, and
    the server closes the connection.
    """
    try:
        with Idle(idle_s) as idle:
            if stop - start > TURN:
                idle.watch(receive)
            await send_reading(send, reading, start, stop, idle)
    except PlatformError as error:
        log.info("files.transfer_broken_off", why=error.code, detail=error.detail)


async def send_reading(send: Send, reading: Reading, start: int, stop: int, idle: Idle) -> None:
    """Send bytes *start* to *stop* of *reading*, and end the answer."""
    if reading.data is not None:
        idle.waits()
        body = reading.data[start:stop]
        await send({"type": "http.response.body", "body": body, "more_body": False})
        idle.moved()
    elif reading.file is not None:
        await send_file(send, reading.file, start, stop, idle)
    else:
        await send_pieces(send, reading.pieces(start, stop), idle)


async def send_pieces(send: Send, pieces: AsyncIterator[bytes], idle: Idle) -> None:
    """Send *pieces*, and end the answer."""
    async for piece in pieces:
        idle.refuse_gone()
        idle.waits()
        await send({"type": "http.response.body", "body": piece, "more_body": True})
        idle.moved()
    await send({"type": "http.response.body", "body": b"", "more_body": False})


async def send_file(send: Send, path: Path, start: int, stop: int, idle: Idle) -> None:
    """Send a range of a file that does not change, and end the answer.

    Raises:
        OSError: it cannot be opened or read.
    """
    # A descriptor of a known path: opening takes microseconds.
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            os.posix_fadvise(descriptor, start, stop - start, os.POSIX_FADV_SEQUENTIAL)
        at, turn = start, start + TURN
        while at < stop:
            if at >= turn:
                await asyncio.sleep(0)
                turn = at + TURN
            idle.refuse_gone()
            piece = await _piece(descriptor, at, min(PIECE, stop - at))
            at += len(piece)
            idle.waits()
            await send({"type": "http.response.body", "body": piece, "more_body": at < stop})
            idle.moved()
        if start >= stop:
            await send({"type": "http.response.body", "body": b"", "more_body": False})
    finally:
        os.close(descriptor)


async def _piece(descriptor: int, at: int, size: int) -> bytes:
    """Bytes at *at*: at once where the kernel has them, else by a thread."""
    buffer = bytearray(size)
    try:
        count = os.preadv(descriptor, [buffer], at, AT_ONCE)
    except OSError as error:
        if error.errno not in (errno.EAGAIN, errno.EOPNOTSUPP, errno.ENOSYS):
            raise
        count = 0
    if count == 0:
        found = await asyncio.to_thread(os.pread, descriptor, size, at)
        if not found:
            raise OSError(errno.EIO, "the file is shorter than it was")
        return found
    return bytes(buffer) if count == size else bytes(buffer[:count])
