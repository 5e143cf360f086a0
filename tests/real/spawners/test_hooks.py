"""Hooks run in the sandbox, in order, before and after the application, whatever ends it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import anyio
import pytest

from downstage.spawners.plan import Hook, HookStage, Report
from downstage.spawners.process import KeeperHandle, run_folder

from .conftest import Launch, make_spawner

pytestmark = [pytest.mark.real, pytest.mark.anyio]

WRITES = (
    'echo "$DOWNSTAGE_HOOK $INSTANCE_TYPE code=${EXIT_CODE:-none} ${ADDON_DIR:-no-addon}"; '
    'echo "$DOWNSTAGE_HOOK" >> "$XDG_RUNTIME_DIR/seen"; cat "$XDG_RUNTIME_DIR/seen" | tr "\\n" ,'
)


def hook(
    folder: Path, stage: HookStage, script: str = WRITES, owner: str = "", seconds: float = 20
) -> Hook:
    folder.mkdir(parents=True, exist_ok=True)
    folder.chmod(0o755)
    return Hook(stage, owner, ["/bin/sh", "-c", script], str(folder), seconds)


async def until(handle: KeeperHandle, *phases: str) -> Report:
    with anyio.fail_after(30):
        async for report in handle.reports():
            if report.phase in phases:
                return report
    pytest.fail(f"never {phases}")


def log_of(data: Path, instance_id: str) -> list[str]:
    text = (run_folder(data) / instance_id / "hooks.log").read_text()
    return [line for line in text.splitlines() if line]


@pytest.mark.parametrize("isolation", ["none", "auto"])
async def test_hooks_run_in_order_and_know_what_they_are_told(
    launch: Launch, data: Path, tmp_path: Path, isolation: Any
) -> None:
    own, addon = tmp_path / "own", tmp_path / "addon"
    hooks = (
        hook(addon, "pre-start", owner="ssh"),
        hook(own, "pre-start"),
        hook(own, "post-start"),
        hook(own, "post-stop"),
    )
    handle, spec = await launch(
        "draw",
        spawner=make_spawner(data, isolation=isolation),
        hooks=hooks,
        read_only=(addon, own),
    )
    report = await until(handle, "running", "ended")
    assert report.phase == "running", report
    before = log_of(data, spec.instance_id)
    with anyio.fail_after(10):  # what a hook wrote last may be on its way into the log still
        while "pre-start,pre-start,post-start," not in before[-1]:
            await anyio.sleep(0.02)
            before = log_of(data, spec.instance_id)
    assert [line for line in before if line.startswith("==")] == [
        "== The hook pre-start of the addon ssh",
        "== The hook pre-start of the application",
        "== The hook post-start of the application",
    ]
    assert f"pre-start regular code=none {addon}" in before
    assert "post-start regular code=none no-addon" in before
    # What one leaves in the runtime folder the next ones find: that is the last line, above.
    await handle.stop("stopped")
    ended = await until(handle, "ended")
    assert ended.reason == "stopped"
    after = log_of(data, spec.instance_id)[len(before) :]
    assert after[0] == "== The hook post-stop of the application"
    assert after[1].startswith("post-stop regular code=")
    assert "code=none" not in after[1]


@pytest.mark.parametrize("stage", ["pre-start", "post-start"])
async def test_a_hook_that_fails_is_the_end_with_its_last_words(
    launch: Launch, data: Path, tmp_path: Path, stage: HookStage
) -> None:
    hooks = (
        hook(tmp_path, stage, "echo no licence; exit 3"),
        hook(tmp_path, stage, "echo never"),
        hook(tmp_path, "post-stop", "echo first; exit 1"),
        hook(tmp_path, "post-stop", "echo second"),
    )
    handle, spec = await launch("draw", hooks=hooks)
    ended = await until(handle, "ended")
    assert ended.reason == "hook-failed"
    assert ended.detail is not None
    assert "no licence" in ended.detail
    assert f"{stage} of the application ended with code 3" in ended.detail
    lines = log_of(data, spec.instance_id)
    assert "never" not in lines
    assert "second" in lines  # each of the last has its turn
    told = (run_folder(data) / spec.instance_id / "keeper.log").read_text()
    has_started = "application ended" in told
    assert has_started == (stage == "post-start")


async def test_a_hook_has_its_time_and_no_more(launch: Launch, tmp_path: Path) -> None:
    handle, _ = await launch("draw", hooks=(hook(tmp_path, "pre-start", "sleep 60", seconds=0.2),))
    ended = await until(handle, "ended")
    assert ended.reason == "hook-failed"
    assert "did not end within 0.2 s" in (ended.detail or "")


async def test_ending_during_a_hook_breaks_it_off_and_still_cleans_up(
    launch: Launch, data: Path, tmp_path: Path
) -> None:
    hooks = (
        hook(tmp_path, "pre-start", "echo begun; sleep 60"),
        hook(tmp_path, "post-stop", "echo cleaned"),
    )
    handle, spec = await launch("draw", hooks=hooks)
    await until(handle, "starting")
    with anyio.fail_after(20):
        while "begun" not in log_of(data, spec.instance_id):
            await anyio.sleep(0.02)
    await handle.stop("stopped")
    ended = await until(handle, "ended")
    assert (ended.reason, ended.detail) == ("stopped", None)
    lines = log_of(data, spec.instance_id)
    assert lines[-1] == "cleaned"


async def test_a_kill_waits_for_no_hook(launch: Launch, tmp_path: Path) -> None:
    hooks = (hook(tmp_path, "post-stop", "sleep 60"),)
    handle, _ = await launch("draw", hooks=hooks)
    running = await until(handle, "running")
    assert running.last_hooks_s == 20
    await handle.stop("stopped")
    await handle.kill()
    with anyio.fail_after(10):
        await until(handle, "ended")
