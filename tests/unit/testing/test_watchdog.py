"""The watchdog sees computing and blocking, and blames the callback."""

from __future__ import annotations

import time

import anyio
import anyio.to_thread
import pytest

from downstage.testing.watchdog import Watchdog, watch_loop

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


def compute(seconds: float) -> None:
    end = time.thread_time() + seconds
    while time.thread_time() < end:
        pass


async def hog() -> None:
    await anyio.lowlevel.checkpoint()
    compute(0.03)


async def sleeper() -> None:
    await anyio.lowlevel.checkpoint()
    time.sleep(0.15)


async def test_computing_is_seen_and_named() -> None:
    with watch_loop() as watchdog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hog)
    assert len(watchdog.holds) == 1
    assert "hog" in watchdog.report()
    assert 0.03 <= watchdog.holds[0].computed_s < 0.06


async def test_blocking_is_seen() -> None:
    with watch_loop() as watchdog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(sleeper)
    assert [hold.blocked_s > 0.1 for hold in watchdog.holds] == [True]


async def test_threads_and_short_work_are_no_holds() -> None:
    with watch_loop() as watchdog:
        await anyio.to_thread.run_sync(time.sleep, 0.15)
        for _ in range(20):
            compute(0.002)
            await anyio.lowlevel.checkpoint()
    assert watchdog.report() == ""


async def test_allowed_callbacks_are_passed_over() -> None:
    with watch_loop(Watchdog(allow=("hog",))) as watchdog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hog)
    assert watchdog.holds == []


async def test_the_tests_own_task_may_take_longer_and_not_for_ever() -> None:
    with watch_loop(Watchdog(own="hog", own_s=0.2)) as watchdog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hog)
    assert watchdog.holds == []
    with watch_loop(Watchdog(own="hog", own_s=0.01)) as watchdog:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(hog)
    assert len(watchdog.holds) == 1
