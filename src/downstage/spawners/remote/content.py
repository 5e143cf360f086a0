"""Files for applications elsewhere: a socket on the node, whose other end is at the manager.

There it is dialled on to the platform's own socket of files, which asks each request for its token
as ever.
"""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import anyio
import anyio.abc

from downstage.kernel.errors import Unavailable
from downstage.spawners.plan import CONTENT_SOCKET
from downstage.spawners.remote.frames import MAX_PIECE, Kind
from downstage.spawners.remote.line import Channel, Line
from downstage.spawners.spawner import NodeUnreachable

__all__ = ["CONTENT", "open_door", "serve_door"]

CONTENT = "content"
"""What a node asks for, and the folder of its socket."""
DIAL_S = 5.0
AT_ONCE = 256
"""Connections of all applications of a node together; more wait."""


async def open_door(runs: Path, line: Line) -> None:
    """Listen on the node, for as long as this runs: each connection is a call to the manager."""
    folder = runs / CONTENT
    folder.mkdir(exist_ok=True)
    folder.chmod(0o755)
    path = folder / CONTENT_SOCKET
    path.unlink(missing_ok=True)
    places = anyio.CapacityLimiter(AT_ONCE)

    async def pass_on(stream: anyio.abc.SocketStream) -> None:
        async with stream, places:
            with contextlib.suppress(NodeUnreachable):
                channel = await line.call(CONTENT)
                try:
                    await _join(channel, stream)
                finally:
                    await channel.leave()

    async with await anyio.create_unix_listener(path, mode=0o666) as listener:
        await listener.serve(pass_on)


async def serve_door(channel: Channel, asked: dict[str, Any], folder: Path | None) -> None:
    """Answer such a call, at the manager.

    Raises:
        Unavailable: there are no files here.
    """
    if asked.get("do") != CONTENT or folder is None:
        raise Unavailable("The node asks for what is not here.")
    try:
        with anyio.fail_after(DIAL_S):
            stream = await anyio.connect_unix(folder / CONTENT_SOCKET)
    except (OSError, TimeoutError) as error:
        raise Unavailable("The platform's files cannot be reached.") from error
    async with stream:
        await _join(channel, stream)
    await channel.end()


async def _join(channel: Channel, stream: anyio.abc.SocketStream) -> None:
    """Both ways, until both are at their end or one breaks."""
    async with anyio.create_task_group() as tasks:

        async def here_to_there() -> None:
            try:
                while True:
                    await channel.data(await stream.receive(MAX_PIECE))
            except anyio.EndOfStream:
                with contextlib.suppress(NodeUnreachable):
                    await channel.item(end=True)
            except (anyio.BrokenResourceError, NodeUnreachable):
                tasks.cancel_scope.cancel()

        async def there_to_here() -> None:
            try:
                while (frame := await channel.next()).kind is Kind.DATA:
                    await stream.send(frame.payload)
                if frame.kind is Kind.ITEM:
                    await stream.send_eof()
                    return
            except (anyio.BrokenResourceError, NodeUnreachable, OSError):
                pass
            tasks.cancel_scope.cancel()

        tasks.start_soon(here_to_there)
        tasks.start_soon(there_to_here)
