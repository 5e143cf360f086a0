"""Who held the event loop: time of each callback, not of a busy machine.

A callback that computes for 20 ms, or sleeps in a system call, delays every other connection.
Wall time alone cannot tell that from a machine whose cores others use, so the watchdog asks the
kernel how long the loop's thread waited for a core, and takes that off. Python's own garbage
collection is taken off as well: in a test its cost is that of the test runner's heap.
"""
# ruff: noqa: SLF001 - asyncio tells of its callbacks by private names alone

from __future__ import annotations

import asyncio
import gc
import os
import threading
import time
from asyncio import base_events, events
from collections.abc import Callable, Generator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any, cast

__all__ = ["BLOCKED_S", "COMPUTED_S", "RUNNER", "Hold", "Watchdog", "watch_loop"]

COMPUTED_S = 0.020
"""Processor time that one callback may take."""

BLOCKED_S = 0.100
"""Time that one callback may sleep in the kernel; a page fault or another thread's turn is less."""

OWN_S = 0.040
"""Processor time that one stretch of the test's own task may take: nobody is served by it."""

RUNNER = "TestRunner._run_tests_and_fixtures"
"""The task in which pytest runs a test, by anyio's name for it."""

SCHEDSTAT = "/proc/thread-self/schedstat"


@dataclass(frozen=True, slots=True)
class Hold:
    """One callback that kept the loop too long."""

    callback: str
    computed_s: float
    blocked_s: float

    def __str__(self) -> str:
        """One line for the test's report."""
        computed, blocked = self.computed_s * 1000, self.blocked_s * 1000
        return f"{computed:.1f} ms computing, {blocked:.1f} ms blocked: {self.callback}"


@dataclass(slots=True)
class Watchdog:
    """What was seen; `allow` names callbacks that are not the product's."""

    computed_s: float = COMPUTED_S
    blocked_s: float = BLOCKED_S
    allow: tuple[str, ...] = ()
    own: str = ""
    """Part of the name of the task in which the test itself runs."""
    own_s: float = OWN_S
    holds: list[Hold] = field(default_factory=list[Hold])

    def judge(self, callback: Callable[[], str], computed: float, blocked: float) -> None:
        """Remember a callback that took more than it may."""
        if computed <= self.computed_s and blocked <= self.blocked_s:
            return
        name = callback()
        is_own = bool(self.own) and self.own in name
        if is_own and computed <= self.own_s and blocked <= self.blocked_s:
            return
        if not any(part in name for part in self.allow):
            self.holds.append(Hold(name, computed, blocked))

    def report(self) -> str:
        """All holds, the longest first; empty if there were none."""
        worst = sorted(self.holds, key=lambda hold: -(hold.computed_s + hold.blocked_s))
        return "\n".join(str(hold) for hold in worst)


class _Meter:
    """Wall, processor and waiting time of the loop's thread, without garbage collection."""

    def __init__(self) -> None:
        self.closed = False
        self._collected = [0.0, 0.0]
        self._began = (0.0, 0.0)
        self._thread = threading.get_ident()
        self._file = os.open(SCHEDSTAT, os.O_RDONLY) if os.path.exists(SCHEDSTAT) else -1  # noqa: PTH110

    def read(self) -> tuple[float, float, float]:
        """(wall, processor, waited for a core), seconds."""
        computed = time.thread_time() - self._collected[1]
        wall = time.perf_counter() - self._collected[0]
        if self._file < 0:
            return wall, computed, 0.0
        return wall, computed, int(os.pread(self._file, 64, 0).split()[1]) / 1e9

    def on_collection(self, phase: str, _info: dict[str, int]) -> None:
        """Called by the garbage collector before and after."""
        if threading.get_ident() != self._thread:
            return
        now = (time.perf_counter(), time.thread_time())
        if phase == "start":
            self._began = now
        else:
            self._collected[0] += now[0] - self._began[0]
            self._collected[1] += now[1] - self._began[1]

    def close(self) -> None:
        """Give the file back; the callback that runs now is not judged any more."""
        self.closed = True
        if self._file >= 0:
            os.close(self._file)


@contextmanager
def watch_loop(watchdog: Watchdog | None = None) -> Generator[Watchdog]:
    """Time every callback of the running asyncio loop until exit.

    Works for asyncio's own loop, which runs handles that Python can see; not for uvloop.
    """
    found = watchdog or Watchdog()
    loop = asyncio.get_running_loop()
    meter = _Meter()
    handle_class = cast("Any", events.Handle)
    plain_run: Callable[[Any], None] = handle_class._run
    describe = cast("Any", base_events)._format_handle

    def timed_run(handle: Any) -> None:
        if handle._loop is not loop:
            plain_run(handle)
            return
        wall, computed, waited = meter.read()
        plain_run(handle)
        if meter.closed:
            return
        wall_after, computed_after, waited_after = meter.read()
        used = computed_after - computed
        blocked = (wall_after - wall) - used - (waited_after - waited)
        found.judge(lambda: str(describe(handle)), used, max(0.0, blocked))

    handle_class._run = timed_run
    gc.callbacks.append(meter.on_collection)
    try:
        yield found
    finally:
        gc.callbacks.remove(meter.on_collection)
        handle_class._run = plain_run
        meter.close()
