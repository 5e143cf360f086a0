"""Media for viewers of a gateway that cannot reach our own socket: dialled there on request."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from functools import partial

import aiohttp
import anyio
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from downstage.contracts.streamer import MAX_TO_SERVER, StreamerConfig
from downstage.kernel.logging import get_logger
from downstage.media.transport.websocket import MediaSocket
from downstage.streamer.gateways import Place
from downstage.streamer.message import Message

__all__ = ["Tunnel"]

DIAL_S = 3.0
HEARTBEAT_S = 15.0
MOST = 32
"""Sockets that are dialled or open at the same time."""
log = get_logger(__name__)


class _Wish(BaseModel):
    model_config = ConfigDict(extra="ignore")
    relay: str = Field(pattern=r"^[A-Za-z0-9_-]{16,64}$")
    peer: str = Field(min_length=1, max_length=128)
    role: str = Field(max_length=32)


class Tunnel:
    """Dials gateways back.

    Args:
        config: whose media it is, and the token to show.
        spawn: runs something beside, by its name.
        serve: serves one viewer: peer, role and socket.
    """

    def __init__(
        self,
        config: StreamerConfig,
        spawn: Callable[[Callable[[], Awaitable[None]], str], None],
        serve: Callable[[str, str, MediaSocket], Awaitable[None]],
    ) -> None:
        self._config, self._spawn, self._serve = config, spawn, serve
        self._open = 0

    def ask(self, message: Message, place: Place) -> None:
        """``media.dial`` of the gateway at *place*."""
        try:
            wish = _Wish.model_validate(message)
        except ValidationError as error:
            log.warning("link.message_refused", kind="media.dial", errors=len(error.errors()))
            return
        if self._open >= MOST:
            log.warning("tunnel.refused", peer=wish.peer, open=self._open)
            return
        self._open += 1
        self._spawn(partial(self._run, wish, place), f"tunnel {wish.peer}")

    async def _run(self, wish: _Wish, place: Place) -> None:
        try:
            await self._dial(wish, place)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.info("tunnel.failed", peer=wish.peer, error=type(error).__name__)
        finally:
            self._open -= 1

    async def _dial(self, wish: _Wish, place: Place) -> None:
        async with aiohttp.ClientSession(connector=place.connector()) as session:
            with anyio.fail_after(DIAL_S):
                socket = await session.ws_connect(
                    f"{place.base}/v1/relays/{self._config.instance_id}/{wish.relay}",
                    headers={"Authorization": f"Bearer {self._config.bearer}"},
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_TO_SERVER,
                    compress=0,
                    ssl=place.trust,
                )
            async with socket:
                await self._serve(wish.peer, wish.role, socket)
