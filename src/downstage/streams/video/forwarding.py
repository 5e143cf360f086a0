"""The way to somebody else's camera: a port of ours whose connections go to a checked address.

FFmpeg resolves names itself and follows redirects, so it is not told the camera's address: it gets
ours, and what comes in there is connected to an address that the guard let pass. A redirect in RTSP
ends the connection. Closing the port also ends a read that FFmpeg waits in.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

import anyio

from downstage.kernel.errors import Forbidden, PlatformError, Upstream
from downstage.kernel.net import Guard

__all__ = ["Answers", "Forward", "forwarding"]

DIAL_S = 10.0
PIECE = 64 << 10
MOST_CONNECTIONS = 4
"""At once: a camera that asks for a password is connected to twice."""
STATUS = re.compile(rb"RTSP/[^ \t\n]*[ \t]+[\v\f]*([+-]?\d+)")
"""A status as FFmpeg reads it: any version, any blanks, any number of digits."""
BEGUN = re.compile(rb"RTSP/[^ \t\n]*(?:[ \t]+[\v\f]*[+-]?\d*)?\Z")
MARK = b"RTSP/"
KEPT = 8192
"""Bytes of what has begun that are kept for the next piece: FFmpeg keeps half as many of a line."""
MOST_DIGITS = 20
INT = 1 << 32


@dataclass(slots=True)
class Forward:
    """One open port."""

    port: int
    error: PlatformError | None = None
    """Why the last connection was not made, or was cut."""


@asynccontextmanager
async def forwarding(guard: Guard, host: str, port: int) -> AsyncGenerator[Forward]:
    """Open a port on loopback that leads to *host*.

    Raises:
        Forbidden: it may not be connected to.
        Upstream: it has no address.
    """
    await guard.resolve(host, port)
    forward = Forward(0)
    tasks = set[asyncio.Task[None]]()

    async def take(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(tasks) >= MOST_CONNECTIONS:
            writer.close()
            return
        tasks.add(task)
        try:
            await _join(guard, (host, port), reader, writer)
        except PlatformError as error:
            forward.error = error
        except (OSError, TimeoutError):
            forward.error = Upstream("The source cannot be reached.", host=host)
        finally:
            tasks.discard(task)
            writer.close()

    server = await asyncio.start_server(take, "127.0.0.1", 0)
    try:
        forward.port = int(server.sockets[0].getsockname()[1])
        yield forward
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        with anyio.CancelScope(shield=True), anyio.move_on_after(1):
            await asyncio.gather(*tasks, return_exceptions=True)


async def _join(
    guard: Guard,
    where: tuple[str, int],
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
) -> None:
    """Connect, and pass on both ways until one side ends."""
    addresses = await guard.resolve(*where)
    guard.check_peer(addresses[0], where[1])
    with anyio.fail_after(DIAL_S):
        theirs = await asyncio.open_connection(addresses[0], where[1])
    refused = list[Forbidden]()
    try:
        async with anyio.create_task_group() as tasks:

            async def up() -> None:
                with suppress(OSError):
                    await _pass_on(reader, theirs[1], is_answer=False)
                tasks.cancel_scope.cancel()

            tasks.start_soon(up)
            try:
                await _pass_on(theirs[0], writer, is_answer=True)
            except OSError:
                pass
            except Forbidden as error:
                refused.append(error)
            tasks.cancel_scope.cancel()
        if refused:
            raise refused[0]
    finally:
        theirs[1].close()


async def _pass_on(
    source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_answer: bool
) -> None:
    answers = Answers()
    while data := await source.read(PIECE):
        if is_answer:
            answers.check(data)
        target.write(data)
        await target.drain()


class Answers:
    """Looks for redirects in what a source sends, however they are written and cut."""

    def __init__(self) -> None:
        self._before = b""

    def check(self, piece: bytes) -> None:
        """Look at *piece*, before it is passed on.

        Raises:
            Forbidden: there is a redirect.
        """
        text = self._before + piece.replace(b"\r", b"")  # wherever they stand, FFmpeg drops them
        for found in STATUS.finditer(text):
            digits = found.group(1)
            if len(digits) > MOST_DIGITS or 300 <= int(digits) % INT < 400:  # noqa: PLR2004
                raise Forbidden("The source sends us elsewhere, where we do not follow.")
        begun = BEGUN.search(text, max(0, len(text) - KEPT))
        self._before = text[begun.start() :] if begun else text[1 - len(MARK) :]
