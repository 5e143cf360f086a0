"""A line to an engine that loses what goes one way, and then breaks."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from typing import Self


class CutLine:
    """Forwards connections to a port; see the attributes, and `cut`."""

    def __init__(self, port: int) -> None:
        self.hold_replies = False
        """What the engine answers is lost."""
        self.hold_replies_after: bytes | None = None
        """Begin with that once a request has held these bytes."""
        self.hold_requests = False
        """What is sent to the engine is lost."""
        self.lost_replies = 0
        """Bytes of them."""
        self.lost_requests = 0
        self._target = port
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._writers: set[asyncio.StreamWriter] = set()

    @property
    def port(self) -> int:
        """Where to connect to."""
        assert self._server is not None
        return int(self._server.sockets[0].getsockname()[1])

    def cut(self) -> None:
        """Break every connection; new ones are forwarded whole."""
        self.hold_replies = self.hold_requests = False
        self.hold_replies_after = None
        for writer in tuple(self._writers):
            writer.transport.abort()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self._target)
        pair = (writer, far_writer)
        self._writers.update(pair)
        try:
            await asyncio.gather(
                self._pump(reader, far_writer, is_request=True),
                self._pump(far_reader, writer, is_request=False),
            )
        finally:
            self._writers.difference_update(pair)
            for each in pair:
                each.transport.abort()

    async def _pump(
        self, source: asyncio.StreamReader, target: asyncio.StreamWriter, *, is_request: bool
    ) -> None:
        with suppress(ConnectionError):
            while data := await source.read(1 << 16):
                if is_request and self.hold_requests:
                    self.lost_requests += len(data)
                elif not is_request and self.hold_replies:
                    self.lost_replies += len(data)
                else:
                    if is_request and self.hold_replies_after and self.hold_replies_after in data:
                        self.hold_replies, self.hold_replies_after = True, None
                    target.write(data)
                    await target.drain()
        target.transport.abort()

    @classmethod
    @asynccontextmanager
    async def to(cls, port: int) -> AsyncGenerator[Self]:
        """A line to *port* of the loopback."""
        line = cls(port)
        line._server = await asyncio.start_server(line._serve, "127.0.0.1", 0)
        try:
            yield line
        finally:
            line._server.close()
            line.cut()
            await line._server.wait_closed()
            await asyncio.sleep(0.01)  # the transports say good-bye
