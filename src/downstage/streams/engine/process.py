"""Our own engine as a child process: started, watched, started again, ended with us."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import signal
import socket
import subprocess
from collections import deque
from pathlib import Path

import anyio
import anyio.abc
import anyio.to_thread

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.services.child import launched
from downstage.streams.engine.address import Address
from downstage.streams.engine.configuration import (
    USER,
    EngineOptions,
    configuration,
    find_engine,
)
from downstage.streams.engine.folder import EngineFolder, owned
from downstage.streams.engine.log_sync import LogSync

__all__ = ["EngineProcess"]

START_S = 15.0
STOP_S = 10.0
FIRST_PAUSE_S = 0.1
LONGEST_PAUSE_S = 5.0
LAST_WORDS_S = 0.5
STEADY_S = 30.0
"""An engine that lived as long is no repeated failure."""
LINES = 20
LINE = re.compile(r"\d+:\w \d+ \w+ \d+ [\d:.]+ ([.\-*#]) (.*)")

log = get_logger(__name__)


class EngineProcess:
    """One ``valkey-server`` of ours in a folder of its own.

    `run` keeps it up. Start it from the thread of the event loop, which lives as long as the
    platform: the engine is told to end when the thread that started it does.
    """

    def __init__(
        self, folder: Path, options: EngineOptions | None = None, *, name: str = "engine"
    ) -> None:
        self.name = name
        self.options = options or EngineOptions()
        self.address = Address()
        """Where it listens; set once `run` has started it."""
        self.pid: int | None = None
        """None while it does not run."""
        self.starts = 0
        """How often it was started."""
        self._path = folder
        self._lines: deque[str] = deque(maxlen=LINES)
        self._password = secrets.token_urlsafe(32)
        self._port = 0
        self._read_all = anyio.Event()

    @property
    def last_words(self) -> str:
        """What it printed last; holds no secret."""
        return " ".join(list(self._lines)[-3:])[:400]

    @property
    def is_disk_failing(self) -> bool:
        """Whether it ended because its log could not be written: the disk is full, most likely."""
        return self.pid is None and any("AOF write error" in line for line in self._lines)

    async def run(
        self, *, task_status: anyio.abc.TaskStatus[None] = anyio.TASK_STATUS_IGNORED
    ) -> None:
        """Keep it running until cancelled; started once it takes connections.

        Raises:
            SetupError: the folder is taken, or it did not start the first time.
        """
        manager = owned(self._path)
        folder = await anyio.to_thread.run_sync(manager.__enter__)
        try:
            await self._keep_up(folder, task_status)
        finally:
            folder.unpublish()
            manager.__exit__(None, None, None)

    async def _keep_up(self, folder: EngineFolder, task_status: anyio.abc.TaskStatus[None]) -> None:
        pause = FIRST_PAUSE_S
        while True:
            began = anyio.current_time()
            try:
                await self._one_life(folder, task_status)
            except (SetupError, OSError) as error:
                if self.starts <= 1:
                    raise
                log.warning("engine.not_started", name=self.name, why=str(error))
            if anyio.current_time() - began > STEADY_S:
                pause = FIRST_PAUSE_S
            await anyio.sleep(pause)
            pause = min(pause * 2, LONGEST_PAUSE_S)

    async def _one_life(
        self, folder: EngineFolder, task_status: anyio.abc.TaskStatus[None]
    ) -> None:
        lock = await anyio.to_thread.run_sync(folder.lock_for_engine)
        try:
            self.starts += 1
            await anyio.to_thread.run_sync(self._write, folder)
            process = await self._spawn(folder, lock)
        finally:
            os.close(lock)  # the engine has inherited it
        self.pid = process.pid
        why: str | None = None
        try:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(self._read, process)
                why = await self._until_it_listens(process)
                if why is None:
                    log.info("engine.started", name=self.name, pid=process.pid, times=self.starts)
                    if self.starts == 1:
                        task_status.started()
                    if self.options.fsync == "everysec":
                        tasks.start_soon(LogSync(folder.path / "log").run)
                    await self._until_it_ends(process)
                tasks.cancel_scope.cancel()
        finally:
            self.pid = None
            with anyio.CancelScope(shield=True):
                await _end(process)
        if why is not None:
            raise SetupError(why)

    def _write(self, folder: EngineFolder) -> None:
        path = folder.socket
        if path is None:
            self._port = self._port or _free_port()
            self.address = Address("127.0.0.1", self._port, "", USER, self._password)
        else:
            self.address = Address("", 0, str(path), USER, self._password)
        text = configuration(
            folder.path, self.options, self._password, socket=path, port=self._port
        )
        folder.write(folder.config, text)
        folder.publish(self.address)

    async def _spawn(self, folder: EngineFolder, lock: int) -> anyio.abc.Process:
        self._lines.clear()
        self._read_all = anyio.Event()
        return await anyio.open_process(
            launched([find_engine(), str(folder.config)]),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            env={"PATH": os.environ.get("PATH", "/usr/bin:/bin"), "LANG": "C.UTF-8"},
            start_new_session=True,
            pass_fds=(lock,),
        )

    async def _until_it_ends(self, process: anyio.abc.Process) -> None:
        code = await process.wait()
        self.pid = None
        # A process that rewrote its log may hold the pipe a little longer: do not wait for that.
        with anyio.move_on_after(LAST_WORDS_S):
            await self._read_all.wait()
        log.warning("engine.died", name=self.name, code=code, last_words=self.last_words)

    async def _until_it_listens(self, process: anyio.abc.Process) -> str | None:
        """None once it does; else why it will not."""
        with anyio.move_on_after(START_S):
            while not await self._listens():
                if process.returncode is not None:
                    return f"The engine of streams did not start: {self.last_words}"
                await anyio.sleep(0.01)  # it says nothing before all is loaded
            return None
        return f"The engine of streams did not listen within {START_S:g} s."

    async def _listens(self) -> bool:
        loop = asyncio.get_running_loop()
        at = self.address
        try:
            if at.path:
                transport, _ = await loop.create_unix_connection(asyncio.Protocol, at.path)
            else:
                transport, _ = await loop.create_connection(asyncio.Protocol, at.host, at.port)
        except OSError:
            return False
        transport.close()
        return True

    async def _read(self, process: anyio.abc.Process) -> None:
        """Keep its last lines and log its warnings; a full pipe would block it."""
        assert process.stdout is not None  # noqa: S101 - asked for a pipe
        rest = ""
        try:
            async for chunk in process.stdout:
                *lines, rest = (rest + chunk.decode("utf-8", "replace")).split("\n")
                rest = rest[-4096:]
                for line in lines:
                    self._note(line.strip())
        except (anyio.ClosedResourceError, anyio.BrokenResourceError):
            return
        finally:
            self._read_all.set()

    def _note(self, line: str) -> None:
        found = LINE.fullmatch(line)
        level, text = (found[1], found[2]) if found else ("-", line)
        if not text:
            return
        self._lines.append(text)
        if level == "#":
            log.info("engine.warned", name=self.name, text=text[:256])


async def _end(process: anyio.abc.Process) -> None:
    """Ask it to end, then make it; returns once it has gone."""
    if process.returncode is None:
        process.send_signal(signal.SIGTERM)
        with anyio.move_on_after(STOP_S):
            await process.wait()
        if process.returncode is None:
            log.warning("engine.killed", pid=process.pid)
            process.kill()
            await process.wait()
    if process.stdout is not None:
        await process.stdout.aclose()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
