"""One pipelined connection to one node: trains of commands out, replies in order back.

Everything that is sent within one turn of the event loop leaves in one `writelines`: no timer, no
added wait. Replies are handed over a train at a time, so an entry that nobody waits for costs no
Python call of its own.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, cast

import hiredis

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.streams.engine.address import Address
from downstage.streams.engine.replies import LOOK_AGAIN, Lost, Moved, NotReady, to_error

__all__ = ["DEADLINE_S", "Buffer", "Lane", "Replies", "encode", "open_lane"]

DEADLINE_S = 10.0
CONNECT_S = 5.0
READ = 256 * 1024
WRITE_AHEAD = 8 << 20
HIGH = 32 << 20
log = get_logger(__name__)

Buffer = bytes | bytearray | memoryview
Reply = Any
"""bytes, int, None, a list of such, or a `PlatformError` where the engine answered with one."""
Replies = Callable[[list[Reply]], None]
"""Takes as many replies as the train has commands. It may neither wait nor raise."""


def encode(*arguments: str | int | float | bytes | memoryview) -> bytes:
    """One command in RESP."""
    return hiredis.pack_command(arguments)


class Lane(asyncio.BufferedProtocol):
    """One connection. Made by `open_lane`.

    Args:
        name: for messages.
        high: bytes not yet answered at which `pressure` is told True; False again at half of it.
    """

    def __init__(self, name: str = "engine", high: int = HIGH) -> None:
        self.name = name
        self.in_flight = 0
        """Bytes sent, or about to be, that the engine has not answered."""
        self.is_pressed = False
        self.pressure: set[Callable[[bool], None]] = set()
        """Told True when `in_flight` passes the high mark, False once it is below the low one."""
        self.on_lost: set[Callable[[Lane], None]] = set()
        """Told once, after every unanswered train was told."""
        self.on_trouble: Callable[[PlatformError], None] | None = None
        """Told of replies that say that another node leads now."""
        self._high, self._low = high, high // 2
        self._loop = asyncio.get_running_loop()
        self._reader = hiredis.Reader(replyError=self._error)
        self._buffer = bytearray(READ)
        self._view = memoryview(self._buffer)
        self._waiting: deque[tuple[int, Replies, int]] = deque()
        self._got: list[Reply] = []
        self._out: list[Buffer] = []
        self._transport: asyncio.Transport | None = None
        self._closed = asyncio.Event()
        self._moved_at = self._loop.time()

    # --- sending -------------------------------------------------------------------------------

    @property
    def is_open(self) -> bool:
        """Whether what is sent now may be answered."""
        return self._transport is not None and not self._transport.is_closing()

    @property
    def stalled_s(self) -> float:
        """Seconds for which something waits and nothing came."""
        return self._loop.time() - self._moved_at if self._waiting else 0.0

    def send(
        self, buffers: Sequence[Buffer], replies: int, on_replies: Replies, *, size: int = 0
    ) -> None:
        """Send a train: *buffers* hold exactly *replies* whole commands, in RESP.

        *on_replies* gets that many replies, later and once, whatever happens; where the connection
        breaks those that did not come are a `Lost`. *buffers* must not change until then.
        *size* is their bytes, where the caller knows.
        """
        if self._transport is None or self._transport.is_closing():
            lost = Lost("There is no connection to the engine of streams.", sent=False)
            self._loop.call_soon(on_replies, [lost] * replies)
            return
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out += buffers
        if not self._waiting:
            self._moved_at = self._loop.time()
        size = size or sum(map(len, buffers))
        self._waiting.append((replies, on_replies, size))
        self.in_flight += size
        if self.in_flight > self._high and not self.is_pressed:
            self._press(True)

    def call(
        self, *arguments: str | int | float | bytes | memoryview, deadline_s: float = DEADLINE_S
    ) -> Awaitable[Reply]:
        """Send one command; its reply can be awaited.

        Raises (when awaited):
            NotReady: no answer in time, or the connection broke (`Lost`).
            PlatformError: what the engine answered.
        """
        future: asyncio.Future[Reply] = self._loop.create_future()
        timer = self._loop.call_later(deadline_s, _expire, future, deadline_s)

        def tell(replies: list[Reply]) -> None:
            timer.cancel()
            if future.done():
                return
            if isinstance(replies[0], Exception):
                _fail(future, replies[0])
            else:
                future.set_result(replies[0])

        self.send((encode(*arguments),), 1, tell)
        return future

    def _flush(self) -> None:
        out, self._out = self._out, []
        if out and self._transport is not None:
            self._transport.writelines(out)

    def _press(self, is_pressed: bool) -> None:
        self.is_pressed = is_pressed
        for tell in tuple(self.pressure):
            tell(is_pressed)

    # --- the end -------------------------------------------------------------------------------

    def abort(self) -> None:
        """Break the connection now; what is unanswered is `Lost`."""
        if self._transport is not None:
            self._transport.abort()

    async def close(self) -> None:
        """Close it and return once everybody was told. Safe to repeat."""
        if self._transport is not None:
            self._transport.abort()
            await self._closed.wait()

    async def wait_closed(self) -> None:
        """Return once it is closed, by whomever."""
        await self._closed.wait()

    # --- the protocol --------------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Called by the loop."""
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=WRITE_AHEAD)

    def get_buffer(self, sizehint: int) -> memoryview:
        """Called by the loop: where the next bytes go."""
        del sizehint
        return self._view

    def buffer_updated(self, nbytes: int) -> None:
        """Called by the loop: *nbytes* came."""
        self._moved_at = self._loop.time()
        self._reader.feed(self._buffer, 0, nbytes)
        try:
            self._take()
        except (hiredis.ProtocolError, ConnectionError) as error:
            log.warning("engine.nonsense_received", lane=self.name, why=str(error))
            self.abort()
        except BaseException:
            # Replies could no longer be told apart: whoever waits must learn that it is unknown.
            self.abort()
            raise
        if self.is_pressed and self.in_flight < self._low:
            self._press(False)

    def _take(self) -> None:
        gets, waiting, got = self._reader.gets, self._waiting, self._got
        need = waiting[0][0] if waiting else -1
        while (reply := gets()) is not False:
            got.append(reply)
            if len(got) == need:
                _, tell, size = waiting.popleft()
                self.in_flight -= size
                whole = got
                got = self._got = []
                tell(whole)
                need = waiting[0][0] if waiting else -1
            elif need < 0:
                raise ConnectionError("the engine answered what nobody asked")

    def _error(self, text: str) -> Exception:
        error = to_error(text)
        if self.on_trouble is not None and (
            isinstance(error, Moved) or (isinstance(error, NotReady) and error.word in LOOK_AGAIN)
        ):
            self.on_trouble(error)
        return error

    def connection_lost(self, exc: Exception | None) -> None:
        """Called by the loop: it is over; nothing that waits is left untold."""
        why = f" ({exc})" if exc else ""
        lost = Lost(f"The connection to the engine of streams broke{why}.", sent=True)
        self._transport = None
        self._out.clear()
        got, self._got = self._got, []
        while self._waiting:
            count, tell, size = self._waiting.popleft()
            self.in_flight -= size
            tell(got + [lost] * (count - len(got)))
            got = []
        if self.is_pressed:
            self._press(False)
        self._closed.set()
        for tell_lost in tuple(self.on_lost):
            tell_lost(self)


