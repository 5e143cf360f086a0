"""One instance of a node elsewhere, and programs inside it, by the stream to that node."""

from __future__ import annotations

import dataclasses
from collections import deque
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any, Literal

import anyio

from downstage.kernel.errors import PlatformError, Unavailable
from downstage.kernel.logging import get_logger
from downstage.spawners.exec import NO_ANSWER, Exec
from downstage.spawners.plan import Report
from downstage.spawners.remote.frames import MAX_PIECE, WINDOW, Kind, object_of
from downstage.spawners.remote.line import Channel, Line, value_of
from downstage.spawners.remote.reach import Reach
from downstage.spawners.remote.wire import packed, report_of
from downstage.spawners.spawner import Adoption, NodeUnreachable

__all__ = ["RemoteExec", "RemoteHandle"]

ANSWER_S = 10.0
LOOK_S = 0.1
log = get_logger(__name__)


class RemoteHandle:
    """What `downstage.spawners.spawner.Handle` promises, by a channel that stays open.

    Args:
        line: to the node.
        channel: of the call that started or found the instance.
    """

    def __init__(self, line: Line, channel: Channel) -> None:
        self._line, self._channel = line, channel

    @property
    def media_socket(self) -> str:
        """None that could be dialled from here: its streamer dials back."""
        return ""

    async def reports(self) -> AsyncGenerator[Report]:
        """How it stands, now and at every change.

        Raises:
            NodeUnreachable: the node is cut off.
        """
        while True:
            frame = await self._channel.next()
            if frame.kind is Kind.END:
                value_of(frame)
                return
            said = object_of(frame)
            if "report" not in said:
                return
            report = report_of(said["report"])
            yield report
            if report.phase == "ended":
                return

    async def adopt(self, adoption: Adoption) -> None:
        """Hand over what the session brings.

        Raises:
            Unavailable: its gateway is not reached from there, or nobody took it.
        """
        reach = Reach(adoption.link_url, adoption.link_urls)
        if reach.why_not is not None:
            raise Unavailable(f"It runs on another machine, and {reach.why_not}.")
        adoption = dataclasses.replace(adoption, link_urls=reach.others)
        try:
            with anyio.fail_after(ANSWER_S):
                await self._ask("adopt", adoption=packed(adoption))
        except TimeoutError as error:
            raise Unavailable("The node did not answer in time.") from error

    async def exec(self, asked: Exec) -> RemoteExec:
        """Start one more program beside the application.

        Raises:
            CannotExec: no application runs there, or the program cannot be started.
        """
        channel = await self._line.call("exec", on=self._channel.number, exec=packed(asked))
        frame = await channel.next()
        if frame.kind is Kind.END:
            value_of(frame)
            raise Unavailable("The node did not start it.")
        return RemoteExec(channel, tty=asked.tty)

    async def logs(self, *, follow: bool = False, tail: int | None = None) -> AsyncGenerator[bytes]:
        """What the application has written."""
        on = self._channel.number
        channel = await self._line.call("logs", on=on, follow=follow, tail=tail)
        try:
            while (frame := await channel.next()).kind is Kind.DATA:
                yield frame.payload
            value_of(frame)
        finally:
            await channel.leave()

    async def stop(self, reason: str) -> None:
        """Ask for an orderly end; one that is cut off is asked again when it is found again."""
        await self._tell("stop", reason=reason)

    async def kill(self) -> None:
        """End it at once."""
        await self._tell("kill")

    async def close(self) -> None:
        """Let go of it; it goes on for a while, and then ends by itself."""
        await self._channel.leave()

    async def _tell(self, do: str, **fields: Any) -> None:
        try:
            with anyio.fail_after(ANSWER_S):
                await self._ask(do, **fields)
        except (PlatformError, TimeoutError) as error:
            log.info("node.not_told", do=do, reason=str(error))

    async def _ask(self, do: str, **fields: Any) -> None:
        channel = await self._line.call(do, on=self._channel.number, **fields)
        try:
            await channel.result()
        finally:
            await channel.leave()


class RemoteExec:
    """See `downstage.spawners.exec.ExecStream`."""

    def __init__(self, channel: Channel, *, tty: bool) -> None:
        self._channel, self._tty = channel, tty
        self._pieces = deque[tuple[Literal[1, 2], bytes]]()
        self._reading = anyio.Lock()
        self._code: int | None = None
        self._is_closed = False

    async def output(self) -> AsyncIterator[tuple[Literal[1, 2], bytes]]:
        """What it writes, as it comes."""
        while True:
            while self._pieces:
                yield self._pieces.popleft()
            if self._is_closed:
                return
            async with self._reading:
                if not self._pieces and not self._is_closed:
                    await self._read()

    async def send(self, data: bytes) -> None:
        """Hand it *data*."""
        try:
            for at in range(0, len(data), MAX_PIECE):
                await self._channel.data(data[at : at + MAX_PIECE])
        except NodeUnreachable:
            return

    async def end_input(self) -> None:
        """Close its standard input, or type the end of file."""
        await self._say(end_input=True)

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size."""
        if self._tty:
            await self._say(resize=[columns, rows])

    async def wait(self) -> int:
        """Its exit code; of one that was cut off, `NO_ANSWER`."""
        while self._code is None:
            if len(self._pieces) >= WINDOW:  # nobody takes what it writes
                await anyio.sleep(LOOK_S)
                continue
            async with self._reading:
                if self._code is None:
                    await self._read()
        return self._code

    async def close(self) -> None:
        """Let go of it; what still runs is killed."""
        await self._channel.leave()

    async def _say(self, **fields: Any) -> None:
        try:
            await self._channel.item(**fields)
        except NodeUnreachable:
            return

    async def _read(self) -> None:
        """Take one frame; its line cut, nothing more is known of it."""
        try:
            frame = await self._channel.next()
        except NodeUnreachable:
            frame = None
        if frame is None or frame.kind is Kind.END:
            self._is_closed = True
            self._code = NO_ANSWER if self._code is None else self._code
        elif frame.kind is Kind.DATA:
            self._pieces.append((2 if frame.payload[:1] == b"\x02" else 1, frame.payload[1:]))
        else:
            said = object_of(frame)
            self._is_closed |= bool(said.get("closed"))
            if isinstance(said.get("code"), int):
                self._code = int(said["code"])
