"""Periodic work: by an injected clock, never twice at once, later after crashes."""

from __future__ import annotations

import sys
import threading
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from datetime import timedelta

import anyio
import anyio.lowlevel
import pytest
from hypothesis import given
from hypothesis import strategies as st
from structlog.testing import capture_logs

from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import Conflict, InvalidInput, TooMany
from downstage.services.facilities import FacilitySet, MetricsHub, SchedulerFacility, scheduler
from downstage.services.facilities.scheduler import Job

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


class World:
    """A scheduler on a clock that stands still."""

    def __init__(self) -> None:
        self.clock = ManualClock()
        self.scheduler = SchedulerFacility(clock=self.clock, owner="a-1")

    async def pass_(self, seconds: float) -> None:
        self.clock.advance(seconds)
        self.scheduler.wake()
        await anyio.wait_all_tasks_blocked()


@asynccontextmanager
async def running() -> AsyncGenerator[World]:
    world = World()
    with anyio.fail_after(30):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(world.scheduler.run)
            await anyio.wait_all_tasks_blocked()
            yield world
            await world.scheduler.stop()


async def test_it_runs_every_so_often() -> None:
    runs = list[float]()

    async def work() -> None:
        runs.append(world.clock.monotonic() - 1000)

    async with running() as world:
        job = world.scheduler.every(timedelta(seconds=10), work)
        assert world.scheduler.jobs() == [job]
        assert job.name == "work"
        for _ in range(10):
            await world.pass_(4)
        assert runs == [12, 20, 32, 40]
        assert (job.runs, job.failures, job.skipped) == (4, 0, 0)
        assert job.last_run == world.clock.now()


async def test_it_may_run_at_once() -> None:
    runs = list[int]()

    async def work() -> None:
        runs.append(1)

    async with running() as world:
        world.scheduler.every(10, work, immediately=True)
        await world.pass_(0)
        assert runs == [1]


async def test_times_missed_are_skipped_not_made_up_for() -> None:
    runs = list[int]()

    async def work() -> None:
        runs.append(1)

    async with running() as world:
        job = world.scheduler.every(10, work)
        await world.pass_(47)
        assert (len(runs), job.skipped) == (1, 3)
        await world.pass_(2.9)
        assert len(runs) == 1
        await world.pass_(0.2)
        assert len(runs) == 2, "the rhythm is kept"


async def test_it_never_runs_twice_at_once() -> None:
    at_once, most, go = 0, 0, anyio.Event()

    async def work() -> None:
        nonlocal at_once, most
        at_once += 1
        most = max(most, at_once)
        await go.wait()
        at_once -= 1

    async with running() as world:
        job = world.scheduler.every(10, work)
        for _ in range(5):
            await world.pass_(10)
        assert job.is_running
        assert (most, job.runs, job.skipped) == (1, 0, 4)
        go.set()
        await world.pass_(10)
        assert (most, job.runs) == (1, 2)


async def test_a_slow_one_does_not_hold_up_another() -> None:
    runs = list[int]()

    async def quick() -> None:
        runs.append(1)

    async with running() as world:
        world.scheduler.every(10, anyio.sleep_forever, name="slow")
        world.scheduler.every(10, quick)
        for _ in range(3):
            await world.pass_(10)
        assert len(runs) == 3


async def test_a_crash_is_logged_and_the_pause_grows_until_it_runs_well() -> None:
    runs = list[float]()

    async def work() -> None:
        runs.append(world.clock.monotonic() - 1000)
        if len(runs) < 4:
            raise ValueError("not yet")

    with capture_logs() as logs:
        async with running() as world:
            job = world.scheduler.every(10, work)
            for _ in range(200):
                await world.pass_(1)
                if len(runs) == 6:
                    break
    assert runs == [10, 20, 60, 140, 150, 160]
    assert (job.runs, job.failures, job.failed_in_a_row) == (6, 3, 0)
    crashes = [log for log in logs if log["event"] == "job.crashed"]
    assert [log["times"] for log in crashes] == [1, 2, 3]
    assert {(log["owner"], log["job"]) for log in crashes} == {("a-1", "work")}


async def test_the_pause_has_an_end() -> None:
    async def work() -> None:
        raise ValueError("never")

    with capture_logs():
        async with running() as world:
            job = world.scheduler.every(10, work)
            job.failed_in_a_row = 30
            for _ in range(4):
                await world.pass_(600)
            assert job.runs == 4


@pytest.mark.usefixtures("leaping_clock")
async def test_a_run_may_have_a_deadline() -> None:
    with capture_logs() as logs:
        async with running() as world:
            job = world.scheduler.every(10, anyio.sleep_forever, name="slow", timeout=0.01)
            await world.pass_(10)
            with anyio.fail_after(2):
                while not job.failures:
                    await anyio.sleep(0.005)
    assert [log["event"] for log in logs] == ["job.crashed"]


async def test_a_plain_function_runs_in_a_thread() -> None:
    threads, ran = list[threading.Thread](), threading.Event()

    def work() -> None:
        threads.append(threading.current_thread())
        ran.set()

    async with running() as world:
        world.scheduler.every(10, work)
        await world.pass_(10)
        await anyio.to_thread.run_sync(ran.wait, 2)
    assert threads[0] is not threading.main_thread()


