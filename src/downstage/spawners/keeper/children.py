"""The processes of an instance: started here, reaped here, none left behind."""

from __future__ import annotations

import contextlib
import os
import resource
import signal
import subprocess
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from downstage.spawners.keeper import linux
from downstage.spawners.keeper.loop import Lines, Loop

__all__ = ["Child", "Children"]

EXEC_FAILED = 127


class Child:
    """One process that we started; its whole process group is ours."""

    def __init__(self, name: str, process: subprocess.Popen[bytes], lines: list[Lines]) -> None:
        self.name = name
        self.process = process
        self.pid = process.pid
        self.started = linux.start_time(process.pid) or 0
        self._lines = lines

    def signal(self, number: int) -> None:
        """Send *number* to its process group, while it is not reaped."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(self.pid, number)

    def signal_itself(self, number: int) -> None:
        """Send *number* to it and to nothing that it started."""
        if self.process.returncode is None:
            with contextlib.suppress(ProcessLookupError):
                os.kill(self.pid, number)

    def signal_inside(self, number: int) -> None:
        """Send *number* to what runs below it, past bubblewrap's own two processes.

        Bubblewrap hands no signal on, and the first process of the sandbox must live until
        the application is gone; so only what is below that one is asked to end.
        """
        inner = [leaf for first in linux.children_of(self.pid) for leaf in linux.descendants(first)]
        for pid in inner:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, number)

    def finish_output(self) -> None:
        """Take the last of its output; what it left running may still hold the pipe."""
        for lines in self._lines:
            lines.drain()


class Children:
    """Every child of the keeper, by name."""

    def __init__(self, loop: Loop, on_exit: Callable[[Child, int], None]) -> None:
        self._loop, self._on_exit = loop, on_exit
        self._living: dict[int, Child] = {}
        self.has_none = False
        loop.on_signal(signal.SIGCHLD, self.reap)

    def spawn(
        self,
        name: str,
        command: Sequence[str],
        environment: Mapping[str, str],
        *,
        output: Callable[[str], None] | None = None,
        errors: Callable[[str], None] | None = None,
        pass_fds: Sequence[int] = (),
        folder: Path | str = "/",
        death_signal: int = signal.SIGKILL,
        limits: Mapping[int, int] | None = None,
    ) -> Child:
        """Start *command*; it ends with us, whatever happens to us.

        Args:
            name: one word, unique among the living.
            command: argument vector.
            environment: all of its environment.
            output: takes each line of standard output, and of standard error where *errors*
                is None; None drops both.
            errors: takes each line of standard error.
            pass_fds: descriptors it inherits.
            folder: its working folder.
            death_signal: what it gets when the keeper dies.
            limits: resource → bound.

        Raises:
            OSError: it cannot be started.
        """
        parent = os.getpid()

        def prepare() -> None:
            linux.die_with_parent(death_signal, parent)
            for number in (signal.SIGINT, signal.SIGHUP, signal.SIGCHLD, signal.SIGTERM):
                signal.signal(number, signal.SIG_DFL)
            for kind, bound in (limits or {}).items():
                resource.setrlimit(kind, (bound, bound))

        pipe = subprocess.PIPE
        process = subprocess.Popen(
            list(command),
            env=dict(environment),
            stdin=subprocess.DEVNULL,
            stdout=pipe if output else subprocess.DEVNULL,
            stderr=pipe if errors else (subprocess.STDOUT if output else subprocess.DEVNULL),
            pass_fds=pass_fds,
            cwd=folder,
            start_new_session=True,
            preexec_fn=prepare,  # noqa: PLW1509 - one thread, see the package's docstring
        )
        child = Child(name, process, self._taps(process, output, errors))
        self._living[child.pid] = child
        return child

    def _taps(
        self,
        process: subprocess.Popen[bytes],
        output: Callable[[str], None] | None,
        errors: Callable[[str], None] | None,
    ) -> list[Lines]:
        taps = list[Lines]()
        for stream, call in ((process.stdout, output), (process.stderr, errors)):
            if stream is not None and call is not None:
                taps.append(Lines(self._loop, os.dup(stream.fileno()), call))
                stream.close()
        return taps

    def get(self, name: str) -> Child | None:
        """The living child *name*."""
        return next((child for child in self._living.values() if child.name == name), None)

    def living(self) -> list[Child]:
        """All that live."""
        return list(self._living.values())

    def reap(self) -> None:
        """Collect everything that ended, ours and orphans that came to us."""
        ended = list[tuple[Child, int]]()
        self.has_none = False
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                self.has_none = True
                break
            if pid == 0:
                break
            child = self._living.get(pid)
            if child is not None:
                child.process.returncode = os.waitstatus_to_exitcode(status)
                ended.append((child, child.process.returncode))
        for child, code in ended:
            # Until then it counts as living: nobody shall take the end of one for that of all.
            if self._living.get(child.pid) is child:
                del self._living[child.pid]
            child.finish_output()
            self._on_exit(child, code)

    def kill_strays(self) -> bool:
        """Kill whatever is left below us; True once there is nothing."""
        self.reap()
        if not self.has_none:
            for pid in linux.descendants(os.getpid()):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(pid, signal.SIGKILL)
            self.reap()
        return self.has_none
