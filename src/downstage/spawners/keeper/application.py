"""The application of an instance: a plain process, one in bubblewrap, or a container's runner."""

from __future__ import annotations

import functools
import os
import resource
import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from downstage.spawners.keeper import sandbox
from downstage.spawners.keeper.children import Child, Children
from downstage.spawners.keeper.contained import Contained, runner_environment
from downstage.spawners.keeper.loop import Deadlines
from downstage.spawners.plan import Plan

__all__ = ["Application", "Outcome"]

NAME, REMOVER = "application", "remover"
RUNNER_S = 8.0
"""How long the runner of a container may take to kill it."""

REMOVER_S = 25.0


class Spawn(Protocol):
    """Starts a child and puts it on record."""

    def __call__(
        self, name: str, command: list[str], environment: dict[str, str], **options: Any
    ) -> Child:
        """As `Children.spawn`."""
        ...


@dataclass(frozen=True, slots=True)
class Outcome:
    """How it ended."""

    reason: str
    detail: str
    exit_code: int | None


class Application:
    """Starts it, asks it to end, kills it, tells how it ended.

    Args:
        plan: the instance's.
        children: the keeper's.
        spawn: starts one of them and puts it on record.
        deadlines: the keeper's.
        contained: what is known of its container, where it is one.
        log: takes what the application writes.
        keeper_log: takes what concerns the platform.
    """

    def __init__(
        self,
        plan: Plan,
        children: Children,
        spawn: Spawn,
        deadlines: Deadlines,
        contained: Contained,
        *,
        log: Callable[[str], None],
        keeper_log: Callable[[str], None],
    ) -> None:
        self._plan, self._children, self._spawn = plan, children, spawn
        self._deadlines, self._contained = deadlines, contained
        self._log, self._keeper_log = log, keeper_log
        self._is_contained = plan.isolation == "container"

    @property
    def is_running(self) -> bool:
        """It was started and has not ended."""
        return self._children.get(NAME) is not None

    def start(self, seams: sandbox.Seams) -> None:
        """Start it.

        Raises:
            OSError: it cannot be started.
        """
        if self._is_contained:
            command, environment = self._contained.start(self._plan, seams)
            told = self._contained.told
            options = {"errors": told, "death_signal": signal.SIGQUIT}
            self._spawn(NAME, command, environment, output=self._log, **options)
        else:
            self._start_process(seams)

    def _start_process(self, seams: sandbox.Seams) -> None:
        plan = self._plan
        environment = sandbox.environment_of(plan, seams)
        handle: int | None = None
        command, where = plan.application, plan.application_folder or "/"
        if plan.isolation != "none":
            handle = sandbox.memory_file(sandbox.options(plan, seams, environment))
            command = sandbox.wrap(plan.isolation, plan.uid, plan.gid, handle, command)
            environment, where = {"PATH": os.environ.get("PATH", os.defpath)}, "/"
        try:
            self._spawn(
                NAME,
                command,
                environment,
                output=self._log,
                pass_fds=() if handle is None else (handle,),
                folder=where,
                limits=self._limits(),
            )
        finally:
            if handle is not None:
                os.close(handle)

    def _limits(self) -> Mapping[int, int]:
        limits = {resource.RLIMIT_CORE: 0}
        if self._plan.memory_mb is not None:
            limits[resource.RLIMIT_DATA] = self._plan.memory_mb * 1024 * 1024
        return limits

    def ask_to_end(self) -> None:
        """Send what runs inside a SIGTERM."""
        child = self._children.get(NAME)
        if child is None:
            return
        if self._plan.isolation in ("none", "container"):
            child.signal(signal.SIGTERM)
        else:
            child.signal_inside(signal.SIGTERM)

    def kill(self) -> None:
        """End it at once; a container's runner sees to it, and is itself given little time."""
        child = self._children.get(NAME)
        if child is None:
            return
        if self._is_contained:
            child.signal(signal.SIGQUIT)
            stuck = functools.partial(child.signal, signal.SIGKILL)
            self._deadlines.set("runner", RUNNER_S, stuck)
        else:
            child.signal(signal.SIGKILL)

    def clean_up(self) -> None:
        """It has ended; where it was a runner that went without a word, remove its container."""
        self._deadlines.cancel("runner")
        if not self._contained.is_left:
            return
        command = self._contained.command("--remove")
        try:
            child = self._spawn(REMOVER, command, runner_environment(), output=self._keeper_log)
        except OSError as error:
            self._keeper_log(f"the container may be left: {error}")
            return
        kill = functools.partial(child.signal, signal.SIGKILL)
        self._deadlines.set(REMOVER, REMOVER_S, kill)

    def outcome(self, code: int, *, has_drawn: bool) -> Outcome:
        """How it ended, where the keeper's child ended with *code*."""
        if self._contained.ended is not None:
            ended = self._contained.ended
            return Outcome(ended.reason, ended.detail, ended.exit_code)
        code = 128 - code if code < 0 else code
        when = "" if has_drawn else " before it drew anything"
        return Outcome("application-exited", f"The application ended with code {code}{when}.", code)