async def test_stopping_ends_what_runs() -> None:
    ended = list[str]()

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    async with running() as world:
        world.scheduler.every(10, work)
        await world.pass_(10)
        await world.scheduler.stop()
        assert ended == ["work"]
        await world.scheduler.stop()
        with pytest.raises(Conflict, match="stopped"):
            world.scheduler.every(1, work)


async def test_one_job_may_be_cancelled_and_its_name_used_again() -> None:
    ended, runs = list[str](), list[str]()

    async def work() -> None:
        try:
            await anyio.sleep_forever()
        finally:
            ended.append("work")

    async def other() -> None:
        runs.append("other")

    async with running() as world:
        job = world.scheduler.every(10, work)
        with pytest.raises(Conflict, match="work"):
            world.scheduler.every(10, work)
        await world.pass_(10)
        job.cancel()
        assert world.scheduler.jobs() == []
        world.scheduler.every(10, other, name="work")
        for _ in range(3):
            await world.pass_(10)
        assert (ended, len(runs), job.runs) == (["work"], 3, 1)


async def test_stopping_before_the_start_is_fine() -> None:
    one = SchedulerFacility(clock=ManualClock())
    await one.stop()
    with anyio.fail_after(1):
        await one.run()


def test_what_cannot_be_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    one = SchedulerFacility(clock=ManualClock())
    for period in (0, -1, float("nan"), 0.001):
        with pytest.raises(InvalidInput, match="period"):
            one.every(period, anyio.sleep_forever)
    monkeypatch.setattr(scheduler, "MAX_JOBS", 1)
    one.every(1, anyio.sleep_forever)
    with pytest.raises(TooMany):
        one.every(1, anyio.sleep_forever, name="second")


async def test_it_starts_with_the_first_job_and_tells_of_them() -> None:
    hub, started = MetricsHub(), list[str]()
    async with anyio.create_task_group() as tasks:

        def start(function: object, *, name: str) -> None:
            started.append(name)
            tasks.start_soon(function)  # type: ignore[arg-type]

        clock = ManualClock()
        found = FacilitySet("a-1", clock=clock, metrics=hub, start=start)
        one = found.find(SchedulerFacility)
        assert started == []
        ran = anyio.Event()

        async def work() -> None:
            ran.set()

        one.every(60, work, immediately=True)
        one.every(60, work, name="later")
        assert started == ["scheduler"]
        with anyio.fail_after(2):
            await ran.wait()
        await anyio.wait_all_tasks_blocked()
        told = hub.render()[0].decode()
        assert 'downstage_job_runs_total{job="work",service="a-1"} 1.0' in told
        assert 'downstage_job_runs_total{job="later",service="a-1"} 0.0' in told
        due = (clock.now() + timedelta(seconds=60)).timestamp()
        line = next(x for x in told.splitlines() if x.startswith("downstage_job_next_run"))
        assert float(line.split()[-1]) == pytest.approx(due)
        assert 'downstage_job_last_run_timestamp_seconds{job="later"' not in told
        await found.close()


@given(
    st.floats(0.01, 1e5),
    st.floats(0, 100),
    st.lists(st.floats(0, 1e6), min_size=1, max_size=20),
)
def test_it_is_planned_in_the_future_and_in_rhythm(
    period: float, jitter: float, pauses: list[float]
) -> None:
    job = Job("j", period, lambda: None, jitter, None, 1000.0, 1000.0)
    now = 1000.0
    for pause in pauses:
        now = max(now + pause, job.due)
        job.plan(now)
        assert job.base <= job.due <= job.base + jitter
        assert job.base > now - jitter - period * 1e-6
        beats = (job.base - 1000.0) / period
        assert abs(beats - round(beats)) < 1e-3


async def test_a_job_that_leaves_the_program_is_a_crash_like_any_other() -> None:
    async def leave() -> None:
        sys.exit(3)

    async with running() as world:
        jobs = [
            world.scheduler.every(10, leave, name="async"),
            world.scheduler.every(10, lambda: sys.exit(3), name="plain"),
        ]
        await world.pass_(10)
        while any(job.is_running for job in jobs):
            await anyio.lowlevel.checkpoint()
        assert [job.failures for job in jobs] == [1, 1]


async def test_a_plain_function_whose_run_was_given_up_is_not_begun_again() -> None:
    held, begun = threading.Event(), list[int]()

    def hang() -> None:
        begun.append(1)
        held.wait(30)

    async def over() -> None:
        await world.pass_(job.due - world.clock.monotonic())
        while job.is_running:
            await anyio.lowlevel.checkpoint()

    async with running() as world:
        job = world.scheduler.every(10, hang, timeout=0.02)
        try:
            while not begun:  # a thread that comes to its turn after the deadline does not run
                await over()
            await over()
            assert (job.skipped, len(begun)) == (1, 1)
        finally:
            held.set()
        while job.is_held:
            await anyio.lowlevel.checkpoint()
        while len(begun) < 2:
            await over()
        assert job.skipped == 1
