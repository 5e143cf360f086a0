"""One connection to a content server's socket: many calls in flight, batched each turn.

For whoever speaks further ops over it (live layers do)::

    connection = await server.connection()              # connects where it is not
    body = await connection.request("ping", returns=int)
    async with connection.opened("live.open", path, returns=Opened) as stream:
        stream.body                                     # what the call answered
        await connection.request("live.send", stream.id, ops)
        async for kind, raw in stream:                  # what is pushed under its id
            update = msgspec.msgpack.decode(raw, type=Update)
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar, cast

import aiohttp
import msgspec

from downstage.client.logs import log, log_error
from downstage.client.outcome import error_of_code
from downstage.client.types import LogLevel
from downstage.contracts.content import MAX_FRAME, Failure
from downstage.kernel.errors import BadMessage, BadUrl, PlatformError, Unavailable

__all__ = ["Connection", "Stream"]

T = TypeVar("T")
MAX_IN_FLIGHT = 1024
MAX_PUSHED = 4096
"""Pushed messages that wait for one reader; beyond, it is told that it lost some."""
BATCH = 1024 * 1024
"""Bytes of one frame after which the next one begins."""
MAX_CALLS = 4096
"""Calls in one frame."""
FAILED = 400
HANG_UP_S = 1.0
"""Seconds that the other side may take to say goodbye."""
_decode = msgspec.msgpack.Decoder(list[tuple[int, int | str, msgspec.Raw]]).decode
_encode = msgspec.msgpack.Encoder().encode


class Stream(AsyncIterator[tuple[str, msgspec.Raw]]):
    """What the server pushes under the id of one call.

    Attributes:
        id: of the call; further calls name it.
        body: what the call itself answered.
    """

    def __init__(self, number: int, body: Any) -> None:
        self.id = number
        self.body = body
        self._waiting: deque[tuple[str, msgspec.Raw]] = deque()
        self._ready = asyncio.Event()
        self._ended: PlatformError | None = None
        self._is_done = False

    def push(self, kind: str, raw: msgspec.Raw) -> None:
        """Called by the connection."""
        if self._is_done:
            return  # what was lost before it makes it worthless
        if len(self._waiting) >= MAX_PUSHED:
            self._waiting.clear()
            self.end(Unavailable("Messages came faster than they were read."))
            return
        self._waiting.append((kind, raw))
        self._ready.set()

    def end(self, error: PlatformError | None) -> None:
        """Called by the connection: nothing more will come."""
        self._ended, self._is_done = error, True
        self._ready.set()

    def __aiter__(self) -> Stream:
        return self

    async def __anext__(self) -> tuple[str, msgspec.Raw]:
        while not self._waiting:
            if self._is_done:
                if self._ended is not None:
                    raise self._ended
                raise StopAsyncIteration
            self._ready.clear()
            await self._ready.wait()
        return self._waiting.popleft()


class Connection:
    """Of one socket, until it breaks; whoever made it makes the next one.

    Args:
        socket: connected, sub-protocol agreed.
        on_close: called once, when it has broken or was closed.
    """

    def __init__(
        self, socket: aiohttp.ClientWebSocketResponse, on_close: Callable[[], None]
    ) -> None:
        self._socket = socket
        self._on_close = on_close
        self._last_id = 0
        self._answers: dict[int, asyncio.Future[msgspec.Raw]] = {}
        self._streams: dict[int, Stream] = {}
        self._outgoing: deque[bytes] = deque()
        self._wake = asyncio.Event()
        self._slots = asyncio.Semaphore(MAX_IN_FLIGHT)
        self.is_open = True
        self._tasks = [
            asyncio.create_task(self._read(), name="content-socket-reader"),
            asyncio.create_task(self._write(), name="content-socket-writer"),
        ]

    async def request(self, op: str, *args: Any, returns: type[T] | Any = Any) -> T:
        """Call *op*; its answer, decoded as *returns*.

        Raises:
            PlatformError: as the server said; `Unavailable` where the connection broke before.
        """
        raw = await self._call(self._next_id(), op, args)
        return cast("T", _decoded(raw, returns))

    def post(self, op: str, *args: Any) -> None:
        """Call *op* and wait for nothing: its answer is dropped, as all is once it has broken."""
        if self.is_open:
            self._post(self._next_id(), op, args)

    @asynccontextmanager
    async def opened(
        self, op: str, *args: Any, returns: type[Any] | Any = Any
    ) -> AsyncGenerator[Stream]:
        """Call an *op* under whose id the server pushes more; leaving the block closes it."""
        number = self._next_id()
        stream = self._streams[number] = Stream(number, None)
        try:
            stream.body = _decoded(await self._call(number, op, args), returns)
        except BaseException as error:
            # Given up while the server opens it: it would push for ever what nobody reads.
            if self._streams.pop(number, None) is not None and not isinstance(error, Exception):
                self.post("close", number)
            raise
        try:
            yield stream
        finally:
            if self._streams.pop(number, None) is not None:
                self.post("close", number)

    def _next_id(self) -> int:
        self._last_id += 1
        return self._last_id

    async def _call(self, number: int, op: str, args: tuple[Any, ...]) -> msgspec.Raw:
        async with self._slots:
            if not self.is_open:
                raise Unavailable("The connection to the server broke.")
            answer = self._answers[number] = asyncio.get_running_loop().create_future()
            try:
                self._post(number, op, args)
                return await answer
            finally:
                self._answers.pop(number, None)

    def _post(self, number: int, op: str, args: tuple[Any, ...]) -> None:
        try:
            message = _encode((number, op, args))
        except UnicodeEncodeError as error:
            raise BadUrl("A name that is no UTF-8 cannot lie at a server.") from error
        if len(message) > MAX_FRAME - 16:
            raise BadMessage("The call is larger than the socket carries.")
        self._outgoing.append(message)
        self._wake.set()

    async def _write(self) -> None:
        try:
            while self.is_open:
                await self._wake.wait()
                self._wake.clear()
                while self._outgoing:
                    await self._socket.send_bytes(self._next_frame())
        except (OSError, aiohttp.ClientError, RuntimeError) as error:
            await self._hang_up(str(error))

    def _next_frame(self) -> bytes:
        calls, size = [self._outgoing.popleft()], 0
        size = len(calls[0])
        while self._outgoing and size + len(self._outgoing[0]) < BATCH and len(calls) < MAX_CALLS:
            size += len(self._outgoing[0])
            calls.append(self._outgoing.popleft())
        return _array_head(len(calls)) + b"".join(calls)

    async def _read(self) -> None:
        why = "closed"
        try:
            async for message in self._socket:
                if message.type is not aiohttp.WSMsgType.BINARY:
                    why = "not a binary message"
                    break
                for number, status, raw in _decode(message.data):
                    self._take(number, status, raw)
        except (OSError, aiohttp.ClientError, msgspec.DecodeError, BadMessage) as error:
            why = str(error)
        except Exception as error:  # noqa: BLE001 - whatever it was, nobody may wait for ever
            log_error("client.connection_crashed", error)
        await self._hang_up(f"{why} {self._socket.close_code or ''}".strip())

    async def _hang_up(self, why: str) -> None:
        """Tell whoever waits, and let go of the socket."""
        self._broke(why)
        with suppress(TimeoutError, OSError, aiohttp.ClientError, RuntimeError):
            async with asyncio.timeout(HANG_UP_S):
                await self._socket.close()

    def _take(self, number: int, status: int | str, raw: msgspec.Raw) -> None:
        if isinstance(status, int):
            answer = self._answers.get(number)
            if answer is not None and not answer.done():
                if status < FAILED:
                    answer.set_result(raw)
                else:
                    answer.set_exception(_failure(raw))
            return
        stream = self._streams.get(number)
        if stream is None:
            return
        if status == "end":
            del self._streams[number]
            stream.end(None if bytes(raw) == b"\xc0" else _failure(raw))
        else:
            stream.push(status, raw)

    def _broke(self, why: str) -> None:
        if not self.is_open:
            return
        self.is_open = False
        log(LogLevel.INFO, "client.connection_ended", why=why)
        lost = Unavailable("The connection to the server broke.")
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(lost)
        for stream in self._streams.values():
            stream.end(lost)
        self._streams.clear()
        self._wake.set()
        self._on_close()

    async def close(self) -> None:
        """End it; what waits on it ends with `Unavailable`."""
        self._broke("closed here")
        for task in self._tasks:
            task.cancel()
        await asyncio.wait(self._tasks)
        await self._socket.close()


def _array_head(count: int) -> bytes:
    if count < 16:  # noqa: PLR2004 - MessagePack's own bound
        return bytes([0x90 | count])
    return b"\xdc" + count.to_bytes(2, "big")


def _decoded(raw: msgspec.Raw, returns: Any) -> Any:
    try:
        return msgspec.msgpack.decode(raw, type=returns)
    except msgspec.DecodeError as error:
        raise BadMessage(f"The server's answer is out of form: {error}") from error


def _failure(raw: msgspec.Raw) -> PlatformError:
    failure: Failure = _decoded(raw, Failure)
    return error_of_code(failure.code, failure.detail)
