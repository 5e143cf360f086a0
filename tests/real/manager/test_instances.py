"""The manager's instances: slots, restarts, faults, and that nothing is told that may not be."""

from __future__ import annotations

import os
import signal
import time
from collections import Counter
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from downstage.contracts.manager import INSTANCE_CHANGED
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import InvalidField, NoCapacity, NotFound
from downstage.manager.logs import InstanceLogs
from downstage.manager.upkeep import Upkeep
from downstage.spawners.plan import Report, read_json
from downstage.spawners.process import run_folder
from downstage.testing.instances import own_folder

from .conftest import Run, request_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


def report_of(data: Path, instance_id: str) -> Report:
    return read_json(run_folder(data) / instance_id / "report.json", Report)


def processes_of(instance_id: str) -> list[int]:
    found: list[int] = []
    for entry in Path("/proc").iterdir():
        if entry.name.isdigit() and int(entry.name) != os.getpid():
            try:
                text = (entry / "environ").read_bytes() + (entry / "cmdline").read_bytes()
            except OSError:
                continue
            if instance_id.encode() in text:
                found.append(int(entry.name))
    return found


@both
async def test_an_instance_runs_and_ends(run: Run, loop_watchdog: object) -> None:
    async with run() as manager:
        placed = await manager.instances.create(request_of("s-1"))
        assert (placed.state, placed.stage, placed.revision) == ("starting", "placed", 1)
        running = await manager.until(placed.id, "running")
        assert running.stage == "running"
        assert running.media_socket is not None
        stopping = await manager.instances.stop(placed.id)
        assert stopping.state in ("ending", "ended")
        ended = await manager.until(placed.id, "ended")
        assert (ended.reason, ended.exit_code) == ("stopped", None)
        assert (await manager.instances.stop(placed.id)).revision == ended.revision
        assert manager.instances.running == 0
    assert not processes_of(placed.id)


async def test_changes_are_told_with_growing_revisions(run: Run) -> None:
    async with run() as manager, manager.bus.subscribe(INSTANCE_CHANGED) as hints:
        placed = await manager.instances.create(request_of("s-1", "exit", "3"))
        revisions: list[Any] = []
        with anyio.fail_after(10):
            async for hint in hints:
                assert hint.payload["instance_id"] == placed.id
                assert hint.payload["session_id"] == "s-1"
                revisions.append(hint.payload["revision"])
                if (await manager.instances.get(placed.id)).state == "ended":
                    break
        assert revisions == sorted(set(revisions))
        ended = await manager.instances.get(placed.id)
        assert (ended.reason, ended.exit_code) == ("application-exited", 3)


@both
async def test_the_same_session_gets_the_same_instance(run: Run) -> None:
    async with run() as manager:
        one = await manager.instances.create(request_of("s-1"))
        other = await manager.instances.create(request_of("s-1"))
        assert one.id == other.id
        assert manager.instances.running == 1


@both
async def test_fifty_creates_on_capacity_four_give_four(run: Run) -> None:
    outcomes = Counter[str]()
    async with run(capacity=4) as manager:

        async def create(number: int) -> None:
            try:
                await manager.instances.create(request_of(f"s-{number}"))
                outcomes["placed"] += 1
            except NoCapacity as error:
                outcomes["refused"] += error.retry_after_s > 0

        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(create, number)
        assert outcomes == {"placed": 4, "refused": 46}
        for view in await manager.instances.list():
            await manager.until(view.id, "running", seconds=30)
        assert manager.instances.running == 4
        first, *_ = await manager.instances.list()
        await manager.instances.stop(first.id)
        await manager.until(first.id, "ended")
        await manager.instances.create(request_of("s-again"))


async def test_S06_a_delete_during_the_start_leaves_nothing(run: Run, data: Path) -> None:
    async with run() as manager:
        ids: list[str] = []
        for number in range(4):
            placed = await manager.instances.create(request_of(f"s-{number}"))
            ids.append(placed.id)
            await anyio.sleep(0.03 * number)
            await manager.instances.stop(placed.id)
        for instance_id in ids:
            assert (await manager.until(instance_id, "ended")).reason == "stopped"
            assert not processes_of(instance_id)
        assert manager.instances.running == 0


async def test_a_restarted_manager_finds_the_same_processes(run: Run, data: Path) -> None:
    async with run() as manager:
        placed = await manager.instances.create(request_of("s-1"))
        before = await manager.until(placed.id, "running")
        pids = report_of(data, placed.id).pids
        manager.crash()
    assert processes_of(placed.id)
    async with run() as manager:
        again = await manager.instances.get(placed.id)
        assert (again.state, again.revision) == ("running", before.revision)
        await anyio.sleep(3.2)  # longer than a keeper waits for a manager
        assert report_of(data, placed.id).pids == pids
        assert (await manager.instances.create(request_of("s-1"))).id == placed.id
        await manager.instances.stop(placed.id)
        await manager.until(placed.id, "ended")
    assert not processes_of(placed.id)


async def test_a_killed_keeper_is_told_as_lost(run: Run, data: Path) -> None:
    async with run() as manager:
        placed = await manager.instances.create(request_of("s-1", "daemon"))
        await manager.until(placed.id, "running")
        os.kill(report_of(data, placed.id).pids["keeper"][0], signal.SIGKILL)
        ended = await manager.until(placed.id, "ended", seconds=20)
        assert ended.reason == "lost"
        assert "Start it again" in (ended.detail or "")
        assert not processes_of(placed.id)
        assert manager.instances.running == 0


