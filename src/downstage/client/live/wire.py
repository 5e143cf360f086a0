"""The way of one live layer to its server: on the engine's loop, whatever thread edits.

What comes waits in an inbox until the editing thread takes it; when the connection breaks that
is the last thing in the inbox, and the next connection is made once the editing thread, having
taken all before, says where it stands.
"""

from __future__ import annotations

import asyncio
import threading
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any, Final, Protocol

import msgspec

from downstage.client.client import Client
from downstage.client.live.session import Submit
from downstage.client.logs import log
from downstage.client.places import Place
from downstage.client.providers.connection import Connection, Stream
from downstage.client.providers.server import ServerProvider
from downstage.client.types import LogLevel
from downstage.kernel.errors import (
    BadMessage,
    DeadlineExceeded,
    NotSupported,
    PlatformError,
    Unavailable,
)
from downstage.live.messages import Ended, Join, Message, unpack

__all__ = ["BROKEN", "Broken", "ServerWire", "Wire"]

AGAIN_S = (0.1, 0.2, 0.5, 1.0, 2.0)
"""Pauses between tries to connect; the last is repeated."""
MAX_WAITING = 65_536
"""Messages that wait for an editing thread; then the connection is given up and made anew."""
FOR_GOOD = frozenset({"not-found", "forbidden", "wrong-type", "not-supported", "bad-message"})
"""Codes after which trying again cannot help."""


class Broken:
    """In the inbox: the connection broke, `Wire.connect` makes the next."""


BROKEN: Final = Broken()


class Wire(Protocol):
    """What a live layer needs of a connection; tests simulate it."""

    @property
    def path(self) -> str:
        """The URL's path, for messages."""
        ...

    def connect(self, join: Join) -> None:
        """Begin to connect, and go on trying."""
        ...

    def send(self, submits: Sequence[Submit]) -> None:
        """Send batches over the present connection; lost where there is none."""
        ...

    def take(self) -> Message | Broken | None:
        """The next thing that came, without waiting."""
        ...

    def peek(self) -> Message | Broken | None:
        """The same, left where it is."""
        ...

    def wait(self, timeout_s: float) -> bool:
        """Wait until there is something to take; whether there is."""
        ...

    def close(self) -> None:
        """End it."""
        ...


class ServerWire:
    """One over a client's connection to a server of ours.

    Args:
        client: whose.
        place: of the file.
        on_arrival: called on the engine's loop when something came.
    """

    def __init__(
        self, client: Client, place: Place, on_arrival: Callable[[], None] | None = None
    ) -> None:
        self._client = client
        self._place = place
        self._on_arrival = on_arrival
        self._inbox = deque[Message | Broken]()
        self._arrived = threading.Event()
        self._task: asyncio.Future[Any] | None = None
        self._connection: Connection | None = None
        self._stream: Stream | None = None
        self._is_closed = False

    @property
    def path(self) -> str:
        """Of the file at its server."""
        return self._place.path

    # On the editing thread.

    def connect(self, join: Join) -> None:
        """See `Wire.connect`."""
        if not self._is_closed:
            self._run(lambda: self._begin(join))

    def send(self, submits: Sequence[Submit]) -> None:
        """See `Wire.send`."""
        if submits and not self._is_closed:
            batches = list(submits)
            self._run(lambda: self._post(batches))

    def take(self) -> Message | Broken | None:
        """See `Wire.take`."""
        self._arrived.clear()
        if not self._inbox:
            return None
        message = self._inbox.popleft()
        if self._inbox:
            self._arrived.set()
        return message

    def peek(self) -> Message | Broken | None:
        """See `Wire.peek`."""
        return self._inbox[0] if self._inbox else None

    def wait(self, timeout_s: float) -> bool:
        """See `Wire.wait`."""
        if not self._inbox:
            self._arrived.wait(timeout_s)
        return bool(self._inbox)

    def request(self, op: str, *args: Any, timeout_s: float = 30.0) -> Any:
        """Call *op* on this membership and wait for its answer.

        Raises:
            PlatformError: as the server said, or `Unavailable`.
        """
        future = asyncio.run_coroutine_threadsafe(
            self._request(op, args, timeout_s), self._client.engine.loop
        )
        return future.result(timeout_s + 1)

    def close(self) -> None:
        """See `Wire.close`."""
        if not self._is_closed:
            self._is_closed = True
            with suppress(Unavailable):
                self._run(self._end)

    def _run(self, function: Callable[[], None]) -> None:
        loop = self._client.engine.loop
        loop.call_soon_threadsafe(function)

    # On the engine's loop.

    def _begin(self, join: Join) -> None:
        self._end()
        self._task = asyncio.ensure_future(self._serve(join))

    def _end(self) -> None:
        if self._task is not None:
            self._task.cancel()
            self._task = None

    def _post(self, batches: list[Submit]) -> None:
        connection, stream = self._connection, self._stream
        if connection is None or stream is None:
            return  # they are pending, and go again after the next welcome
        for batch in batches:
            connection.post("live.submit", stream.id, batch.epoch, batch.n, batch.ops)

    async def _request(self, op: str, args: tuple[Any, ...], timeout_s: float) -> Any:
        connection, stream = self._connection, self._stream
        if connection is None or stream is None:
            raise Unavailable("The live layer is not connected.")
        try:
            async with asyncio.timeout(timeout_s):
                return await connection.request(op, stream.id, *args)
        except TimeoutError as error:
            raise DeadlineExceeded("The server did not answer in time.") from error

    async def _serve(self, join: Join) -> None:
        for tried in range(1 << 30):
            begun = time.monotonic()
            try:
                await self._listen(join)
            except PlatformError as error:
                if error.code in FOR_GOOD:
                    self._put(Ended(error.code, error.detail))
                    return
                log(LogLevel.INFO, "client.live_disconnected", why=error.detail)
            if self._inbox_has_news(begun):
                return
            await asyncio.sleep(AGAIN_S[min(tried, len(AGAIN_S) - 1)])

    def _inbox_has_news(self, begun: float) -> bool:
        """Whether something came, so that where to go on is for the editing thread to say."""
        if self._heard_at < begun:
            return False
        self._put(BROKEN)
        return True

    _heard_at = 0.0

    async def _listen(self, join: Join) -> None:
        provider = await self._client.provider(self._place)
        if not isinstance(provider, ServerProvider):
            raise NotSupported("Only files on a Downstage server have live layers.")
        connection = await provider.connection()
        parts = bytearray()
        path = provider.path(self._place)
        async with connection.opened(
            "live.open", path, join.client, join.epoch, join.incarnation, join.seq
        ) as stream:
            self._connection, self._stream = connection, stream
            try:
                async for kind, raw in stream:
                    parts += _bytes(raw)
                    if kind == "message":
                        message = unpack(bytes(parts))
                        parts.clear()
                        self._put(message)
                        if isinstance(message, Ended) or len(self._inbox) > MAX_WAITING:
                            return
            finally:
                self._connection = self._stream = None

    def _put(self, message: Message | Broken) -> None:
        if not isinstance(message, Broken):
            self._heard_at = time.monotonic()
        self._inbox.append(message)
        self._arrived.set()
        if self._on_arrival is not None:
            self._on_arrival()


def _bytes(raw: msgspec.Raw) -> bytes:
    try:
        return msgspec.msgpack.decode(raw, type=bytes)
    except msgspec.DecodeError as error:
        raise BadMessage("The server pushed what is no message.") from error
