"""One thread's loop: descriptors, timers, and signals as ordinary events."""

from __future__ import annotations

import contextlib
import heapq
import os
import selectors
import signal
import socket
import time
from collections.abc import Callable
from dataclasses import dataclass, field

__all__ = ["Deadlines", "Lines", "Loop", "Timer"]

MAX_LINE = 65536
MAX_DRAIN = 64


@dataclass(order=True, slots=True)
class Timer:
    """Something to do later, unless cancelled."""

    when: float
    order: int
    call: Callable[[], None] = field(compare=False)
    is_cancelled: bool = field(default=False, compare=False)

    def cancel(self) -> None:
        """Never call it."""
        self.is_cancelled = True


class Loop:
    """Wait for descriptors, signals and times; call who asked."""

    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()
        self._timers: list[Timer] = []
        self._count = 0
        self._on_signal: dict[int, Callable[[], None]] = {}
        self._wake, write = socket.socketpair()
        self._wake.setblocking(False)
        write.setblocking(False)
        self._write = write
        self._woken_before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        self.on_readable(self._wake.fileno(), self._signals)

    def on_signal(self, number: int, call: Callable[[], None]) -> None:
        """Call *call* from the loop when signal *number* comes."""
        self._on_signal[number] = call
        signal.signal(number, lambda _number, _frame: None)

    def on_readable(self, handle: int, call: Callable[[], None]) -> None:
        """Call *call* whenever *handle* can be read."""
        self._register(handle, selectors.EVENT_READ, call)

    def on_ready(self, handle: int, call: Callable[[], None], *, write: bool) -> None:
        """The same for a socket, and where *write* is asked also when it takes bytes again."""
        events = selectors.EVENT_READ | (selectors.EVENT_WRITE if write else 0)
        self._register(handle, events, call)

    def _register(self, handle: int, events: int, call: Callable[[], None]) -> None:
        try:
            self._selector.modify(handle, events, call)
        except KeyError:
            self._selector.register(handle, events, call)

    def forget(self, handle: int) -> None:
        """Watch *handle* no more."""
        with contextlib.suppress(KeyError, ValueError):
            self._selector.unregister(handle)

    def later(self, seconds: float, call: Callable[[], None]) -> Timer:
        """Call *call* after *seconds*."""
        self._count += 1
        timer = Timer(time.monotonic() + seconds, self._count, call)
        heapq.heappush(self._timers, timer)
        return timer

    def run(self, is_done: Callable[[], bool]) -> None:
        """Go on until *is_done* says so."""
        while not is_done():
            for key, _events in self._selector.select(self._patience()):
                key.data()
            self._due()

    def close(self) -> None:
        """Give its own descriptors back; signals wake whom they woke before."""
        signal.set_wakeup_fd(self._woken_before, warn_on_full_buffer=False)
        self._selector.close()
        self._wake.close()
        self._write.close()

    def _patience(self) -> float | None:
        while self._timers and self._timers[0].is_cancelled:
            heapq.heappop(self._timers)
        return max(0.0, self._timers[0].when - time.monotonic()) if self._timers else None

    def _due(self) -> None:
        now = time.monotonic()
        while self._timers and self._timers[0].when <= now:
            timer = heapq.heappop(self._timers)
            if not timer.is_cancelled:
                timer.call()

    def _signals(self) -> None:
        with contextlib.suppress(BlockingIOError):
            for number in dict.fromkeys(self._wake.recv(4096)):
                call = self._on_signal.get(number)
                if call is not None:
                    call()


class Deadlines:
    """Timers by name: setting one again replaces it."""

    def __init__(self, loop: Loop) -> None:
        self._loop = loop
        self._timers: dict[str, Timer] = {}

    def set(self, name: str, seconds: float, call: Callable[[], None]) -> None:
        """Call *call* after *seconds*, unless *name* is set anew or cancelled before."""
        self.cancel(name)
        self._timers[name] = self._loop.later(seconds, call)

    def cancel(self, name: str) -> None:
        """Forget *name*; absent is fine."""
        timer = self._timers.pop(name, None)
        if timer is not None:
            timer.cancel()

    def cancel_all(self) -> None:
        """Forget all."""
        for name in list(self._timers):
            self.cancel(name)


class Lines:
    """Cut what comes out of a pipe into lines; a line longer than 64 KiB is cut up."""

    def __init__(self, loop: Loop, handle: int, on_line: Callable[[str], None]) -> None:
        self._loop, self._handle, self._on_line = loop, handle, on_line
        self._rest = b""
        os.set_blocking(handle, False)
        loop.on_readable(handle, self._take)

    def _take(self) -> None:
        self._read()

    def _read(self) -> bool:
        if self._handle < 0:
            return False
        try:
            data = os.read(self._handle, MAX_LINE)
        except BlockingIOError:
            return False
        except OSError:
            data = b""
        *lines, self._rest = (self._rest + data).split(b"\n")
        for line in lines:
            self._hand_on(line)
        if len(self._rest) >= MAX_LINE:
            self._end_line()
        if not data:
            self.close()
        return bool(data)

    def drain(self) -> None:
        """Take what is still in the pipe, without waiting for its end."""
        for _ in range(MAX_DRAIN):
            if not self._read():
                break
        self.close()

    def close(self) -> None:
        """Give the descriptor back; a last line that was never ended is one, too.

        What the program left running may hold the pipe open, so its end need not come.
        """
        if self._handle >= 0:
            self._loop.forget(self._handle)
            os.close(self._handle)
            self._handle = -1
            self._end_line()

    def _end_line(self) -> None:
        rest, self._rest = self._rest, b""
        if rest:
            self._hand_on(rest)

    def _hand_on(self, line: bytes) -> None:
        self._on_line(line.decode("utf-8", errors="replace"))
