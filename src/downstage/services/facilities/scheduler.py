"""Work that is done again and again, and ends with the extension that asked for it."""

from __future__ import annotations

import inspect
import random
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, ClassVar, Self

import anyio
import anyio.to_thread
from anyio.abc import TaskGroup

from downstage.kernel.clock import Clock, SystemClock
from downstage.kernel.errors import Conflict, InvalidInput, SetupError, TooMany
from downstage.kernel.logging import get_logger
from downstage.services.facilities.injection import Facility, FacilityParts

if TYPE_CHECKING:
    from prometheus_client import Metric

__all__ = ["Job", "SchedulerFacility"]

MAX_JOBS = 200
LEAST_S = 0.01
LONGEST_BACKOFF_S = 600.0
"""After crashes the pause doubles up to this, or to the period where that is longer."""
STOP_S = 4.0
log = get_logger(__name__)


@dataclass(eq=False, slots=True)
class Job:
    """One function that runs every so often; `SchedulerFacility.every` makes it."""

    name: str
    period_s: float
    function: Callable[[], object]
    jitter_s: float
    timeout_s: float | None
    base: float
    """By the monotonic clock: when it should run next, jitter aside."""
    due: float = 0.0
    """When it runs next."""
    runs: int = 0
    failures: int = 0
    failed_in_a_row: int = 0
    skipped: int = 0
    """Times at which it should have run and did not: it was running still, or nobody was up."""
    is_running: bool = False
    is_held: bool = False
    """A plain function is at work in its thread, also where its run was given up."""
    is_cancelled: bool = False
    last_run: datetime | None = None
    last_seconds: float | None = None
    scope: anyio.CancelScope | None = None

    def cancel(self) -> None:
        """Run it no more; a run that has begun is ended."""
        self.is_cancelled = True
        if self.scope is not None:
            self.scope.cancel()

    def plan(self, now: float) -> None:
        """Set when it runs next: whole periods after it was due, never in the past."""
        missed = max(0, int((now - self.base) // self.period_s))
        self.skipped += missed
        self.base += self.period_s * (missed + 1)
        self.due = self.base + random.uniform(0, self.jitter_s)  # noqa: S311 - no secret

    def postpone(self, now: float) -> None:
        """After a crash: twice as long as after the one before."""
        pause = self.period_s * 2 ** min(self.failed_in_a_row, 32)
        pause = min(pause, max(self.period_s, LONGEST_BACKOFF_S))
        if self.failed_in_a_row > 1 and now + pause > self.due:
            self.base = self.due = now + pause


@dataclass(slots=True)
class _Wake:
    """An event that can be set again and again."""

    event: anyio.Event = field(default_factory=anyio.Event)

    async def wait(self, seconds: float | None) -> None:
        with anyio.move_on_after(seconds):
            await self.event.wait()
        self.event = anyio.Event()


class SchedulerFacility(Facility):
    """Runs functions every so often: never twice at once, later after crashes, until it stops.

    Args:
        start: starts the loop as a supervised task, at the first `every`; without one call `run`.
        clock: what "every" is measured by.
        owner: id of the extension.

    Attributes:
        label: of its metrics, ``service``.
    """

    facility_name: ClassVar[str] = "scheduler"

    def __init__(
        self,
        start: Callable[..., None] | None = None,
        *,
        clock: Clock | None = None,
        owner: str = "",
    ) -> None:
        self._start = start
        self._clock = clock or SystemClock()
        self._owner = owner
        self.label = owner
        self._jobs: dict[str, Job] = {}
        self._is_started = False
        self._is_stopped = False
        self._scope: anyio.CancelScope | None = None
        self._wake = _Wake()
        self._ended = anyio.Event()
        # Of its own: functions that hang must not take the threads that handlers need.
        self._threads = anyio.CapacityLimiter(MAX_JOBS)

    @classmethod
    def make(cls, parts: FacilityParts) -> Self:
        """With the extension's tasks; its jobs are on the host's metrics.

        Raises:
            SetupError: the extension has no tasks.
        """
        if parts.start is None:
            raise SetupError(f"{parts.owner} cannot run anything in the background here.")
        made = cls(parts.start, clock=parts.clock, owner=parts.owner)
        if parts.metrics is not None:
            made.label = parts.metrics.label(parts.owner)
            parts.metrics.add_source(parts.owner, made.metrics)
        return made

    def every(
        self,
        period: float | timedelta,
        function: Callable[[], object],
        *,
        name: str | None = None,
        jitter: float | timedelta = 0,
        immediately: bool = False,
        timeout: float | timedelta | None = None,
    ) -> Job:
        """Run *function* (async, or sync: in a thread) every *period*, given in seconds.

        Args:
            period: from one due time to the next; times missed are skipped, never made up for.
            function: takes nothing; a crash is logged, and doubles the pause up to ten minutes.
            name: for logs and metrics; the function's own, if not given.
            jitter: each pause is longer by up to this, at random.
            immediately: run it at once, and not only after the first period.
            timeout: end a run that takes longer; counts as a crash.

        Raises:
            Conflict: there is a job of that name.
            InvalidInput: the period is too short.
            TooMany: there are too many jobs.
        """
        called = name or getattr(function, "__name__", "job")
        seconds = _seconds(period)
        if self._is_stopped:
            raise Conflict(f"The scheduler of {self._owner} has stopped.")
        if called in self._jobs and not self._jobs[called].is_cancelled:
            raise Conflict(f"There is a job named {called} already.", name=called)
        if not seconds >= LEAST_S:
            raise InvalidInput(f"A period needs at least {LEAST_S:g} s.", name=called)
        if len(self._jobs) >= MAX_JOBS:
            raise TooMany(f"An extension has at most {MAX_JOBS} jobs.", name=called)
        due = self._clock.monotonic() + (0 if immediately else seconds)
        limit = None if timeout is None else _seconds(timeout)
        job = Job(called, seconds, function, _seconds(jitter), limit, due, due)
        self._jobs[called] = job
        self._begin()
        return job

    def jobs(self) -> list[Job]:
        """What runs every so often, in the order in which it was asked for."""
        return [job for job in self._jobs.values() if not job.is_cancelled]

    def wake(self) -> None:
        """Look at the clock now: it was moved."""
        self._wake.event.set()

    async def run(self) -> None:
        """Run jobs as they fall due, until `stop`; once only."""
        self._is_started = True
        try:
            with anyio.CancelScope() as self._scope:
                if self._is_stopped:
                    return
                async with anyio.create_task_group() as tasks:
                    while True:
                        await self._wake.wait(self._run_due(tasks))
        finally:
            self._ended.set()

    async def stop(self) -> None:
        """Cancel what runs and wait for its end."""
        self._is_stopped = True
        if self._scope is None:
            return
        self._scope.cancel()
        with anyio.move_on_after(STOP_S) as waited:
            await self._ended.wait()
        if waited.cancelled_caught:
            running = [job.name for job in self._jobs.values() if job.is_running]
            log.error("job.stop_timed_out", owner=self._owner, jobs=running)

    def metrics(self) -> Iterable[Metric]:
        """Runs, failures, skipped times; when each job ran last and runs next."""
        from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily

        labels, jobs = ["service", "job"], self.jobs()
        for name, text, attribute in (
            ("downstage_job_runs", "Runs that have ended.", "runs"),
            ("downstage_job_failures", "Runs that crashed or took too long.", "failures"),
            ("downstage_job_skipped", "Times missed while it was running or late.", "skipped"),
        ):
            counter = CounterMetricFamily(name, text, labels=labels)
            for job in jobs:
                counter.add_metric([self.label, job.name], getattr(job, attribute))
            yield counter
        offset = self._clock.now().timestamp() - self._clock.monotonic()
        last = {job.name: job.last_run.timestamp() for job in jobs if job.last_run}
        took = {job.name: job.last_seconds for job in jobs if job.last_seconds is not None}
        for name, text, values in (
            ("last_run_timestamp", "When the last run began.", last),
            ("next_run_timestamp", "When the next run is due.", _due(jobs, offset)),
            ("last_duration", "How long the last run took.", took),
        ):
            gauge = GaugeMetricFamily(f"downstage_job_{name}_seconds", text, labels=labels)
            for job, value in values.items():
                gauge.add_metric([self.label, job], value)
            yield gauge

    def _begin(self) -> None:
        if self._is_started:
            self.wake()
        elif self._start is not None:
            self._is_started = True
            self._start(self.run, name="scheduler")

    def _run_due(self, tasks: TaskGroup) -> float | None:
        """Start what is due; seconds until something is."""
        now = self._clock.monotonic()
        for name, job in list(self._jobs.items()):
            if job.is_cancelled:
                del self._jobs[name]
            elif job.due <= now:
                job.plan(now)
                if job.is_running or job.is_held:
                    job.skipped += 1
                else:
                    job.is_running = True
                    tasks.start_soon(self._run_once, job)
        return min((job.due - now for job in self._jobs.values()), default=None)

    async def _run_once(self, job: Job) -> None:
        began = self._clock.monotonic()
        job.last_run = self._clock.now()
        with anyio.CancelScope() as scope:
            job.scope = scope
            try:
                with anyio.fail_after(job.timeout_s):
                    await _call(job, self._threads)
                job.failed_in_a_row = 0
            except (Exception, SystemExit):  # supervision: it ends neither the job nor the others
                job.failures += 1
                job.failed_in_a_row += 1
                log.exception(
                    "job.crashed", owner=self._owner, job=job.name, times=job.failed_in_a_row
                )
            finally:
                job.runs += 1
                job.is_running, job.scope = False, None
                job.last_seconds = self._clock.monotonic() - began
        if job.failed_in_a_row:
            job.postpone(self._clock.monotonic())
        self.wake()


async def _call(job: Job, threads: anyio.CapacityLimiter) -> None:
    if inspect.iscoroutinefunction(job.function):
        await job.function()
        return

    def work() -> object:
        job.is_held = True
        try:
            return job.function()
        finally:
            job.is_held = False

    result = await anyio.to_thread.run_sync(work, abandon_on_cancel=True, limiter=threads)
    if inspect.isawaitable(result):
        await result


def _due(jobs: Iterable[Job], offset: float) -> dict[str, float]:
    return {job.name: job.due + offset for job in jobs}


def _seconds(time: float | timedelta) -> float:
    return time.total_seconds() if isinstance(time, timedelta) else float(time)
