"""One more program beside an application that runs as a process of this machine.

`downstage.spawners.entered` takes it into every namespace of the application and makes it the same
user without privileges; only then do the application's own variables count, which it may have
changed to harm whoever looks in. Nothing of it stands in the process list but the program itself.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import select
import signal
import struct
import sys
import termios
from collections.abc import AsyncIterator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import anyio
import anyio.abc
import anyio.to_thread

from downstage.spawners import entered
from downstage.spawners.exec import CannotExec, Exec, ExecStream
from downstage.spawners.keeper import linux
from downstage.spawners.plan import Plan, Report, read_json

__all__ = ["ProcessExec", "enter_process"]

PIECE = 64 * 1024
GONE_S = 5.0
END_OF_FILE = b"\x04"
NAMESPACES = ("mnt", "pid", "uts", "ipc", "net")

_Handles = tuple[int, int, int]


async def enter_process(folder: Path, asked: Exec) -> ExecStream:
    """Start a program inside the instance of *folder*.

    Raises:
        CannotExec: no application runs there, or nothing can be started beside it.
    """
    command, environment, handles = await anyio.to_thread.run_sync(_prepare, folder, asked)
    try:
        return await ProcessExec.start(command, environment, asked, handles)
    finally:
        for handle in handles:
            os.close(handle)


def _prepare(folder: Path, asked: Exec) -> tuple[list[str], dict[str, str], list[int]]:
    """Argument vector and variables of what is started on this side, and what it is to inherit."""
    try:
        plan = read_json(folder / "plan.json", Plan)
        report = read_json(folder / "report.json", Report)
        pid = _application(plan, report)
        variables = Path(f"/proc/{pid}/environ").read_bytes()
    except (OSError, ValueError) as error:
        raise CannotExec("The application of this instance does not run.") from error
    terminal = {"TERM": "xterm-256color"} if asked.tty else {}
    environment = {**dict(_variables(os.fsdecode(variables))), **terminal, **asked.environment}
    if plan.isolation == "none":
        session = ["setsid", "--ctty", "--wait"] if asked.tty else []
        return [*session, *asked.command], environment, []
    is_other = plan.isolation != "userns"
    handle = _memory(
        {
            "pid": pid,
            "namespaces": list(NAMESPACES if is_other else ("user", *NAMESPACES)),
            "uid": plan.uid if is_other else None,
            "gid": plan.gid,
            "terminal": asked.tty,
            "command": list(asked.command),
            "environment": environment,
        }
    )
    program = [sys.executable, "-I", "-S", str(entered.__file__), str(handle)]
    return program, {"PATH": os.defpath}, [handle]


def _memory(asked: Mapping[str, Any]) -> int:
    """An unnamed file with *asked*: the process list shows nothing of it."""
    handle = os.memfd_create("entered")
    with os.fdopen(os.dup(handle), "wb") as file:
        file.write(json.dumps(asked).encode())
    os.lseek(handle, 0, os.SEEK_SET)
    return handle


def _variables(text: str) -> Iterator[tuple[str, str]]:
    for item in text.split("\0"):
        name, is_one, value = item.partition("=")
        if is_one:
            yield name, value


def _application(plan: Plan, report: Report) -> int:
    """The application's own process: below bubblewrap's two, where it is used."""
    pid, started = report.pids.get("application", (0, 0))
    if not pid or linux.start_time(pid) != started:
        raise ValueError("gone")
    if plan.isolation == "none":
        return pid
    below = linux.descendants(pid)
    if len(below) < 2:  # noqa: PLR2004 - the first process of the sandbox, then the application
        raise ValueError("not there yet")
    return below[1]


class ProcessExec:
    """A program that runs here, with pipes or a terminal; see `ExecStream`."""

    def __init__(
        self, process: anyio.abc.Process, stdin: int, outputs: Mapping[int, Literal[1, 2]]
    ) -> None:
        self._process, self._stdin = process, stdin
        self._outputs = dict(outputs)
        self._is_terminal = stdin in self._outputs
        self._ready = select.epoll()
        for handle in {stdin, *self._outputs}:
            os.set_blocking(handle, False)
        for handle in self._outputs:
            self._ready.register(handle, select.EPOLLIN)

    @classmethod
    async def start(
        cls,
        command: list[str],
        environment: Mapping[str, str],
        asked: Exec,
        handles: Sequence[int] = (),
    ) -> ProcessExec:
        """Start *command*.

        Raises:
            CannotExec: there is no such program here.
        """
        ours, theirs = _terminal(asked.size) if asked.tty else _pipes()
        try:
            process = await anyio.open_process(
                command,
                stdin=theirs[0],
                stdout=theirs[1],
                stderr=theirs[2],
                env=environment,
                cwd="/",
                start_new_session=True,
                pass_fds=handles,
            )
        except OSError as error:
            for handle in set(ours):
                os.close(handle)
            raise CannotExec(f"{command[0]} cannot be started: {error.strerror}.") from error
        finally:
            for handle in set(theirs):
                os.close(handle)
        outputs: dict[int, Literal[1, 2]] = {ours[2]: 2, ours[1]: 1}
        return cls(process, ours[0], outputs)

    async def output(self) -> AsyncIterator[tuple[Literal[1, 2], bytes]]:
        """What it writes, as it comes."""
        while self._outputs:
            await anyio.wait_readable(self._ready.fileno())
            for handle, _ in self._ready.poll(0):
                try:
                    data = os.read(handle, PIECE)
                except BlockingIOError:
                    continue
                except OSError:  # a terminal whose last program has gone
                    data = b""
                which = self._outputs[handle]
                if data:
                    yield which, data
                    continue
                self._ready.unregister(handle)
                del self._outputs[handle]
                if handle != self._stdin:
                    os.close(handle)

    async def send(self, data: bytes) -> None:
        """Hand it *data*."""
        view = memoryview(data)
        while view and self._stdin >= 0:
            try:
                view = view[os.write(self._stdin, view) :]
            except BlockingIOError:
                await anyio.wait_writable(self._stdin)
            except OSError:
                return

    async def end_input(self) -> None:
        """Close its standard input, or type the end of file."""
        if self._is_terminal:
            await self.send(END_OF_FILE)
        elif self._stdin >= 0:
            os.close(self._stdin)
            self._stdin = -1

    async def resize(self, columns: int, rows: int) -> None:
        """Tell the terminal's new size."""
        if self._is_terminal and self._stdin >= 0:
            _set_size(self._stdin, columns, rows)

    async def wait(self) -> int:
        """Its exit code."""
        code = await self._process.wait()
        return 128 - code if code < 0 else code

    async def close(self) -> None:
        """Kill what still runs of it, and give everything back."""
        with anyio.CancelScope(shield=True):
            if self._process.returncode is None:
                below = linux.descendants(self._process.pid)
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(self._process.pid, signal.SIGKILL)  # also what it just forks
                for pid in below:  # and shells' jobs, which are groups of their own
                    with contextlib.suppress(ProcessLookupError):
                        os.kill(pid, signal.SIGKILL)
                with anyio.move_on_after(GONE_S):
                    await self._process.wait()
            self._ready.close()
            for handle in {self._stdin, *self._outputs} - {-1}:
                os.close(handle)
            self._outputs, self._stdin = {}, -1


def _pipes() -> tuple[_Handles, _Handles]:
    """Our ends and its ends, of standard input, output and error."""
    (its_in, our_in), (our_out, its_out), (our_err, its_err) = os.pipe(), os.pipe(), os.pipe()
    return (our_in, our_out, our_err), (its_in, its_out, its_err)


def _terminal(size: tuple[int, int]) -> tuple[_Handles, _Handles]:
    ours, its = pty.openpty()
    _set_size(ours, *size)
    return (ours, ours, ours), (its, its, its)


def _set_size(handle: int, columns: int, rows: int) -> None:
    fcntl.ioctl(handle, termios.TIOCSWINSZ, struct.pack("HHHH", rows, columns, 0, 0))
