"""One service as a process of its own: started, stopped, halted, killed."""

from __future__ import annotations

import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["ServiceProcess"]

START_S = 120.0
END_S = 10.0
ANSWERS = " answers on "


class ServiceProcess:
    """``downstage serve NAME``; a context manager that leaves nothing running.

    Args:
        name: of the service.
        data: its data folder.
        settings: dotted, for example ``{"agent.region": "eu"}``.
        port: where it listens; 0: any free one, another at each start.
        prefix: words before the command, for example to enter a network namespace.
    """

    def __init__(
        self,
        name: str,
        data: Path,
        settings: Mapping[str, object],
        *,
        port: int = 0,
        prefix: tuple[str, ...] = (),
    ) -> None:
        self._name = name
        self._data = data
        self._settings = dict(settings)
        self._port = port
        self._prefix = prefix
        self._process: subprocess.Popen[str] | None = None
        self.url = ""

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "not started"  # noqa: S101 - a test's own mistake
        return self._process.pid

    def begin(self) -> None:
        """Start it and return at once; `wait` says when it answers."""
        given = {
            f"DOWNSTAGE_{k.upper().replace('.', '__')}": str(v) for k, v in self._settings.items()
        }
        command = [*self._prefix, sys.executable, "-m", "downstage", "serve", self._name]
        command += ["--port", str(self._port), "--operator-port", "0", "--data", str(self._data)]
        with self._file().open("a", encoding="utf-8") as output:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=output,
                text=True,
                env={**os.environ, **given},
            )

    def wait(self) -> None:
        """Return once it answers.

        Raises:
            RuntimeError: it ended or did not answer in time; the text has its output.
        """
        stdout = self._process.stdout if self._process else None
        assert stdout is not None, "not started"  # noqa: S101 - a test's own mistake
        with selectors.DefaultSelector() as selector:
            selector.register(stdout, selectors.EVENT_READ)
            line = stdout.readline() if selector.select(START_S) else ""
        if ANSWERS not in line:
            text = self.output()[-2000:]
            self.kill()
            raise RuntimeError(f"{self._name} did not start: {text}")
        self.url = line.partition(ANSWERS)[2].strip()

    def start(self) -> None:
        """Start it, and return once it answers."""
        self.begin()
        self.wait()

    def output(self) -> str:
        """What it has written to standard error."""
        path = self._file()
        return path.read_text(errors="replace") if path.exists() else ""

    def halt(self) -> None:
        """Stop its clock: connections stay, nothing moves."""
        os.kill(self.pid, signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end; by force after `END_S`. Safe to repeat."""
        self._end(signal.SIGTERM)

    def kill(self) -> None:
        """``kill -9``."""
        self._end(signal.SIGKILL)

    def _end(self, number: signal.Signals) -> None:
        process = self._process
        if process is None:
            return
        process.send_signal(number)
        process.send_signal(signal.SIGCONT)  # one that was halted hears nothing else
        try:
            process.wait(END_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
        self._process = None

    def _file(self) -> Path:
        return self._data.with_name(f"{self._data.name}.output")
