"""How far long work has come: told while it runs, and for a while after."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING, ClassVar, Literal, Self

import anyio

from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import NotFound, TooMany, Unavailable
from downstage.kernel.ids import new_uuid
from downstage.services.facilities.injection import Facility, FacilityParts

if TYPE_CHECKING:
    from downstage.auth.principal import Principal
    from downstage.services.routers import ServiceAPIRouter

__all__ = ["ProgressFacility", "State", "Task"]

MAX_RUNNING = 1000
MAX_ENDED = 100
"""Tasks that are told of after their end; the oldest is forgotten first."""
MAX_TEXT = 256

State = Literal["running", "done", "failed", "cancelled"]


class Task:
    """One piece of long work; `ProgressFacility.task` makes it.

    Attributes:
        id: unguessable.
        name: for a person.
        total: of what there is to do, in any unit; None is not known.
        done: of that.
        message: what it is at, for a person.
        state: ``running``, ``done``, ``failed`` or ``cancelled``.
        error: for ``failed``: the kind of error, never its text, which may hold secrets.
        subject: whose it is; None is everybody's who reaches the route.
    """

    def __init__(
        self, name: str, *, total: float | None, subject: str | None, clock: Clock
    ) -> None:
        self.id = new_uuid()
        self.name = name[:MAX_TEXT]
        self.total = total
        self.done = 0.0
        self.message = ""
        self.state: State = "running"
        self.error: str | None = None
        self.subject = subject
        self.started_at = clock.now()
        self.ended_at: datetime | None = None
        self._clock = clock
        self.scope = anyio.CancelScope()
        """What it is done in; `ProgressFacility.task` enters it."""
        self._is_cancelled = False
        self._changed = anyio.Event()
        self._version = 0

    @property
    def is_cancelled(self) -> bool:
        """Whether somebody asked for its end."""
        return self._is_cancelled

    def advance(self, amount: float = 1, message: str | None = None) -> None:
        """*amount* more is done."""
        self.update(done=self.done + amount, message=message)

    def update(
        self,
        *,
        done: float | None = None,
        total: float | None = None,
        message: str | None = None,
    ) -> None:
        """Tell how far it is; what is not given stays."""
        if done is not None:
            self.done = done
        if total is not None:
            self.total = total
        if message is not None:
            self.message = message[:MAX_TEXT]
        self._tell()

    def cancel(self) -> None:
        """Ask for its end: what it awaits is cancelled, its block is left."""
        if self.state == "running":
            self._is_cancelled = True
            self.scope.cancel()

    async def changes(self) -> AsyncGenerator[Task]:
        """This task now, then after each change until its end; a slow reader skips some."""
        seen = -1
        while True:
            if seen != self._version:
                seen = self._version
                ended = self.state != "running"
                yield self
                if ended:
                    return
            else:
                await self._changed.wait()

    def end(self, state: State, error: BaseException | None = None) -> None:
        """It has come to an end."""
        self.state, self.ended_at = state, self._clock.now()
        self.error = type(error).__name__ if error is not None else None
        self._tell()

    def _tell(self) -> None:
        self._version += 1
        self._changed.set()
        self._changed = anyio.Event()


class ProgressFacility(Facility):
    """The long work of one extension.

    ::

        async with progress.task("import", total=len(files), subject=caller.subject) as task:
            for file in files:
                await take(file)
                task.advance(message=file.name)
    """

    facility_name: ClassVar[str] = "progress"

    def __init__(self, *, clock: Clock | None = None) -> None:
        self._clock = clock or SystemClock()
        self._tasks: dict[str, Task] = {}
        self._is_stopped = False

    @classmethod
    def make(cls, parts: FacilityParts) -> Self:
        """By the host's clock."""
        return cls(clock=parts.clock)

    @asynccontextmanager
    async def task(
        self, name: str, *, total: float | None = None, subject: str | None = None
    ) -> AsyncGenerator[Task]:
        """Work that is told of inside; its block is left early if somebody cancels it.

        An error ends it as ``failed`` and goes on up; a cancellation by `Task.cancel` does not:
        look at `Task.is_cancelled` behind the block where that matters.

        Raises:
            TooMany: too much is being worked on.
            Unavailable: the extension has stopped.
        """
        if self._is_stopped:
            raise Unavailable("The extension has stopped.", retry_after_s=1)
        task = Task(name, total=total, subject=subject, clock=self._clock)
        self._add(task)
        try:
            with task.scope:
                yield task
        except BaseException as error:
            is_failure = isinstance(error, Exception)
            task.end("failed" if is_failure else "cancelled", error if is_failure else None)
            raise
        task.end("cancelled" if task.scope.cancelled_caught else "done")

    def tasks(self, viewer: Principal | None = None) -> list[Task]:
        """What *viewer* may see, in order of start; None sees what is nobody's."""
        return [task for task in self._tasks.values() if may_see(viewer, task)]

    def get(self, task_id: str, viewer: Principal | None = None) -> Task:
        """The task of that id.

        Raises:
            NotFound: absent, or not *viewer*'s.
        """
        task = self._tasks.get(task_id)
        if task is None or not may_see(viewer, task):
            raise NotFound("There is no such task.")
        return task

    def router(self) -> ServiceAPIRouter:
        """``GET /progress``, ``GET`` and ``DELETE /progress/{id}``, its events; register it."""
        from downstage.services.facilities.progress_routes import progress_router

        return progress_router(self)

    def stop(self) -> None:
        """Cancel what runs."""
        self._is_stopped = True
        for task in self._running():
            task.cancel()

    def _running(self) -> Iterator[Task]:
        return (task for task in list(self._tasks.values()) if task.state == "running")

    def _add(self, task: Task) -> None:
        ended = [item for item in self._tasks.values() if item.state != "running"]
        if len(self._tasks) - len(ended) >= MAX_RUNNING:
            raise TooMany(f"There are {MAX_RUNNING} tasks already.")
        for item in ended[: max(0, len(ended) - MAX_ENDED + 1)]:
            del self._tasks[item.id]
        self._tasks[task.id] = task


def may_see(viewer: Principal | None, task: Task) -> bool:
    """Whether *viewer* may know of *task*: it is nobody's, theirs, or they operate the platform."""
    if task.subject is None:
        return True
    return viewer is not None and (viewer.subject == task.subject or viewer.may("operate"))
