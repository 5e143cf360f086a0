"""The line to the gateway: dialled for ever, and nobody who watches notices when it is gone."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any, Protocol, cast

import aiohttp
import anyio

from downstage.contracts.streamer import MAX_TO_SERVER, StreamerConfig
from downstage.kernel.logging import get_logger
from downstage.streamer.gateways import Gateways, Place
from downstage.streamer.message import Message

__all__ = ["Link", "LinkHandler"]

log = get_logger(__name__)

FIRST_WAIT_S, LONGEST_WAIT_S = 0.05, 1.0
LASTING_S = 2.0
"""A line that broke sooner was refused: the next attempt waits longer."""
DIAL_DEADLINE_S = 3.0
HEARTBEAT_S = 2.0
"""A gateway that is cut off says nothing: half of this after a ping the line is given up."""
HOME = "downstage-home"
MISDIRECTED = 421
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
        self._config, self._handler, self._pause = config, handler, pause
        self._gateways = Gateways(config)
        self._outgoing: list[Message] = []
        self._more = anyio.Event()
        self.connected = False
        self.place = Place(config.link_url or "", config.link_ca)
        """The gateway that was dialled last."""

    def send(self, message: Message) -> None:
        """Say something; dropped where nobody is on the line, since a new line begins anew."""
        if self.connected and len(self._outgoing) < MAX_QUEUED:
            self._outgoing.append(message)
            self._more.set()

    async def run(self) -> None:
        """Dial, talk, dial again: the same gateway, then the others in turn."""
        wait = FIRST_WAIT_S
        while True:
            began = anyio.current_time()
            self.place = self._gateways.next()
            try:
                await self._talk(self.place)
            except aiohttp.WSServerHandshakeError as error:
                self._refused(error)
            except (aiohttp.ClientError, OSError, TimeoutError) as error:
                log.debug("link.failed", error=type(error).__name__)
            had_line, self.connected = self.connected, False
            self._outgoing.clear()
            if anyio.current_time() - began > LASTING_S:
                wait = FIRST_WAIT_S
            if had_line or self._gateways.is_round:
                await self._pause(wait * random.uniform(0.8, 1.0))  # noqa: S311  no secret
                wait = min(LONGEST_WAIT_S, wait * 2)

    def _refused(self, error: aiohttp.WSServerHandshakeError) -> None:
        home = (error.headers or {}).get(HOME)
        log.debug("link.refused", status=error.status, home=home)
        if error.status == MISDIRECTED and home:
            self._gateways.told(home)

    async def _talk(self, place: Place) -> None:
        async with aiohttp.ClientSession(connector=place.connector()) as session:
            with anyio.fail_after(DIAL_DEADLINE_S):
                socket = await session.ws_connect(
                    f"{place.base}/v1/instances/{self._config.instance_id}/link",
                    headers={"Authorization": f"Bearer {self._config.bearer}"},
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_TO_SERVER,
                    compress=0,
                    ssl=place.trust,
                )
            async with socket:
                log.info("link.opened")
                self.connected = True
                self._gateways.talked(place)
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
