"""A worker: serves the sockets that the first process hands over, on the same engine.

``python -m downstage.streams.workers.worker HANDLE``: the end of the line that it was started with.
"""

from __future__ import annotations

import asyncio
import contextlib
import ctypes
import os
import signal
import socket
import sys
from collections.abc import Callable, Mapping
from pathlib import Path

import anyio

from downstage.bus import MemoryBus
from downstage.kernel import logging
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import PlatformError
from downstage.kernel.logging import get_logger
from downstage.services.sockets import CLOSE, Listener, SocketRequest, close_of
from downstage.services.sockets.wire import WireSocket
from downstage.streams.dialects.asked import Refused
from downstage.streams.dialects.sockets import openers
from downstage.streams.dialects.staying import Opener
from downstage.streams.engine import open_engine
from downstage.streams.memory import keep_freed
from downstage.streams.service import Streams, open_streams
from downstage.streams.workers.channel import Channel
from downstage.streams.workers.messages import (
    Close,
    Ended,
    Hello,
    Hint,
    Message,
    Open,
    Ready,
    Stop,
    Teller,
    settings_of,
)

__all__ = ["main"]

HELLO_S = 10.0
TELL_S = 1.0
END_S = 1.5
"""How long peers may take to let themselves be closed at the end."""
PR_SET_PDEATHSIG = 1
log = get_logger(__name__)


class LinkedBus(MemoryBus):
    """The bus of this process; what is published here is told to the first one, too."""

    def __init__(self, tell: Callable[[Message], object]) -> None:
        super().__init__()
        self._tell = tell

    def publish(self, subject: str, payload: Mapping[str, object]) -> None:
        """To listeners here and everywhere."""
        super().publish(subject, payload)
        self._tell(Hint(subject, dict(payload)))

    def hear(self, hint: Hint) -> None:
        """Somebody else published it: to listeners here alone."""
        super().publish(hint.subject, hint.payload)


class _Arriving(asyncio.Protocol):
    """A connection until its socket has begun."""

    def __init__(self, early: bytes) -> None:
        self.early = early
        self.is_lost = False

    def data_received(self, data: bytes) -> None:
        self.early += data

    def connection_lost(self, exc: Exception | None) -> None:
        del exc
        self.is_lost = True


class _Sockets:
    """What is open here."""

    def __init__(self, streams: Streams, channel: Channel) -> None:
        self._streams = streams
        self._openers: Mapping[str, Opener] = openers(streams)
        self._channel = channel
        self._open: dict[int, WireSocket | None] = {}
        """None: it arrives."""
        self._closing: dict[int, Close] = {}
        """Those that are to be closed as soon as they have arrived."""
        self._tasks: set[asyncio.Task[None]] = set()
        self._empty = asyncio.Event()

    def arrive(self, order: Open, handle: int) -> None:
        """Serve the connection *handle* as *order* says."""
        self._open[order.id] = None
        task = asyncio.get_running_loop().create_task(self._arrive(order, handle))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _arrive(self, order: Open, handle: int) -> None:
        facts = {"path": order.path, "request_id": order.request_id}
        try:
            await self._begin(order, handle, facts)
        except Exception:  # the edge: a defect of ours ends this socket alone
            log.exception("socket.crashed", **facts)
            self._left(order.id)

    async def _begin(self, order: Open, handle: int, facts: dict[str, str]) -> None:
        sock = socket.socket(fileno=handle)
        loop = asyncio.get_running_loop()
        try:
            transport, arriving = await loop.connect_accepted_socket(
                lambda: _Arriving(order.early), sock
            )
        except OSError:
            sock.close()
            self._left(order.id)
            return
        transport.pause_reading()
        with contextlib.suppress(PlatformError):  # then it is told by the socket itself
            # Whoever opens it may know of changes of which no hint has come here yet.
            await self._streams.look(order.who.tenant)
        wire = WireSocket(
            transport,
            self._listener(order),
            limit=order.limit,
            idle_s=order.idle_s,
            on_lost=lambda _: self._left(order.id),
            facts=facts,
        )
        if arriving.is_lost or transport.is_closing():
            wire.connection_lost(None)
            return
        self._open[order.id] = wire
        transport.set_protocol(wire)
        transport.write(order.answer)
        wire.start(arriving.early)
        closing = self._closing.pop(order.id, None)
        if closing is not None:
            wire.close(closing.code, closing.reason)

    def _listener(self, order: Open) -> Listener:
        request = SocketRequest(
            {
                "type": "websocket",
                "path": order.path,
                "raw_path": order.path.encode("latin-1"),
                "query_string": order.query,
                "headers": [],
                "request_id": order.request_id,
            }
        )
        try:
            return self._openers[order.kind].listen(order.who.caller(), request)
        except PlatformError as error:
            # The first process had let it in; since then, or here alone, that has changed.
            return Refused(error, close_of(error)[0])

    def close(self, order: Close) -> None:
        """Close one."""
        if order.id in self._open:
            wire = self._open[order.id]
            if wire is None:
                self._closing[order.id] = order
            else:
                wire.close(order.code, order.reason)

    def _left(self, id_: int) -> None:
        if self._open.pop(id_, self) is not self:
            self._closing.pop(id_, None)
            self._channel.send(Ended(id_))
            if not self._open:
                self._empty.set()

    async def end(self) -> None:
        """Close all, and wait a little until their peers know."""
        for id_, wire in list(self._open.items()):
            if wire is not None:
                wire.shutdown()
            else:
                self._closing[id_] = Close(id_, CLOSE.GOING_AWAY, "going-away")
        with anyio.move_on_after(END_S):
            while self._open:
                self._empty.clear()
                await self._empty.wait()


