"""Many calls over one stream of bytes: what both of its ends have in common.

A channel has a window: who sends more than the other end has taken waits, so a slow reader of one
channel holds up no other, and nothing here grows without a bound. Both ends give a sign of life,
and give the stream up when there is none: a cable that was pulled tells nobody.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable
from typing import Any, Protocol

import anyio
import anyio.abc

from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.spawners.remote.frames import (
    WINDOW,
    Decoder,
    Frame,
    FrameError,
    Kind,
    encode,
    json_of,
    object_of,
)
from downstage.spawners.remote.wire import error_of, fault_of
from downstage.spawners.spawner import NodeUnreachable

__all__ = ["Channel", "Line", "Served", "Wire"]

BEAT_S = 3.0
SILENT_S = 20.0
"""Without a word for so long, the other end is gone."""
SEND_S = 20.0
LEAVE_S = 2.0
MAX_CHANNELS = 8192
SLACK = 4
"""Frames of a channel that take no place of its window."""
CUT = "The line to the node was cut."
log = get_logger(__name__)


class Wire(Protocol):
    """A stream of bytes."""

    async def receive(self) -> bytes:
        """What has come; nothing: it is over."""
        ...

    async def send(self, data: bytes) -> None:
        """Hand over all of *data*."""
        ...


class Channel:
    """One call, from either side. One reader; any number of writers."""

    def __init__(self, line: Line, number: int) -> None:
        self._line, self.number = line, number
        self._come = deque[Frame]()
        self._changed = anyio.Event()
        self._credit, self._taken = WINDOW, 0
        self._fault: PlatformError | None = None
        self.is_over = False
        """An `END` has come or gone, or the line was cut."""
        self.scope = anyio.CancelScope()
        """Of whoever serves it; cancelled when the caller has enough."""

    async def item(self, **fields: Any) -> None:
        """Send an object; waits while the other end has not taken what is under way."""
        await self._post(Kind.ITEM, json_of(fields))

    async def data(self, piece: bytes) -> None:
        """Send bytes, `frames.MAX_PIECE` at most; waits as `item` does."""
        await self._post(Kind.DATA, piece)

    async def end(self, **fields: Any) -> None:
        """Nothing more comes; safe to repeat."""
        if not self.is_over:
            self.is_over = True
            self._line.forget(self)
            self._tell()
            await self._line.post(Frame(self.number, Kind.END, json_of(fields)))

    async def leave(self) -> None:
        """Say that it is enough, whatever happens to us."""
        with anyio.CancelScope(shield=True), anyio.move_on_after(LEAVE_S):
            await self.end()

    async def next(self) -> Frame:
        """The next `ITEM` or `DATA`, or the `END`, after which nothing comes.

        Raises:
            NodeUnreachable: the line was cut.
        """
        while not self._come:
            if self.is_over:
                raise self._fault or NodeUnreachable(CUT)
            await self._changed.wait()
        frame = self._come.popleft()
        if frame.kind is not Kind.END and not self.is_over:
            self._taken += 1
            if self._taken >= WINDOW // 2:
                taken, self._taken = self._taken, 0
                await self._line.post(Frame(self.number, Kind.CREDIT, json_of({"frames": taken})))
        return frame

    async def result(self) -> Any:
        """The value that it ends with; whatever else comes is passed over.

        Raises:
            PlatformError: what it ends with instead.
            NodeUnreachable: the line was cut.
        """
        while True:
            frame = await self.next()
            if frame.kind is Kind.END:
                return value_of(frame)

    def come(self, frame: Frame) -> None:
        """Take a frame that has come.

        Raises:
            FrameError: it is one too many.
        """
        if frame.kind is Kind.CREDIT:
            self._credit = min(WINDOW, self._credit + int(object_of(frame).get("frames", 0)))
        else:
            if len(self._come) >= WINDOW + SLACK:
                raise FrameError("More came on a channel than was asked for.")
            self._come.append(frame)
        if frame.kind is Kind.END:
            self.is_over = True
        self._tell()

    def cut(self, fault: PlatformError) -> None:
        """The line is gone."""
        self._fault, self.is_over = fault, True
        self._tell()

    async def _post(self, kind: Kind, payload: bytes) -> None:
        while self._credit == 0 and not self.is_over:
            await self._changed.wait()
        if self._fault is not None:
            raise self._fault
        if not self.is_over:
            self._credit -= 1
            await self._line.post(Frame(self.number, kind, payload))

    def _tell(self) -> None:
        self._changed.set()
        self._changed = anyio.Event()


Served = Callable[[Channel, dict[str, Any]], Awaitable[None]]
"""Answers a call: sends what there is, and ends the channel."""


class Line:
    """One end of the stream.

    Args:
        wire: the stream.
        served: answers calls of the other end; None: it makes none.
        is_half: we are the node's end: our channels have even numbers, the manager's odd ones.
    """

    def __init__(self, wire: Wire, served: Served | None = None, *, is_half: bool = False) -> None:
        self._wire, self._served = wire, served
        self._channels = dict[int, Channel]()
        self._number = 0 if is_half else -1
        self._sending = anyio.Lock()
        self._tasks: anyio.abc.TaskGroup | None = None
        self._hello: dict[str, Any] | None = None
        self._greeted = anyio.Event()
        self.heard_at = 0.0
        """When the other end gave its last sign of life, by the loop's clock."""
        self.ended = anyio.Event()
        self.fault: PlatformError | None = None
        """Why it is cut."""

    async def run(self) -> None:
        """Stay on the line until it is cut, whoever does it; `fault` says why."""
        try:
            async with anyio.create_task_group() as tasks:
                self._tasks = tasks
                tasks.start_soon(self._beat)
                try:
                    await self._read()
                except TimeoutError:
                    self.give_up(f"{CUT} It said nothing for {SILENT_S:g} s.")
                except PlatformError as error:
                    self.give_up(f"{CUT} {error.detail}")
                tasks.cancel_scope.cancel()
        finally:
            self.give_up(CUT)

    def give_up(self, why: str) -> None:
        """Whoever waits for something learns that nothing comes; the first word counts."""
        if self.fault is None:
            self.fault = NodeUnreachable(why)
        self._greeted.set()
        self.ended.set()
        for channel in list(self._channels.values()):
            channel.cut(self.fault)
        self._channels.clear()
        if self._tasks is not None:
            self._tasks.cancel_scope.cancel()

    async def greet(self, **fields: Any) -> None:
        """Say who we are."""
        await self.post(Frame(0, Kind.HELLO, json_of(fields)))

    async def greeting(self) -> dict[str, Any]:
        """What the other end said of itself.

        Raises:
            NodeUnreachable: the line was cut before.
        """
        await self._greeted.wait()
        if self._hello is None:
            raise self.fault or NodeUnreachable(CUT)
        return self._hello

    async def call(self, do: str, **fields: Any) -> Channel:
        """Open a channel by asking for something.

        Raises:
            NodeUnreachable: the line is cut.
        """
        if self.fault is not None:
            raise self.fault
        self._number += 2
        channel = self._channels[self._number] = Channel(self, self._number)
        await self.post(Frame(channel.number, Kind.CALL, json_of({"do": do, **fields})))
        return channel

    async def post(self, frame: Frame) -> None:
        """Send one; a line that takes nothing for long is given up."""
        data = encode(frame)
        if self.fault is not None:
            return
        try:
            with anyio.fail_after(SEND_S):
                async with self._sending:
                    with anyio.CancelScope(shield=True):  # half a frame would end the line
                        await self._send_all(data)
        except (OSError, TimeoutError, anyio.BrokenResourceError):
            self.give_up(CUT)

    async def _send_all(self, data: bytes) -> None:
        with anyio.fail_after(SEND_S):
            await self._wire.send(data)

    def forget(self, channel: Channel) -> None:
        """It is over for us."""
        self._channels.pop(channel.number, None)

    async def _beat(self) -> None:
        while True:
            await anyio.sleep(BEAT_S)
            await self.post(Frame(0, Kind.BEAT))

    async def _read(self) -> None:
        decoder = Decoder()
        while True:
            with anyio.fail_after(SILENT_S):
                data = await self._wire.receive()
            if not data:
                return
            self.heard_at = anyio.current_time()
            for frame in decoder.feed(data):
                self._take(frame)

    def _take(self, frame: Frame) -> None:
        if frame.kind is Kind.HELLO:
            self._hello = object_of(frame)
            self._greeted.set()
        elif frame.kind is Kind.CALL:
            self._begin(frame)
        elif frame.kind is not Kind.BEAT:
            channel = self._channels.get(frame.channel)
            if channel is None:
                return  # it was over for us when that was sent
            channel.come(frame)
            if frame.kind is Kind.END:
                self._channels.pop(frame.channel, None)
                channel.scope.cancel()

    def _begin(self, frame: Frame) -> None:
        is_theirs = frame.channel > 0 and (frame.channel - self._number) % 2
        is_new = is_theirs and frame.channel not in self._channels
        if self._served is None or self._tasks is None or not is_new:
            raise FrameError("The node asks for something.")
        if len(self._channels) >= MAX_CHANNELS:
            raise FrameError("Too much is asked for at once.")
        channel = self._channels[frame.channel] = Channel(self, frame.channel)
        self._tasks.start_soon(self._serve, self._served, channel, object_of(frame))

    async def _serve(self, served: Served, channel: Channel, asked: dict[str, Any]) -> None:
        with channel.scope:
            try:
                await served(channel, asked)
            except PlatformError as error:
                await channel.end(error=error_of(error))
            except Exception as error:  # the edge: one call's fault is no other's
                log.exception("node.call_failed", do=str(asked.get("do"))[:32])
                fault = PlatformError(f"The node failed: {type(error).__name__}.")
                await channel.end(error=error_of(fault))
        self.forget(channel)


def value_of(frame: Frame) -> Any:
    """What an `END` says.

    Raises:
        PlatformError: it says that something failed.
    """
    said = object_of(frame)
    error: object = said.get("error")
    if isinstance(error, dict):
        raise fault_of(error)  # pyright: ignore[reportUnknownArgumentType]
    return said.get("value")
