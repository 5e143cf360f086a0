"""One socket of `/v1/files-socket`: frames in, calls run, answers gathered to frames out.

What takes microseconds is answered inside the loop over a frame's calls, without a task; the rest
runs in a task for each call. Answers that come in one turn of the loop leave in one frame.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine
from contextlib import suppress
from typing import Annotated, Any, cast

import msgspec
from starlette.types import Receive, Send

from downstage.content.dialects.calls import Asked, Op, Ops
from downstage.content.model import Caller
from downstage.contracts.content import MAX_CALLS, MAX_FRAME, MAX_UNSENT, Call
from downstage.kernel.errors import (
    NotSupported,
    PlatformError,
    TooLarge,
    TooMany,
    Unavailable,
)
from downstage.kernel.logging import get_logger

__all__ = ["Closing", "Connection"]

FRAME = 512 * 1024
"""Bytes at which a frame is full enough to be sent."""
HEAD_ROOM = 16
MAX_RUNNING = 256
"""Calls that run at once on one connection; more wait unread."""
MAX_OPEN = 4096
"""Calls of one connection that stay open: subscriptions, channels, layers."""
SLOW_S = 30.0
"""How long a reader may take nothing at all."""
TURN_S = 0.01
"""How long the calls of one frame hold the loop; then others have their turn."""
UNSUPPORTED, INVALID, POLICY, LATER = 1003, 1007, 1008, 1013
FIX_ARRAY, ARRAY_16 = 16, 65536
FIRST_OF_OURS = 500
log = get_logger(__name__)
_calls = msgspec.msgpack.Decoder(Annotated[list[Call], msgspec.Meta(max_length=MAX_CALLS)])
_encode = msgspec.msgpack.Encoder().encode


class Closing(Exception):
    """Ends the connection with a close code and a reason."""

    def __init__(self, code: int, reason: str) -> None:
        super().__init__(reason)
        self.code = code
        self.reason = reason


class Connection:
    """Serves one socket that has been accepted.

    Args:
        ops: what can be called.
        caller_of: who asks, at this moment.
        client_id: owner of its locks.
        receive, send: of the socket.
    """

    def __init__(
        self,
        ops: Ops,
        caller_of: Callable[[str], Caller],
        client_id: str,
        *,
        receive: Receive,
        send: Send,
    ) -> None:
        self.client_id = client_id
        self.held: dict[int, object] = {}
        self._ops = ops
        self._caller_of = caller_of
        self._receive = receive
        self._send = send
        self._out: list[bytes] = []
        self._unsent = 0
        self._ready = asyncio.Event()
        self._room = asyncio.Event()
        self._room.set()
        self._sending = False
        self._running: dict[int, asyncio.Task[None]] = {}
        self._open = 0
        self._free = asyncio.Event()
        self._closing: Closing | None = None
        self._reader: asyncio.Task[object] | None = None

    @property
    def caller(self) -> Caller:
        """Who asks, with the groups of this moment."""
        return self._caller_of(self.client_id)

    @property
    def unsent(self) -> int:
        """Bytes that wait for the reader."""
        return self._unsent

    @property
    def open_calls(self) -> int:
        """Calls that stay open: subscriptions, channels, layers."""
        return self._open

    async def serve(self) -> None:
        """Answer until the other side leaves, or must; nothing of it runs on after that.

        Raises:
            Closing: how the socket is to be closed.
        """
        self._reader = asyncio.current_task()
        writer = asyncio.create_task(self._write())
        try:
            with suppress(OSError):  # the other side left while something was sent
                await self._read()
        except asyncio.CancelledError:
            if self._closing is None or (self._reader and self._reader.uncancel() > 0):
                raise
        finally:
            tasks = [writer, *self._running.values()]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
        if self._closing is not None:
            raise self._closing

    def close(self, code: int, reason: str) -> None:
        """End it from outside."""
        if self._closing is None and self._reader is not None:
            self._closing = Closing(code, reason)
            self._reader.cancel()

    # Out.

    def answer(self, call_id: int, status: int | str, body: object) -> None:
        """Queue one message; a reader for whom too much waits is cut off."""
        self._put(call_id, status, body)
        self._ready.set()

    def _put(self, call_id: int, status: int | str, body: object) -> None:
        part = _encode((call_id, status, body))
        if len(part) > MAX_FRAME - HEAD_ROOM:
            refusal = TooLarge("The answer is too large for a message; ask for less.")
            part = _encode((call_id, refusal.status, _failure(refusal)))
        self._out.append(part)
        self._unsent += len(part)
        if self._unsent > FRAME:
            self._room.clear()
            if self._unsent > MAX_UNSENT:
                self.close(LATER, "slow-reader")

    async def flow(self) -> None:
        """Wait until there is room for more."""
        await self._room.wait()

    async def _write(self) -> None:
        while True:
            await self._ready.wait()
            self._ready.clear()
            await self._flush()

    async def _flush(self) -> None:
        """Send what waits; one at a time, so that frames keep their order."""
        if self._sending:
            return
        self._sending = True
        later = asyncio.get_running_loop().call_later
        try:
            while self._out:
                # For each frame anew: a reader who takes much for long is not slow.
                timer = later(SLOW_S, self.close, LATER, "slow-reader")
                try:
                    await self._send({"type": "websocket.send", "bytes": self._frame()})
                finally:
                    timer.cancel()
        finally:
            self._sending = False
            if self._unsent <= FRAME:
                self._room.set()

    def _frame(self) -> bytes:
        """The next frame: everything that waits, or as much as fits."""
        out = self._out
        if self._unsent <= FRAME:
            count, parts = len(out), out
            self._out, self._unsent = [], 0
        else:
            count = size = 0
            for part in out:
                if count and size + len(part) > FRAME:
                    break
                count += 1
                size += len(part)
            parts = out[:count]
            del out[:count]
            self._unsent -= size
        return b"".join([_array_head(count), *parts])

    # In.

    async def _read(self) -> None:
        while True:
            message = await self._receive()
            if message["type"] == "websocket.disconnect":
                return
            data: bytes | None = message.get("bytes")
            if data is None:
                raise Closing(UNSUPPORTED, "bad-message")
            try:
                calls = _calls.decode(data)
            except (msgspec.DecodeError, RecursionError):
                raise Closing(INVALID, "bad-message") from None
            await self._begin_all(calls)
            if self._out:
                await self._flush()

    async def _begin_all(self, calls: list[Call]) -> None:
        """Begin *calls* in their order; as many at once, and for as long, as one socket may."""
        now = asyncio.get_running_loop().time
        until = now() + TURN_S
        for call in calls:
            self._begin(call)
            if now() >= until:
                if self._unsent > FRAME:
                    self._ready.set()
                await asyncio.sleep(0)
                until = now() + TURN_S
            while len(self._running) - self._open >= MAX_RUNNING:
                self._ready.set()
                self._free.clear()
                await self._free.wait()

    def _begin(self, call: Call) -> None:
        if call.id < 1 or call.id in self._running:
            raise Closing(POLICY, "bad-message")
        try:
            op = self._ops.find(call.op)
            if op is None:
                raise NotSupported(f"There is no operation {call.op[:64]}.")
            asked = Asked(call.id, op.decode(call.args), self)
            work = op.run(asked)
            if not isinstance(work, Coroutine):
                self._put(call.id, 200, work)
                return
            if self._open >= MAX_OPEN:
                work.close()
                raise TooMany(f"A socket has at most {MAX_OPEN} calls open.")
        except PlatformError as error:
            self._refuse(call.id, error)
            return
        begun = cast("Coroutine[Any, Any, object]", work)
        task = self._running[call.id] = asyncio.create_task(self._run(op, asked, begun))
        # A task that is cancelled before its first step never comes to await its work.
        task.add_done_callback(lambda _: begun.close())

    async def _run(self, op: Op, asked: Asked, work: Coroutine[Any, Any, object]) -> None:
        try:
            body = await work
            self._end(asked, None, body)
        except PlatformError as error:
            self._end(asked, error, None)
        except Exception:  # the edge: whatever it was, it is answered and logged
            log.exception("files.call_crashed", op=op.name)
            self._end(asked, PlatformError("An error of ours; the log has it."), None)
        finally:
            self._running.pop(asked.id, None)
            self.held.pop(asked.id, None)
            if asked.is_open:
                self._open -= 1
            self._free.set()

    def _end(self, asked: Asked, error: PlatformError | None, body: object) -> None:
        if asked.is_open:
            self.answer(asked.id, "end", None if error is None else _failure(error))
        elif error is None:
            self.answer(asked.id, 200, body)
        else:
            self._refuse(asked.id, error)

    def _refuse(self, call_id: int, error: PlatformError) -> None:
        if error.status >= FIRST_OF_OURS and not isinstance(error, Unavailable | NotSupported):
            log.error("files.call_failed", exc_info=error, code=error.code)
        self.answer(call_id, error.status, _failure(error))

    def note_opened(self) -> None:
        """One more call stays open."""
        self._open += 1
        self._free.set()

    async def cancel(self, call_id: int) -> bool:
        """End a call that runs or stays open; whether there was one."""
        task = self._running.get(call_id)
        if task is None:
            return False
        task.cancel()
        await asyncio.wait([task])
        return True


def _failure(error: PlatformError) -> tuple[object, ...]:
    return (error.code, error.detail, error.context)


def _array_head(count: int) -> bytes:
    """How MessagePack begins an array of *count*."""
    if count < FIX_ARRAY:
        return bytes((0x90 | count,))
    if count < ARRAY_16:
        return b"\xdc" + count.to_bytes(2, "big")
    return b"\xdd" + count.to_bytes(4, "big")