class Worker:
    """One worker as it runs.

    Args:
        sock: its end of the line.
    """

    def __init__(self, sock: socket.socket) -> None:
        self._hello: asyncio.Future[Hello] = asyncio.get_running_loop().create_future()
        self._end = anyio.Event()
        self._sockets: _Sockets | None = None
        self._channel = Channel(sock, self._hear, self._end.set)
        self._bus = LinkedBus(self._tell_hint)

    def _tell_hint(self, message: Message) -> None:
        if not self._channel.is_busy:  # who misses one looks for itself within a second
            self._channel.send(message)

    def _hear(self, message: Message, handle: int | None) -> None:
        match message:
            case Open() if handle is not None and self._sockets is not None:
                self._sockets.arrive(message, handle)
            case Close() if self._sockets is not None:
                self._sockets.close(message)
            case Hint():
                self._bus.hear(message)
            case Hello() if not self._hello.done():
                self._hello.set_result(message)
            case Stop():
                self._end.set()
            case _:
                log.error("streams.message_unexpected", kind=type(message).__name__)
                if handle is not None:
                    os.close(handle)

    def stop(self) -> None:
        """End, soon."""
        self._end.set()

    async def run(self) -> None:
        """Serve until told to end, or the first process has gone.

        Raises:
            PlatformError: the engine is not to be had now.
        """
        with anyio.fail_after(HELLO_S):
            hello = await self._hello
        settings = settings_of(hello)
        logging.configure(settings.log)
        folder, is_own = Path(hello.folder), settings.streams.url is None
        async with (
            open_engine(settings, folder, SystemClock(), attach=is_own) as engine,
            open_streams(engine, self._bus, settings.streams) as streams,
        ):
            sockets = self._sockets = _Sockets(streams, self._channel)
            self._channel.send(Ready())
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._tell, streams)
                await self._end.wait()
                await sockets.end()
                tasks.cancel_scope.cancel()
        self._channel.close()

    async def _tell(self, streams: Streams) -> None:
        """Each second, and at the end, what was done."""
        teller = Teller()
        try:
            while True:
                if not self._channel.is_busy:
                    self._report(teller, streams)
                await anyio.sleep(TELL_S)
        finally:
            self._report(teller, streams)

    def _report(self, teller: Teller, streams: Streams) -> None:
        for told in teller.tell(streams.totals, streams.figures()):
            self._channel.send(told)


async def serve(handle: int) -> None:
    """Be a worker at the line *handle*, until its end."""
    worker = Worker(socket.socket(fileno=handle))
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, worker.stop)
    try:
        await worker.run()
    except PlatformError as error:
        log.error("streams.worker_not_started", why=error.detail)  # noqa: TRY400
        sys.exit(1)


def main() -> None:
    """Run one; ends with the process that started it, however that ends."""
    handle = int(sys.argv[1])
    os.set_inheritable(handle, False)
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    keep_freed()
    with contextlib.suppress(KeyboardInterrupt):
        anyio.run(serve, handle, backend_options={"use_uvloop": True})


if __name__ == "__main__":
    main()