def _expire(future: asyncio.Future[Reply], deadline_s: float) -> None:
    if not future.done():
        _fail(future, NotReady(f"The engine did not answer within {deadline_s:g} s."))


def _fail(future: asyncio.Future[Reply], error: Exception) -> None:
    future.set_exception(error)
    # Of several calls at once the first that fails is told, and the others are not awaited.
    future.exception()


async def open_lane(address: Address, *, name: str = "engine", high: int = HIGH) -> Lane:
    """Connect to *address* and sign in.

    Raises:
        NotReady: it cannot be reached, or does not let us in; the text says which.
    """
    loop = asyncio.get_running_loop()

    def make() -> Lane:
        return Lane(name, high)

    try:
        async with asyncio.timeout(CONNECT_S):
            if address.path:
                _, lane = await loop.create_unix_connection(make, address.path)
            else:
                _, lane = await loop.create_connection(
                    make, address.host, address.port, ssl=address.tls
                )
    except (OSError, TimeoutError) as error:
        why = str(error) or f"no answer within {CONNECT_S:g} s"
        raise NotReady(f"{address} cannot be reached: {why}") from error
    try:
        await _sign_in(lane, address)
    except BaseException:
        lane.abort()
        raise
    return lane


async def _sign_in(lane: Lane, address: Address) -> None:
    try:
        if address.password:
            user = (address.user,) if address.user else ()
            await lane.call("AUTH", *user, address.password, deadline_s=CONNECT_S)
        if address.db:
            await lane.call("SELECT", address.db, deadline_s=CONNECT_S)
    except NotReady:
        raise
    except PlatformError as error:
        raise NotReady(f"{address} does not let us in: {error.detail}", "AUTH") from error
