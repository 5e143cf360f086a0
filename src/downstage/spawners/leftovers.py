"""What an instance leaves when its keeper was killed: found, killed, waited for, cleared."""

from __future__ import annotations

import contextlib
import os
import signal
from pathlib import Path

import anyio
import anyio.to_thread

from downstage.kernel.logging import get_logger
from downstage.spawners.keeper import display, folder, linux
from downstage.spawners.plan import Report

__all__ = ["clear", "gone", "kill", "kill_left"]

CLEAN_S = 5.0
log = get_logger(__name__)


async def kill_left(instance_id: str, report: Report | None) -> None:
    """Kill every process of the instance and wait until the last is gone.

    They are known by the process ids of the last *report*, each with its start time, and by
    the variable ``DOWNSTAGE_INSTANCE`` that all of them carry.
    """
    with anyio.move_on_after(CLEAN_S) as scope:
        known = list((report.pids if report else {}).values())
        living = [pid for pid, started in known if linux.start_time(pid) == started]
        while living := await _with_mark(instance_id, living):
            log.warning("instance.left_processes", instance_id=instance_id, count=len(living))
            for pid in living:
                kill(pid)
            for pid in living:
                await gone(pid)
            living = []
    if scope.cancelled_caught:
        log.error("instance.survived", instance_id=instance_id)


def clear(path: Path, report: Report | None) -> None:
    """Give back the display, remove secrets and sockets; the logs stay."""
    if report is not None and report.display is not None and "keeper" in report.pids:
        display.clean_display(report.display, report.pids["keeper"][0])
    folder.clear(path)
    with contextlib.suppress(OSError):
        (path / "keeper.sock").unlink()


async def _with_mark(instance_id: str, known: list[int]) -> list[int]:
    found = known + await anyio.to_thread.run_sync(_marked, instance_id)
    return [pid for pid in dict.fromkeys(found) if linux.start_time(pid) is not None]


def _marked(instance_id: str) -> list[int]:
    """Processes that carry this instance's mark in their environment."""
    mark = b"DOWNSTAGE_INSTANCE=" + instance_id.encode()
    found = list[int]()
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                variables = (entry / "environ").read_bytes().split(b"\0")
            except OSError:
                continue
            if mark in variables:
                found.append(int(entry.name))
    return found


def kill(pid: int) -> None:
    """SIGKILL, if it is still there."""
    try:
        os.kill(pid, signal.SIGKILL)
    except ProcessLookupError:
        return


async def gone(pid: int) -> None:
    """Return once *pid* has ended; it need not be our child."""
    try:
        handle = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        await anyio.wait_readable(handle)
    finally:
        os.close(handle)
