"""Programs of others as children of ours: started, watched, ended with us however we end."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections import deque
from collections.abc import Awaitable, Callable, Mapping, Sequence

import anyio
import anyio.abc

from downstage.kernel.logging import get_logger

__all__ = ["Child", "end_process", "keep_alive", "launched"]

FIRST_PAUSE_S, LONGEST_PAUSE_S = 0.2, 10.0
STEADY_S = 30.0
"""A program that lived as long is no repeated failure."""
STOP_S = 2.0
LINES = 20

LAUNCH = """
import ctypes, os, sys
ctypes.CDLL(None).prctl(1, 15, 0, 0, 0)
if os.getppid() != int(sys.argv[1]):
    os._exit(113)
os.execv(sys.argv[2], sys.argv[2:])
"""
"""Asks for SIGTERM when the thread that started it ends, then becomes the program. A program of its
own because what runs between fork and exec of a process with threads may hang."""
log = get_logger(__name__)


def launched(command: Sequence[str]) -> list[str]:
    """The command line that starts *command* so that it ends when the starting thread does.

    Start it from the thread of the event loop, which lives as long as the process.
    """
    return [sys.executable, "-I", "-S", "-c", LAUNCH, str(os.getpid()), *command]


async def end_process(process: anyio.abc.Process, *, stop_s: float = STOP_S) -> None:
    """Ask it to end, then make it; returns once it has gone and its pipes are closed."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(stop_s):
            await process.wait()
        if process.returncode is None:
            process.kill()
            await process.wait()
    await process.aclose()


async def keep_alive(name: str, one_life: Callable[[], Awaitable[None]]) -> None:
    """Start a program again whenever *one_life* of it has ended, later each time it was short.

    *name* is for the log. Runs until cancelled.
    """
    pause = FIRST_PAUSE_S
    while True:
        began = anyio.current_time()
        try:
            await one_life()
        except OSError as error:
            log.warning("child.not_started", name=name, why=str(error))
        if anyio.current_time() - began > STEADY_S:
            pause = FIRST_PAUSE_S
        await anyio.sleep(pause)
        pause = min(pause * 2, LONGEST_PAUSE_S)


class Child:
    """Keeps one program running.

    Args:
        name: for the log.
        command: the program by its full path, and its arguments: no secret among them.
        environment: all of it; nothing of ours is handed on.
        stop_s: seconds that it gets to end.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        stop_s: float = STOP_S,
    ) -> None:
        self.name = name
        self._command = list(command)
        self._environment = dict(environment)
        self._stop_s = stop_s
        self._lines: deque[str] = deque(maxlen=LINES)
        self.pid: int | None = None
        """None while it does not run."""
        self.starts = 0
        """How often it was started."""

    @property
    def last_words(self) -> str:
        """What it printed last."""
        return " ".join(list(self._lines)[-2:])[:400]

    async def run(self) -> None:
        """Keep it running until cancelled."""
        await keep_alive(self.name, self._one_life)

    async def _one_life(self) -> None:
        process = await anyio.open_process(
            launched(self._command),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env=self._environment,
            start_new_session=True,
        )
        self.pid, self.starts = process.pid, self.starts + 1
        log.info("child.started", name=self.name, pid=process.pid)
        try:
            await self._read(process)
            code = await process.wait()
            log.warning("child.died", name=self.name, code=code, last_words=self.last_words)
        finally:
            self.pid = None
            with anyio.CancelScope(shield=True):
                await end_process(process, stop_s=self._stop_s)

    async def _read(self, process: anyio.abc.Process) -> None:
        """Keep its last lines; a full pipe would block it."""
        if process.stdout is None:
            return
        async for chunk in process.stdout:
            self._lines.extend(chunk.decode("utf-8", "replace").strip().splitlines())
