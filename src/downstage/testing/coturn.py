"""A real TURN server (coturn) on this machine, configured as the product configures it."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

__all__ = ["Coturn", "has_coturn", "serve_coturn"]

START_S = 10.0
STOP_S = 5.0


@dataclass(frozen=True, slots=True)
class Coturn:
    """A running server."""

    address: str
    port: int
    process: subprocess.Popen[bytes]

    @property
    def url(self) -> str:
        """Its address, as ICE servers are named."""
        return f"turn:{self.address}:{self.port}"


def has_coturn() -> bool:
    """Whether the program is installed."""
    return shutil.which("turnserver") is not None


@contextmanager
def serve_coturn(
    folder: Path, text: str, *, address: str, port: int, further: Sequence[str] = ()
) -> Generator[Coturn]:
    """Run coturn with the configuration *text*, until the block ends.

    Args:
        folder: for its files.
        text: the configuration.
        address: where *text* says that it listens.
        port: its port there; awaited.
        further: lines of a test's own, such as an address it may reach.
    """
    file = folder / "turnserver.conf"
    file.write_text(text + "".join(f"{line}\n" for line in further))
    log = (folder / "turnserver.log").open("wb")
    process = subprocess.Popen(
        ["turnserver", "-c", str(file), "--log-file", "stdout", "--simple-log", "--pidfile", ""],
        stdout=log,
        stderr=subprocess.STDOUT,
        cwd=folder,
        env={**os.environ, "HOME": str(folder)},
    )
    try:
        _wait(address, port, process)
        yield Coturn(address, port, process)
    finally:
        process.terminate()
        try:
            process.wait(STOP_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait(STOP_S)
        log.close()


def _wait(address: str, port: int, process: subprocess.Popen[bytes]) -> None:
    """Until its TCP listener answers: it opens beside the UDP one."""
    until = time.monotonic() + START_S
    while time.monotonic() < until:
        if process.poll() is not None:
            msg = f"turnserver ended with {process.returncode}"
            raise RuntimeError(msg)
        try:
            socket.create_connection((address, port), timeout=0.5).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    msg = "turnserver did not listen in time"
    raise RuntimeError(msg)
