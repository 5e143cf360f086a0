"""The line to the gateway: dialled for ever, and nobody who watches notices when it is gone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Protocol, cast

import aiohttp
import anyio

from downstage.contracts.streamer import StreamerConfig
from downstage.kernel.logging import get_logger
from downstage.kernel.silence import Patience, Silence
from downstage.streamer.dialling import Dialler, Opened
from downstage.streamer.gateways import Gateways, Place
from downstage.streamer.message import Message

__all__ = ["Link", "LinkHandler"]

log = get_logger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
LASTING_S = 2.0
"""A line that broke sooner was refused: the next attempt waits longer."""
SILENT_S = 1.2
"""A gateway beats twice a second; one that says nothing for so long is cut off."""
MAX_QUEUED = 512
BEAT: Message = {"type": "beat"}


class LinkHandler(Protocol):
    """What the line's other end is for."""

    def greeting(self) -> list[Message]:
        """What to say first on a new line: hello, and where things stand."""
        ...

    def received(self, message: Message) -> None:
        """A message came in; must return at once."""
        ...


class Link:
    """Keeps one WebSocket to the gateway that drives the session.

    Args:
        config: whom to dial, and the token to show; of an instance that has a session.
        handler: what to say first and whom to tell.
        pause: waits between attempts; a test may shorten it.
    """

    def __init__(
        self,
        config: StreamerConfig,
        handler: LinkHandler,
        *,
        pause: Callable[[float], Any] = anyio.sleep,
    ) -> None:
        self._handler, self._pause = handler, pause
        self._gateways = Gateways(config)
        self._dialler = Dialler(config, self._gateways)
        self._patience = Patience(SILENT_S)
        self._outgoing: list[Message] = []
        self._more = anyio.Event()
        self._wait_s = FIRST_WAIT_S
        self.connected = False
        self.place = Place(config.link_url or "", config.link_ca)
        """The gateway that was talked to last."""

    def send(self, message: Message) -> None:
        """Say something; dropped where nobody is on the line, since a new line begins anew."""
        if self.connected and len(self._outgoing) < MAX_QUEUED:
            self._outgoing.append(message)
            self._more.set()

    async def run(self) -> None:
        """Dial, talk, dial again: the same gateway, then the others in turn."""
        was_silent = False
        while True:
            opened = await self._dialler.open(self._rest, hurried=was_silent)
            began = anyio.current_time()
            self.place = opened.place
            try:
                was_silent = await self._talk(opened)
            finally:
                self.connected = False
                self._outgoing.clear()
                await opened.close(in_order=not was_silent)
            if anyio.current_time() - began > LASTING_S:
                self._wait_s = FIRST_WAIT_S
            await self._rest()

    async def _rest(self) -> None:
        await self._pause(self._wait_s * random.uniform(0.8, 1.0))  # noqa: S311  no secret
        self._wait_s = min(LONGEST_WAIT_S, self._wait_s * 2)

    async def _talk(self, opened: Opened) -> bool:
        """Read and write until the line breaks; True where the other side fell silent."""
        socket, silence = opened.socket, Silence(lambda: self._patience.limit_s)
        log.info("link.opened")
        self.connected = True
        self._outgoing[:] = self._handler.greeting()
        self._more.set()
        was_silent = False
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._write, socket)
            tasks.start_soon(self._read, socket, silence, tasks.cancel_scope)
            await silence.wait()
            was_silent = True
            self._patience.alarm()
            tasks.cancel_scope.cancel()
        log.info("link.closed", close_code=socket.close_code, silent=was_silent)
        return was_silent

    async def _read(
        self, socket: aiohttp.ClientWebSocketResponse, silence: Silence, line: anyio.CancelScope
    ) -> None:
        async for received in socket:
            if silence.is_on:
                silence.heard()
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                message: object = json.loads(received.data)
            except (ValueError, RecursionError):
                log.warning("link.message_refused", reason="not JSON")
                continue
            if message == BEAT:
                # The first of them: from now on silence tells that the gateway is cut off.
                silence.heard()
                self.send(BEAT)
            elif isinstance(message, dict):
                self._handler.received(cast("Message", message))
        line.cancel()

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        try:
            while True:
                if not self._outgoing:
                    self._more = anyio.Event()
                    await self._more.wait()
                batch, self._outgoing = self._outgoing, []
                for message in batch:
                    await socket.send_str(json.dumps(message, separators=(",", ":")))
        except (aiohttp.ClientError, OSError) as error:
            log.debug("link.not_written", error=type(error).__name__)  # reading sees the end
