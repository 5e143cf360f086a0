"""A task outlives its crashes, and ends when it is told."""

from __future__ import annotations

import anyio
import pytest
from structlog.testing import capture_logs

from downstage.services import supervisor
from downstage.services.supervisor import Crew, supervise

pytestmark = [pytest.mark.unit, pytest.mark.anyio, pytest.mark.usefixtures("leaping_clock")]


@pytest.fixture(autouse=True)
def _hurry(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(supervisor, "FIRST_PAUSE_S", 0.001)
    monkeypatch.setattr(supervisor, "LONGEST_PAUSE_S", 0.004)


async def test_a_crash_is_logged_and_the_task_runs_again_later_each_time() -> None:
    runs = list[int]()

    async def work(least: int) -> None:
        runs.append(least)
        if len(runs) < 5:
            raise ValueError("not yet")

    with capture_logs() as logs, anyio.fail_after(5):
        await supervise("worker", work, 7)
    assert runs == [7] * 5
    assert [log["event"] for log in logs] == ["task.crashed"] * 4
    assert [log["pause_s"] for log in logs] == [0.001, 0.002, 0.004, 0.004]
    assert {log["task"] for log in logs} == {"worker"}


async def test_after_a_long_good_run_the_pause_is_short_again() -> None:
    runs = list[float]()

    async def work() -> None:
        runs.append(anyio.current_time())
        if len(runs) == 4:
            await anyio.sleep(0.02)
        if len(runs) < 6:
            raise ValueError("not yet")

    with capture_logs() as logs, anyio.fail_after(5):
        await supervise("worker", work)
    assert [log["pause_s"] for log in logs] == [0.001, 0.002, 0.004, 0.001, 0.002]


async def test_a_crew_is_cancelled_together_and_waited_for() -> None:
    ended = list[str]()

    async def work(name: str) -> None:
        try:
            await anyio.sleep_forever()
        finally:
            with anyio.CancelScope(shield=True):
                await anyio.lowlevel.checkpoint()
                ended.append(name)

    async def crash() -> None:
        raise ValueError

    async with anyio.create_task_group() as tasks:
        crew = Crew(tasks)
        with anyio.fail_after(5):
            await crew.stop()
        crew = Crew(tasks)
        for name in "ab":
            crew.start(name, work, name)
        crew.start("crash", crash)
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(5):
            await crew.stop()
            await crew.stop()
        assert sorted(ended) == ["a", "b"]
        crew.start("late", work, "late")
    assert sorted(ended) == ["a", "b"]