async def test_an_instance_that_ended_while_nobody_looked_tells_why(run: Run, data: Path) -> None:
    async with run(attach_deadline_s=0.3) as manager:
        placed = await manager.instances.create(request_of("s-1"))
        await manager.until(placed.id, "running")
        manager.crash()
    with anyio.fail_after(20):
        while processes_of(placed.id):
            await anyio.sleep(0.05)
    async with run() as manager:
        ended = await manager.until(placed.id, "ended")
        assert ended.reason == "abandoned"


@pytest.mark.parametrize("cancelled", [False, True])
async def test_a_shutdown_ends_everything_within_three_seconds(run: Run, cancelled: bool) -> None:
    """Or, on a machine that is busy just then, sooner than it started them; never their grace."""
    async with run(stop_grace_s=30.0) as manager:
        began = time.monotonic()
        ids = [
            (await manager.instances.create(request_of(f"s-{habit}", habit))).id
            for habit in ("draw", "stubborn", "daemon")
        ]
        for instance_id in ids:
            await manager.until(instance_id, "running")
        if cancelled:
            manager.cancel()
        with anyio.fail_after(max(3.0, time.monotonic() - began)):
            await manager.instances.close()
        assert not [pid for instance_id in ids for pid in processes_of(instance_id)]


@pytest.mark.parametrize("application", ["nope", "-v/:/host", "", "../test", "registry.example/x"])
async def test_S01_unknown_applications_start_nothing(run: Run, application: str) -> None:
    async with run() as manager:
        with pytest.raises(NotFound):
            await manager.instances.create(request_of("s-1", application=application))
        assert await manager.instances.list() == []


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"environment": {"LD_PRELOAD": "/x.so"}}, "environment.LD_PRELOAD"),
        ({"environment": {"PATH": "/x"}}, "environment.PATH"),
        ({"stage": "--help"}, "stage"),
        ({"stage": "/etc/passwd"}, "stage"),
        ({"arguments": ["draw", "a\0b"]}, "arguments.1"),
    ],
)
async def test_S01_what_may_not_be_asked_starts_nothing(
    run: Run, changes: dict[str, Any], field: str
) -> None:
    async with run() as manager:
        with pytest.raises(InvalidField) as error:
            await manager.instances.create(request_of("s-1", **changes))
        assert error.value.field == field
        assert await manager.instances.list() == []


async def test_an_image_starts_its_application(run: Run) -> None:
    async with run() as manager:
        placed = await manager.instances.create(
            request_of("s-1", application="registry.example/test:1")
        )
        assert placed.application == "test"


async def test_A16_s10_no_secret_in_database_log_or_report(
    run: Run, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    secret = "a-very-secret-access-token-0123456789"
    async with run() as manager:
        request = request_of("s-1", "look", access_token=SecretStr(secret))
        placed = await manager.instances.create(request)
        view = await manager.until(placed.id, "running")
        holders = [
            path
            for path in data.rglob("*")
            if path.is_file() and secret.encode() in path.read_bytes()
        ]
        # Behind bubblewrap its folder is memory that the keeper alone sees.
        assert [path.name for path in holders] == ([] if view.isolated else ["token"])
        assert (own_folder(data / "run" / placed.id) / "token").read_text() == secret
        assert secret not in view.model_dump_json()
        for pid in processes_of(placed.id):
            assert secret.encode() not in Path(f"/proc/{pid}/cmdline").read_bytes()
            assert secret.encode() not in Path(f"/proc/{pid}/environ").read_bytes()
    captured = capfd.readouterr()
    for text in (captured.out, captured.err):
        assert secret not in text
        assert "the-instance-token" not in text
    for path in data.rglob("*"):
        if path.is_file():
            body = path.read_bytes()
            assert secret.encode() not in body, path
            assert b"the-instance-token" not in body, path


async def test_a_new_application_needs_no_restart(run: Run, data: Path) -> None:
    async with run() as manager:
        with pytest.raises(NotFound):
            await manager.planner.view("later")
        folder = data / "applications" / "later"
        folder.mkdir()
        (folder / "application.toml").write_text(
            'name = "later"\ntitle = "L"\ncommand = ["/bin/true"]'
        )
        assert (await manager.planner.view("later")).title == "L"
        names = [view.name for view in (await manager.planner.page()).items]
        assert names == ["later", "test"]


async def test_logs_are_read_while_it_runs_and_after(run: Run, data: Path) -> None:
    async with run() as manager:
        logs = InstanceLogs(manager.instances, run_folder(data))
        placed = await manager.instances.create(request_of("s-1", "exit", "3"))
        await manager.until(placed.id, "ended")
        names = [log.name for log in await logs.list(placed.id)]
        assert names == ["app.log", "streamer.log", "keeper.log"]
        assert b"application ended with 3" in await logs.read(placed.id, "keeper.log")
        for instance_id, name in ((placed.id, "../plan.json"), ("i-none", "app.log")):
            with pytest.raises(NotFound):
                await logs.read(instance_id, name)


async def test_what_runs_without_a_row_is_ended(run: Run, data: Path) -> None:
    async with run() as manager:
        placed = await manager.instances.create(request_of("s-1"))
        await manager.until(placed.id, "running")
        manager.crash()
    (data / "manager.db").rename(data / "lost.db")  # the data of another day were put back
    async with run() as manager:
        assert processes_of(placed.id)
        kept = await manager.instances.create(request_of("s-2"))
        await manager.until(kept.id, "running")
        await Upkeep(manager.instances, manager.fleet, SystemClock()).sweep()
        assert not processes_of(placed.id)
        assert (await manager.instances.get(kept.id)).state == "running"
