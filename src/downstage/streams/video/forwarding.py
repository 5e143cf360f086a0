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

__all__ = ["Forward", "forwarding"]

DIAL_S = 10.0
PIECE = 64 << 10
MOST_CONNECTIONS = 4
"""At once: a camera that asks for a password is connected to twice."""
REDIRECT = re.compile(rb"RTSP/1\.\d 3\d\d")
KEPT = 16
"""Bytes of the piece before, so that a redirect is seen that two pieces share."""


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
    before = b""
    while data := await source.read(PIECE):
        if is_answer and REDIRECT.search(before + data):
            raise Forbidden("The source sends us elsewhere, where we do not follow.")
        before = data[-KEPT:]
        target.write(data)
        await target.drain()
