"""The connection to one instance's keeper."""

from __future__ import annotations

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import anyio
from anyio.abc import SocketStream
from anyio.streams.buffered import BufferedByteReceiveStream

from downstage.kernel.errors import Unavailable
from downstage.kernel.logging import get_logger
from downstage.spawners.entering import enter_process
from downstage.spawners.exec import Exec, ExecStream
from downstage.spawners.logs import read_log
from downstage.spawners.plan import Report, record_of
from downstage.spawners.spawner import Adoption

__all__ = ["Enter", "KeeperHandle", "connect"]

Enter = Callable[[Path, Exec], Awaitable[ExecStream]]
"""Starts a program beside the application of the instance in a folder."""

ANSWER_S = 5.0
MAX_REPORT = 1024 * 1024
log = get_logger(__name__)


class KeeperHandle:
    """What `downstage.spawners.spawner.Handle` promises, by the keeper's socket."""

    def __init__(self, folder: Path, stream: SocketStream, enter: Enter = enter_process) -> None:
        self._folder, self._stream, self._enter = folder, stream, enter
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
                report = record_of(line, Report)
                yield report
                if report.phase == "ended":
                    return
        except (anyio.EndOfStream, anyio.IncompleteRead, anyio.BrokenResourceError):
            return
        except anyio.ClosedResourceError:
            return

    async def adopt(self, adoption: Adoption) -> None:
        """Hand over what the session brings; the streamer dials as soon as it has read it."""
        token = adoption.access_token
        request = {
            "do": "adopt",
            "streamer": {
                "instance_id": adoption.instance_id,
                "session_id": adoption.session_id,
                "instance_token": adoption.instance_token.get_secret_value(),
                "link_url": adoption.link_url,
                "link_urls": list(adoption.link_urls),
                "display": adoption.display.model_dump(mode="json"),
                "ice_servers": list(adoption.ice_servers),
            },
            "token": token.get_secret_value() if token is not None else None,
            "user_data": adoption.user_data,
        }
        if not await self._send(request):
            raise Unavailable("The keeper of this instance is gone.")

    async def exec(self, asked: Exec) -> ExecStream:
        """Start one more program beside the application."""
        return await self._enter(self._folder, asked)

    def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes]:
        """What the application has written."""
        return read_log(self._folder, follow=follow, tail=tail)

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

    async def _send(self, request: Mapping[str, Any]) -> bool:
        try:
            with anyio.fail_after(ANSWER_S):
                await self._stream.send(json.dumps(request).encode() + b"\n")
        except (anyio.BrokenResourceError, anyio.ClosedResourceError, TimeoutError):
            log.info("keeper.unreachable", folder=self._folder.name)
            return False
        return True


async def connect(folder: Path, enter: Enter = enter_process) -> KeeperHandle:
    """Attach to the keeper of *folder*.

    Raises:
        OSError: there is none.
        TimeoutError: it does not answer.
    """
    with anyio.fail_after(ANSWER_S):
        stream = await anyio.connect_unix(folder / "keeper.sock")
        handle = KeeperHandle(folder, stream, enter)
        await handle.attach()
    return handle
