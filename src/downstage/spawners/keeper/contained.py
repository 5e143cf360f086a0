"""The application as a container: what its runner is handed, and what it tells.

The runner is a child like any other (`downstage.spawners.container.runner`); its standard error
carries JSON lines: ``pid`` of the container, ``ports`` as published, ``ended`` with reason, detail
and exit code, ``log`` for whoever looks into it.
"""

from __future__ import annotations

import dataclasses
import json
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from downstage.spawners.container.plan import SEAMS
from downstage.spawners.container.plan import Seams as ContainerSeams
from downstage.spawners.keeper import linux
from downstage.spawners.keeper.display import socket_of
from downstage.spawners.keeper.sandbox import Seams, environment_of
from downstage.spawners.plan import Plan, Report, write_private

__all__ = ["Contained", "Ended", "seams_of"]

RUNNER = "downstage.spawners.container.runner"


@dataclasses.dataclass(frozen=True, slots=True)
class Ended:
    """How the container ended, by its runner's word."""

    reason: str
    detail: str
    exit_code: int | None


class Contained:
    """What is known of the container of one instance."""

    def __init__(
        self,
        folder: Path,
        report: Report,
        publish: Callable[[], None],
        log: Callable[[str], None],
    ) -> None:
        self._folder, self._report, self._publish, self._log = folder, report, publish, log
        self._is_started = False
        self.ended: Ended | None = None

    @property
    def is_left(self) -> bool:
        """A runner was started and has not said that its container is gone."""
        return self._is_started and self.ended is None

    def start(self, plan: Plan, seams: Seams) -> tuple[list[str], dict[str, str]]:
        """Write what the runner is to know; its argument vector and its environment.

        Raises:
            OSError: it cannot be written.
        """
        write_private(self._folder / SEAMS, dataclasses.asdict(seams_of(plan, seams)))
        self._is_started = True
        return self.command(), runner_environment()

    def command(self, *options: str) -> list[str]:
        """Argument vector of the runner."""
        return [sys.executable, "-P", "-m", RUNNER, str(self._folder), *options]

    def told(self, line: str) -> None:
        """Take one line of what the runner says."""
        try:
            found: dict[str, Any] = json.loads(line)
        except ValueError:
            found = {}
        match found:
            case {"pid": int(pid)}:
                self._report.pids["container"] = [pid, linux.start_time(pid) or 0]
                self._publish()
            case {"ports": list()}:
                self._report.ports = found["ports"]
                self._publish()
            case {"ended": {"reason": str(reason), "detail": str(detail), "exit_code": code}}:
                self._report.pids.pop("container", None)
                self.ended = Ended(reason, detail, code if isinstance(code, int) else None)
            case {"log": str(text)}:
                self._log(text)
            case _:
                self._log(line)


def runner_environment() -> dict[str, str]:
    """All of a runner's environment."""
    return {"PATH": os.environ.get("PATH", os.defpath) + ":/usr/sbin:/sbin", "LANG": "C.UTF-8"}


def seams_of(plan: Plan, seams: Seams) -> ContainerSeams:
    """Environment and mounts: the places are those of `downstage.spawners.keeper.sandbox`."""
    environment = environment_of(plan, seams)
    if "PATH" not in plan.environment:
        del environment["PATH"]  # the image has its own
    mounts = [[str(seams.app), "/run/app", "rw"]]
    if seams.display is not None:
        path = str(socket_of(seams.display))
        mounts.append([path, path, "rw"])
    if seams.wayland is not None:
        mounts.append([str(seams.wayland), "/run/display/wayland-0", "rw"])
    if seams.pulse is not None:
        mounts.append([str(seams.pulse), "/run/display/pulse", "rw"])
    if seams.channels is not None:
        mounts.append([str(seams.channels), "/run/channels", "ro"])
    if plan.content_folder is not None:
        mounts.append([plan.content_folder, "/run/content", "ro"])
    mounts += [[path, path, "ro"] for path in plan.read_only]
    # As another user we may not hand our namespace to the engine.
    keeper = os.getpid() if seams.shares_memory and os.getuid() == 0 else None
    return ContainerSeams(environment, mounts, keeper)
