"""One worker as the first process sees it: started, watched, started again."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from typing import Any, cast

import anyio
import anyio.abc
import msgspec

from downstage.kernel.logging import get_logger
from downstage.services.child import end_process, keep_alive, launched
from downstage.services.sockets import Handover, Listener
from downstage.streams.model import Caller
from downstage.streams.workers.channel import Channel, pair
from downstage.streams.workers.messages import (
    Close,
    Ended,
    Hello,
    Hint,
    Message,
    Open,
    Ready,
    Stop,
    Told,
    Who,
)

__all__ = ["AwaySocket", "Remote"]

"""A worker that lived as long is no repeated failure."""
STALE_S = 5.0
"""One that said nothing for so long gets no more sockets."""
STUCK_S = 30.0
"""And then it is ended."""
STOP_S = 2.5
MAX_EARLY = 32 * 1024
MAX_LINE = 64 * 1024
HANDED_ON = ("PATH", "PYTHONPATH", "LANG", "TZ", "SSL_CERT_FILE", "SSL_CERT_DIR")
"""Variables; those of the settings may hold secrets, and a worker is told what it needs."""
LEVELS = frozenset({"debug", "info", "warning", "error"})
log = get_logger(__name__)


class AwaySocket:
    """A socket that a worker serves."""

    def __init__(self, remote: Remote, id_: int, handover: Handover, listener: Listener) -> None:
        self._remote = remote
        self._id = id_
        self._handover = handover
        self._listener = listener

    def close(self, code: int, reason: str) -> None:
        """Have it closed."""
        self._remote.send(Close(self._id, code, reason))

    def ended(self) -> None:
        """It has gone."""
        self._handover.ended()
        self._listener.on_close()


class Remote:
    """Keeps one worker running, and hands sockets over to it.

    Args:
        number: its own, from 1 on.
        hello: what it is told first.
        heard: called with hints and figures from it.
        gone: called when it has ended, however that came.
    """

    def __init__(
        self,
        number: int,
        hello: Hello,
        heard: Callable[[Remote, Hint | Told], None],
        gone: Callable[[Remote], None],
    ) -> None:
        self.number = number
        self.pid: int | None = None
        """None while it does not run."""
        self.starts = 0
        """How often it was started."""
        self.moved = 0
        """Bytes that it moved in the last second."""
        self.origin = ""
        """Name of the process in hints of its own."""
        self._hello = hello
        self._heard = heard
        self._gone = gone
        self._channel: Channel | None = None
        self._is_ready = False
        self._heard_at = 0.0
        self._next = 0
        self._sockets: dict[int, AwaySocket] = {}

    @property
    def is_ready(self) -> bool:
        """Whether it takes sockets now."""
        channel = self._channel
        if not self._is_ready or channel is None or channel.is_busy:
            return False
        return anyio.current_time() - self._heard_at < STALE_S

    @property
    def count(self) -> int:
        """Sockets that it serves."""
        return len(self._sockets)

    def send(self, message: Message) -> None:
        """Tell it something; where it is gone, nothing."""
        if self._channel is not None:
            self._channel.send(message)

    def hint(self, hint: Hint) -> None:
        """Something changed; one that does not keep up looks for itself."""
        if self._is_ready and self._channel is not None and not self._channel.is_busy:
            self._channel.send(hint)

    def take(
        self, handover: Handover, kind: str, caller: Caller, query: bytes, listener: Listener
    ) -> AwaySocket | None:
        """Hand a socket over; None: it cannot be."""
        channel = self._channel
        if channel is None or len(handover.early) > MAX_EARLY:
            return None
        self._next += 1
        order = Open(
            self._next,
            kind,
            handover.request.raw_path,
            query,
            Who.of(caller),
            handover.limit,
            handover.idle_s,
            handover.answer,
            handover.early,
            handover.request.request_id,
        )
        away = AwaySocket(self, order.id, handover, listener)
        self._sockets[order.id] = away
        if not channel.send(order, handover.handle):
            self._sockets.pop(order.id, None)
            return None
        return away

    # --- its life --------------------------------------------------------------------------------

    async def run(self) -> None:
        """Keep it running until cancelled."""
        await keep_alive(f"streams worker {self.number}", self._one_life)

    async def _one_life(self) -> None:
        ours, theirs = pair()
        channel = self._channel = Channel(ours, self._hear, self._lost)
        channel.send(self._hello)
        try:
            with theirs:
                process = await self._spawn(theirs)
            self.pid, self.starts = process.pid, self.starts + 1
            self._heard_at = anyio.current_time()
            log.info("streams.worker_started", worker=self.number, pid=process.pid)
            try:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(self._relay_log, process)
                    tasks.start_soon(self._watch, process)
                    code = await process.wait()
                    log.warning("streams.worker_died", worker=self.number, code=code)
                    tasks.cancel_scope.cancel()
            finally:
                channel.send(Stop())
                with anyio.CancelScope(shield=True):
                    await self._end(process)
        finally:
            self._lost()
            channel.close()

    async def _spawn(self, theirs: socket.socket) -> anyio.abc.Process:
        # From the thread of the event loop: a worker ends with the thread that started it.
        program = [sys.executable, "-P", "-m", "downstage.streams.workers.worker"]
        return await anyio.open_process(
            launched([*program, str(theirs.fileno())]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            env={name: os.environ[name] for name in HANDED_ON if name in os.environ},
            start_new_session=True,  # Ctrl-C is for the first process, which closes sockets first
            pass_fds=(theirs.fileno(),),
        )

    async def _end(self, process: anyio.abc.Process) -> None:
        with anyio.move_on_after(STOP_S):
            await process.wait()
        await end_process(process, stop_s=0)

    async def _watch(self, process: anyio.abc.Process) -> None:
        """End it where it says nothing any more."""
        while True:
            await anyio.sleep(1)
            if self._is_ready and anyio.current_time() - self._heard_at > STUCK_S:
                log.error("streams.worker_stuck", worker=self.number, pid=process.pid)
                process.kill()
                return

    def _lost(self) -> None:
        """It is gone: at once, so are its sockets."""
        self.pid, self._is_ready, self.moved, self.origin = None, False, 0, ""
        sockets, self._sockets = self._sockets, {}
        for away in sockets.values():
            away.ended()
        self._gone(self)

    def _hear(self, message: Message, handle: int | None) -> None:
        if handle is not None:
            os.close(handle)
        self._heard_at = anyio.current_time()
        match message:
            case Ended():
                away = self._sockets.pop(message.id, None)
                if away is not None:
                    away.ended()
            case Told():
                self.moved = message.moved
                self._heard(self, message)
            case Hint():
                self.origin = str(message.payload.get("process", ""))
                self._heard(self, message)
            case Ready():
                self._is_ready = True
                log.info("streams.worker_ready", worker=self.number, pid=self.pid)
            case _:
                log.error("streams.message_unexpected", kind=type(message).__name__)

    # --- its log ---------------------------------------------------------------------------------

    async def _relay_log(self, process: anyio.abc.Process) -> None:
        """Put what it logs into our log; a full pipe would block it."""
        if process.stderr is None:
            return
        rest = b""
        async for chunk in process.stderr:
            *lines, rest = (rest + chunk).split(b"\n")
            rest = rest[-MAX_LINE:]
            for line in lines:
                self._relay(line)

    def _relay(self, line: bytes) -> None:
        facts: dict[str, Any] = {}
        try:
            facts = msgspec.json.decode(line, type=dict[str, Any])
        except (msgspec.DecodeError, RecursionError):
            if line.strip():
                facts = {"event": "streams.worker_said", "level": "warning"}
                facts["text"] = line.decode("utf-8", "replace")[:400]
        level, event = facts.pop("level", "info"), facts.pop("event", None)
        if event is not None:
            facts.pop("timestamp", None)
            tell = cast("Callable[..., None]", getattr(log, level if level in LEVELS else "info"))
            tell(str(event), **{**facts, "worker": self.number})
