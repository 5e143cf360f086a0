"""Opening a line to whichever gateway takes it: one that is silent keeps nobody from the next."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import aiohttp
import anyio
from anyio.abc import TaskGroup

from downstage.contracts.streamer import MAX_TO_SERVER, StreamerConfig
from downstage.kernel.logging import get_logger
from downstage.streamer.gateways import Gateways, Place

__all__ = ["Dialler", "Opened"]

log = get_logger(__name__)

DEADLINE_S = 3.0
PATIENCE_S, HURRY_S = 0.4, 0.1
"""Until the next is dialled beside one that says nothing; and where silence is why we dial."""
HEARTBEAT_S = 2.0
"""Of gateways that do not beat themselves: half of this after a ping the line is given up."""
CLOSE_S = 1.0
HOME = "downstage-home"
MISDIRECTED = 421


@dataclass(frozen=True, slots=True)
class Opened:
    """A line, and what it takes to close it."""

    place: Place
    socket: aiohttp.ClientWebSocketResponse
    session: aiohttp.ClientSession

    async def close(self, *, in_order: bool = True) -> None:
        """Close it; *in_order*: the other side may still hear a farewell."""
        # Without any patience it says its farewell to nobody, and lets go of the connection.
        with anyio.move_on_after(CLOSE_S if in_order else 0, shield=True):
            await self.socket.close()
        with anyio.move_on_after(CLOSE_S, shield=True):
            await self.session.close()


class Dialler:
    """Dials gateways.

    Args:
        config: whose line it is, and the token to show.
        gateways: in which order.
    """

    def __init__(self, config: StreamerConfig, gateways: Gateways) -> None:
        self._config, self._gateways = config, gateways
        self._dialled = set[str]()
        self._opened = list[Opened]()
        self._won = anyio.Event()

    async def open(self, rest: Callable[[], Awaitable[None]], *, hurried: bool) -> Opened:
        """The first line that is taken; dials for as long as that takes.

        Args:
            rest: waits after each round.
            hurried: the last line fell silent: do not wait long for its gateway.
        """
        patience = HURRY_S if hurried else PATIENCE_S
        self._opened, self._won = list[Opened](), anyio.Event()
        self._dialled.clear()
        async with anyio.create_task_group() as tasks:
            while not self._opened:
                await self._dial_next(tasks, patience)
                if not self._opened and self._gateways.is_round:
                    await self._until_won(rest)
            tasks.cancel_scope.cancel()
        return self._opened[0]

    async def _dial_next(self, tasks: TaskGroup, patience: float) -> None:
        place = self._gateways.next()
        if place.url in self._dialled:
            return  # it has not answered yet
        self._dialled.add(place.url)
        settled = anyio.Event()
        tasks.start_soon(self._dial, place, settled)
        with anyio.move_on_after(patience):
            await self._until_won(settled.wait)

    async def _until_won(self, wait: Callable[[], Awaitable[None]]) -> None:
        """*wait*, unless a line is taken before that."""
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(self._end_wait, tasks.cancel_scope)
            await wait()
            tasks.cancel_scope.cancel()

    async def _end_wait(self, wait: anyio.CancelScope) -> None:
        await self._won.wait()
        wait.cancel()

    async def _dial(self, place: Place, settled: anyio.Event) -> None:
        try:
            opened = await self._connect(place)
            if self._opened:
                await opened.close()  # another was faster
                return
            self._opened.append(opened)
            self._gateways.talked(place)
            self._won.set()
        except aiohttp.WSServerHandshakeError as error:
            self._refused(error)
        except (aiohttp.ClientError, OSError, TimeoutError) as error:
            log.debug("link.failed", error=type(error).__name__)
        finally:
            self._dialled.discard(place.url)
            settled.set()

    async def _connect(self, place: Place) -> Opened:
        session = aiohttp.ClientSession(connector=place.connector())
        try:
            with anyio.fail_after(DEADLINE_S):
                socket = await session.ws_connect(
                    f"{place.base}/v1/instances/{self._config.instance_id}/link",
                    headers={"Authorization": f"Bearer {self._config.bearer}"},
                    heartbeat=HEARTBEAT_S,
                    max_msg_size=MAX_TO_SERVER,
                    compress=0,
                    ssl=place.trust,
                )
        except BaseException:
            with anyio.CancelScope(shield=True):
                await session.close()
            raise
        return Opened(place, socket, session)

    def _refused(self, error: aiohttp.WSServerHandshakeError) -> None:
        home = (error.headers or {}).get(HOME)
        log.debug("link.refused", status=error.status, home=home)
        if error.status == MISDIRECTED and home:
            self._gateways.told(home)
