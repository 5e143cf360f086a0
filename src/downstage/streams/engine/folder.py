"""The folder of one engine: one platform at a time, and no engine left over from a killed one.

Two locks, which the kernel releases whatever happens: ``owner.lock`` is held by the platform,
``engine.lock`` by the engine itself, which inherits it. So an engine that outlived its platform is
known for certain, also where process ids were used again.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import time
from collections.abc import Generator
from dataclasses import dataclass
from pathlib import Path

from downstage.kernel.errors import SetupError
from downstage.kernel.logging import get_logger
from downstage.streams.engine.address import Address
from downstage.streams.engine.configuration import USER

__all__ = ["EngineFolder", "owned"]

TERM_S = 5.0
KILL_S = 5.0
LONGEST_SOCKET = 100
"""Bytes of a unix socket's path; the kernel takes 107."""
log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class EngineFolder:
    """Where the files of one engine are."""

    path: Path

    @property
    def config(self) -> Path:
        """Its configuration, mode 0600."""
        return self.path / "engine.conf"

    @property
    def access(self) -> Path:
        """Where it listens and the password, for other workers of this platform; mode 0600."""
        return self.path / "access.json"

    @property
    def socket(self) -> Path | None:
        """Its unix socket; None where the path would be too long."""
        path = self.path / "engine.sock"
        return path if len(os.fsencode(path)) <= LONGEST_SOCKET else None

    def write(self, path: Path, text: str) -> None:
        """Write a file that nobody else may read."""
        handle = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            os.fchmod(file.fileno(), 0o600)
            file.write(text)

    def publish(self, address: Address) -> None:
        """Tell other workers of this platform where the engine is."""
        facts = {"path": address.path, "port": address.port, "password": address.password}
        self.write(self.access, json.dumps(facts))

    def unpublish(self) -> None:
        """Tell that there is none any more."""
        self.access.unlink(missing_ok=True)

    def read_access(self) -> Address:
        """The address that the owner published.

        Raises:
            SetupError: there is none.
        """
        try:
            facts = json.loads(self.access.read_text(encoding="utf-8"))
            host = "" if facts["path"] else "127.0.0.1"
            return Address(host, facts["port"], facts["path"], USER, facts["password"])
        except (OSError, ValueError, KeyError) as error:
            raise SetupError(f"No engine of streams was started in {self.path}.") from error

    def lock_for_engine(self) -> int:
        """A descriptor that holds ``engine.lock``, for the engine to inherit.

        An engine that still holds it is a leftover: its platform is gone, else `owned` would have
        refused. It is asked to end, then made to.

        Raises:
            SetupError: it could not be ended.
        """
        handle = os.open(self.path / "engine.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if not _try_lock(handle):
                self._end_leftovers(handle)
        except BaseException:
            os.close(handle)
            raise
        return handle

    def _end_leftovers(self, handle: int) -> None:
        for number, patience_s in ((signal.SIGTERM, TERM_S), (signal.SIGKILL, KILL_S)):
            pids = _signal_holders(handle, number)
            log.warning("engine.leftover_found", pids=pids, signal=number.name)
            deadline = time.monotonic() + patience_s
            while time.monotonic() < deadline:
                if _try_lock(handle):
                    return
                time.sleep(0.01)  # the lock of another process can only be tried
        raise SetupError(
            f"An engine of streams still runs in {self.path} and cannot be ended; end it by hand."
        )


@contextlib.contextmanager
def owned(path: Path) -> Generator[EngineFolder]:
    """Hold the folder for this platform alone; it is made, mode 0700, where there is none.

    Raises:
        SetupError: another platform holds it, or it cannot be written.
    """
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        path.chmod(0o700)
        handle = os.open(path / "owner.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(f"The folder of streams cannot be used: {error}") from error
    try:
        if not _try_lock(handle):
            raise SetupError(
                f"Another platform keeps its streams in {path}; choose another streams.folder."
            )
        yield EngineFolder(path.resolve())
    finally:
        os.close(handle)


def _try_lock(handle: int) -> bool:
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _signal_holders(handle: int, number: signal.Signals) -> list[int]:
    """Signal every process that has the file of *handle* open, but this one; returns their ids."""
    ours = os.fstat(handle)
    signalled = list[int]()
    for entry in os.listdir("/proc"):  # noqa: PTH208 - a Path for each is slow
        if not entry.isdigit() or int(entry) == os.getpid():
            continue
        with contextlib.suppress(OSError):  # it went, or is somebody else's
            process = os.pidfd_open(int(entry))
            try:  # the descriptor is taken first: a number that is used again is not signalled
                if _has_open(int(entry), ours):
                    signal.pidfd_send_signal(process, number)
                    signal.pidfd_send_signal(process, signal.SIGCONT)  # one that stands hears it
                    signalled.append(int(entry))
            finally:
                os.close(process)
    return signalled


def _has_open(pid: int, wanted: os.stat_result) -> bool:
    folder = f"/proc/{pid}/fd"
    for name in os.listdir(folder):  # noqa: PTH208 - a Path for each is slow
        with contextlib.suppress(OSError):
            found = os.stat(f"{folder}/{name}")  # noqa: PTH116 - follows the link, cheaply
            if os.path.samestat(found, wanted):
                return True
    return False
