"""A spawner on a private folder, with a streamer and an application of the tests' own."""

from __future__ import annotations

import os
import sys
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from downstage.kernel.ids import new_id
from downstage.spawners.plan import Report
from downstage.spawners.process import KeeperHandle, ProcessSettings, ProcessSpawner, run_folder
from downstage.spawners.spawner import InstanceSpec

PROGRAMS = Path(__file__).parent / "programs"


def make_spawner(data: Path, *, streamer: str = "plain", **settings: Any) -> ProcessSpawner:
    command = (sys.executable, str(PROGRAMS / "streamer.py"), streamer)
    settings.setdefault("audio", False)
    settings.setdefault("stop_grace_s", 0.5)
    return ProcessSpawner(run_folder(data), ProcessSettings(streamer=command, **settings))


def make_spec(*arguments: str, **changes: Any) -> InstanceSpec:
    values: dict[str, Any] = {
        "instance_id": new_id("i"),
        "session_id": "s-1",
        "command": (sys.executable, str(PROGRAMS / "application.py"), *arguments),
        "folder": PROGRAMS,
        "display_kind": "x11",
        "instance_token": SecretStr("the-instance-token"),
        "link_url": "unix:///nowhere",
        "start_deadline_s": 10.0,
    }
    return InstanceSpec(**{**values, **changes})


async def reports_until(handle: KeeperHandle, phase: str, seconds: float = 20) -> list[Report]:
    """All reports up to the first with *phase*."""
    found: list[Report] = []
    with anyio.fail_after(seconds):
        reports = handle.reports()
        async for report in reports:
            found.append(report)
            if report.phase == phase:
                break
        await reports.aclose()
    assert found, "the keeper said nothing"
    assert found[-1].phase == phase, f"{found[-1].reason}: {found[-1].detail}"
    return found


def processes_of(instance_id: str) -> list[int]:
    """Processes that carry the instance's mark, or its folder in their command."""
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


async def gone(instance_id: str, seconds: float = 20) -> None:
    """Wait until nothing of the instance runs any more."""
    with anyio.fail_after(seconds):
        while processes_of(instance_id):
            await anyio.sleep(0.05)


Launch = Callable[..., Any]


@pytest.fixture
async def launch(data: Path) -> AsyncIterator[Launch]:
    """Start instances; each is killed at the end if the test did not end it."""
    async with AsyncExitStack() as stack:

        async def start(*arguments: str, spawner: ProcessSpawner | None = None, **changes: Any):
            own = spawner or make_spawner(data)
            spec = make_spec(*arguments, **changes)
            handle = await own.start(spec)

            async def end() -> None:
                await handle.kill()
                await handle.close()
                await gone(spec.instance_id)
                await own.forget(spec.instance_id)

            stack.push_async_callback(end)
            return handle, spec

        yield start
