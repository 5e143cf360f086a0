"""The line to the gateway: dialled for ever, and nobody who watches notices when it is gone."""

from __future__ import annotations

import json
import random
import ssl
from collections.abc import Callable
from typing import Any, Protocol, cast

import aiohttp
import anyio

from downstage.contracts.streamer import MAX_TO_SERVER, StreamerConfig
from downstage.kernel.logging import get_logger
from downstage.streamer.message import Message

__all__ = ["Link", "LinkHandler"]

log = get_logger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
LASTING_S = 2.0
"""A line that broke sooner was refused: the next attempt waits longer."""
DIAL_DEADLINE_S = 5.0
HEARTBEAT_S = 10.0
MAX_QUEUED = 512


class LinkHandler(Protocol):
    """What the line's other end is for."""

    def greeting(self) -> list[Message]:
        """What to say first on a new line: hello, and where things stand."""
        ...

    def received(self, message: Message) -> None:
        """A message came in; must return at once."""
        ...


class Link:
    """Keeps one WebSocket to the gateway.

    Args:
        config: where to dial, and the token to show; of an instance that has a session.
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
        self._config, self._handler, self._pause = config, handler, pause
        self._outgoing: list[Message] = []
        self._more = anyio.Event()
        self.connected = False

    def send(self, message: Message) -> None:
        """Say something; dropped where nobody is on the line, since a new line begins anew."""
        if self.connected and len(self._outgoing) < MAX_QUEUED:
            self._outgoing.append(message)
            self._more.set()

    async def run(self) -> None:
        """Dial, talk, dial again."""
        wait = FIRST_WAIT_S
        while True:
            began = anyio.current_time()
            try:
                await self._talk()
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                log.debug("link.failed", error=type(error).__name__)
            self.connected = False
            self._outgoing.clear()
            if anyio.current_time() - began > LASTING_S:
                wait = FIRST_WAIT_S
            await self._pause(wait * random.uniform(0.8, 1.0))  # noqa: S311  no secret
            wait = min(LONGEST_WAIT_S, wait * 2)

    async def _talk(self) -> None:
        connector, url, context = self._address()
        async with aiohttp.ClientSession(connector=connector) as session:
            token = self._config.bearer
            with anyio.fail_after(DIAL_DEADLINE_S):
                socket = await session.ws_connect(
                    f"{url}/v1/instances/{self._config.instance_id}/link",
                    headers={"Authorization": f"Bearer {token}"},
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_TO_SERVER,
                    compress=0,
                    ssl=context if context is not None else True,
                )
            async with socket:
                log.info("link.opened")
                self.connected = True
                self._outgoing[:] = self._handler.greeting()
                self._more.set()
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._write, socket)
                    await self._read(socket)
                    tasks.cancel_scope.cancel()
            log.info("link.closed", close_code=socket.close_code)

    async def _read(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        async for received in socket:
            if received.type is not aiohttp.WSMsgType.TEXT:
                continue
            try:
                message: object = json.loads(received.data)
            except (ValueError, RecursionError):
                log.warning("link.message_refused", reason="not JSON")
                continue
            if isinstance(message, dict):
                self._handler.received(cast("Message", message))

    async def _write(self, socket: aiohttp.ClientWebSocketResponse) -> None:
        while True:
            if not self._outgoing:
                self._more = anyio.Event()
                await self._more.wait()
            batch, self._outgoing = self._outgoing, []
            for message in batch:
                await socket.send_str(json.dumps(message, separators=(",", ":")))

    def _address(self) -> tuple[aiohttp.BaseConnector | None, str, ssl.SSLContext | None]:
        url = self._config.link_url or ""
        if url.startswith("unix://"):
            return aiohttp.UnixConnector(path=url.removeprefix("unix://")), "http://gateway", None
        context = None
        if self._config.link_ca is not None:
            context = ssl.create_default_context(cafile=self._config.link_ca)
        return None, url.rstrip("/"), context
