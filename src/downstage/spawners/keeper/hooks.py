"""Hooks: programs that run in the sandbox before and after the application, one at a time.

They see what the application sees, but for display and sound; what they leave for it they leave in
``XDG_RUNTIME_DIR``, the one place that both may write. A hook that fails before the application
runs is the end of the instance; those after it are all given their turn.
"""

from __future__ import annotations

import dataclasses
import os
import resource
import shutil
import signal
from collections import deque
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from downstage.spawners.keeper import sandbox
from downstage.spawners.keeper.children import Child
from downstage.spawners.keeper.loop import Deadlines
from downstage.spawners.keeper.output import Output
from downstage.spawners.plan import Hook, HookStage, Plan

__all__ = ["NAME", "Hooks"]

NAME = "hook"
Spawn = Callable[..., Child]


class Hooks:
    """Runs the hooks of one instance.

    Args:
        plan: the instance's.
        folder: the instance's.
        spawn: starts a child and puts it on record.
        deadlines: the keeper's.
        log: takes what hooks write.
    """

    def __init__(
        self, plan: Plan, folder: Path, spawn: Spawn, deadlines: Deadlines, log: Output
    ) -> None:
        self._plan, self._folder = plan, folder
        self._spawn, self._deadlines, self._log = spawn, deadlines, log
        self._hooks = [Hook(**record) for record in plan.hooks]
        self._waiting: deque[Hook] = deque()
        self._current: Hook | None = None
        self._child: Child | None = None
        self._is_late = self._has_begun = False
        self._then: Callable[[], None] = lambda: None
        self._failed: Callable[[str], None] | None = None
        self.exit_code: int | None = None
        """The application's, for those after it."""

    @property
    def last_s(self) -> float:
        """How long those after the application may take, all together."""
        return sum(hook.timeout_s for hook in self._hooks if hook.stage == "post-stop")

    @property
    def is_running(self) -> bool:
        """One of them runs."""
        return self._child is not None

    def run(
        self, stage: HookStage, then: Callable[[], None], failed: Callable[[str], None]
    ) -> None:
        """Run all of *stage*, then call *then*; or *failed*, with why, at the first that fails."""
        self._has_begun = True
        self._begin(stage, then, failed)

    def run_last(self, then: Callable[[], None]) -> bool:
        """Run those after the application, once, where any before it had their turn.

        Returns:
            Whether *then* will be called; False: there is nothing to run (any more).
        """
        due = [hook for hook in self._hooks if hook.stage == "post-stop"]
        if not due or not self._has_begun:
            return False
        self._has_begun = False
        self._begin("post-stop", then, None)
        return True

    def _begin(
        self, stage: HookStage, then: Callable[[], None], failed: Callable[[str], None] | None
    ) -> None:
        self._waiting = deque(hook for hook in self._hooks if hook.stage == stage)
        self._then, self._failed = then, failed
        self._next()

    def _next(self) -> None:
        if not self._waiting:
            then, self._then = self._then, lambda: None
            then()
            return
        hook = self._current = self._waiting.popleft()
        self._is_late = False
        self._log.write(f"== {_named(hook)}")
        self._log.forget_tail()
        try:
            self._child = self._start(hook)
        except OSError as error:
            self._fail(f"{_named(hook)} cannot be started: {error.strerror}.")
            return
        self._deadlines.set(NAME, hook.timeout_s, self._late)

    def exited(self, code: int) -> None:
        """The one that ran has ended with *code*."""
        hook, self._child = self._current, None
        self._deadlines.cancel(NAME)
        if hook is None:
            return
        self._current = None
        if self._is_late:
            self._fail(f"{_named(hook)} did not end within {hook.timeout_s:g} s.")
        elif code != 0:
            number = 128 - code if code < 0 else code
            self._fail(f"{_named(hook)} ended with code {number}.")
        else:
            self._next()

    def stop(self) -> None:
        """The instance ends: break off what runs, start none of those that wait."""
        self._current, self._waiting = None, deque()
        self._then, self._failed = lambda: None, None
        self._kill()

    def kill(self) -> None:
        """It ends at once: none after the application either."""
        self._has_begun = False
        self._waiting.clear()
        self._kill()

    def _kill(self) -> None:
        if self._child is not None:
            self._child.signal(signal.SIGKILL)

    def _late(self) -> None:
        self._is_late = True
        self._kill()

    def _fail(self, detail: str) -> None:
        tail = self._log.tail().strip()
        self._log.write(detail)
        if self._failed is None:
            self._next()
            return
        failed, self._failed = self._failed, None
        self._waiting.clear()
        failed(f"{detail} Last output:\n{tail}" if tail else detail)

    # Starting one

    def _start(self, hook: Hook) -> Child:
        plan = self._inside(hook)
        seams = sandbox.Seams(
            folder=self._folder,
            display=None,
            wayland=None,
            cookie=None,
            pulse=None,
            shares_memory=False,
        )
        environment = {**sandbox.environment_of(plan, seams), **self._facts(plan, hook)}
        handle: int | None = None
        command, where = hook.command, hook.folder
        if plan.isolation != "none":
            handle = sandbox.memory_file(sandbox.options(plan, seams, environment))
            command = sandbox.wrap(plan.isolation, plan.uid, plan.gid, handle, command)
            environment, where = {"PATH": os.environ.get("PATH", os.defpath)}, "/"
        options: dict[str, Any] = {"pass_fds": () if handle is None else (handle,)}
        try:
            return self._spawn(
                NAME,
                command,
                environment,
                output=self._log.write,
                folder=where,
                limits=_limits(plan),
                **options,
            )
        finally:
            if handle is not None:
                os.close(handle)

    def _inside(self, hook: Hook) -> Plan:
        """The plan of the sandbox: the hook's folder is its working folder."""
        plan = self._plan
        isolation = plan.isolation
        if isolation == "container":  # the container is not there yet, or no more
            if shutil.which("bwrap") is None:
                raise FileNotFoundError(2, "bubblewrap is not installed")
            isolation = "drop" if os.getuid() == 0 else "userns"
        own = [plan.application_folder] if plan.application_folder else []
        return dataclasses.replace(
            plan,
            isolation=isolation,
            application_folder=hook.folder,
            read_only=[folder for folder in [*own, *plan.read_only] if folder != hook.folder],
        )

    def _facts(self, plan: Plan, hook: Hook) -> Mapping[str, str]:
        addon = hook.folder if hook.owner else ""
        application = self._plan.application_folder or ""
        shared = "/run/app" if plan.isolation != "none" else str(self._folder / "app")
        found = {
            "ADDON_DIR": addon,
            "ANBOX_DIR": shared,
            "APP_DIR": application,
            "INSTANCE_TYPE": "regular",
            **self._plan.facts,
            "DOWNSTAGE_ADDON_DIR": addon,
            "DOWNSTAGE_APPLICATION_DIR": application,
            "DOWNSTAGE_HOOK": hook.stage,
            "DOWNSTAGE_INSTANCE_TYPE": "regular",
        }
        if hook.stage == "post-stop" and self.exit_code is not None:
            code = str(self.exit_code)
            found |= dict.fromkeys(("ANBOX_EXIT_CODE", "EXIT_CODE", "DOWNSTAGE_EXIT_CODE"), code)
        return found


def _named(hook: Hook) -> str:
    whose = f"the addon {hook.owner}" if hook.owner else "the application"
    return f"The hook {hook.stage} of {whose}"


def _limits(plan: Plan) -> dict[int, int]:
    limits = {resource.RLIMIT_CORE: 0}
    if plan.memory_mb is not None:
        limits[resource.RLIMIT_DATA] = plan.memory_mb * 1024 * 1024
    return limits
