"""The connection to one instance's keeper."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Mapping
from pathlib import Path

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from downstage.kernel.logging import get_logger
from downstage.spawners.plan import Report

__all__ = ["KeeperHandle", "connect"]

ANSWER_S = 5.0
MAX_REPORT = 1024 * 1024
log = get_logger(__name__)


class KeeperHandle:
    """What `downstage.spawners.spawner.Handle` promises, by the keeper's socket."""

    def __init__(self, folder: Path, stream: SocketStream) -> None:
        self._folder, self._stream = folder, stream
        self._lines = BufferedByteReceiveStream(stream)

    @property
    def media_socket(self) -> str:
        """Path of the socket on which its streamer serves media."""
        return str(self._folder / "media.sock")

    async def reports(self) -> AsyncGenerator[Report]:
        """How it stands, now and at every change."""
        try:
            while True:
                line = await self._lines.receive_until(b"\n", MAX_REPORT)
                report = _report(line)
                yield report
                if report.phase == "ended":
                    return
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            return
        except anyio.ClosedResourceError:
            return

    async def stop(self, reason: str) -> None:
        """Ask for an orderly end."""
        await self._send({"do": "stop", "reason": reason})

    async def kill(self) -> None:
        """End it at once."""
        await self._send({"do": "kill"})

    async def close(self) -> None:
        """Let go of it."""
        await self._stream.aclose()

    async def attach(self) -> None:
        """Ask to be told."""
        await self._send({"do": "attach"})

    async def _send(self, request: Mapping[str, str]) -> None:
        try:
            with anyio.fail_after(ANSWER_S):
                await self._stream.send(json.dumps(request).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            log.info("keeper.unreachable", folder=self._folder.name)


async def connect(folder: Path) -> KeeperHandle:
    """Attach to the keeper of *folder*.

    Raises:
        OSError: there is none.
        TimeoutError: it does not answer.
    """
    with anyio.fail_after(ANSWER_S):
        handle = KeeperHandle(folder, await anyio.connect_unix(folder / "keeper.sock"))
        await handle.attach()
    return handle


def _report(line: bytes) -> Report:
    return Report(**json.loads(line))
