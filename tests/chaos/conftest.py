"""Platforms that are about to be mistreated."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from downstage.testing.platform import PlatformProcess

DEMO = {"DOWNSTAGE_PLATFORM__DEMO": "true", "DOWNSTAGE_GATEWAY__CONNECT_LEASE": "PT15M"}
"""What ``--demo`` sets, but for its session."""


@pytest.fixture
def start(data: Path) -> Iterator[Callable[..., PlatformProcess]]:
    """Starts demo platforms without a session; ends them, and proves that nothing is left."""
    made = list[PlatformProcess]()

    def begin(*arguments: str, **environment: str) -> PlatformProcess:
        platform = PlatformProcess(
            data / f"p{len(made)}", *arguments, environment={**DEMO, **environment}
        )
        made.append(platform)
        platform.start()
        return platform

    yield begin
    for platform in made:
        platform.stop()
    wait_gone(str(data), 12)
    shutil.rmtree(data, ignore_errors=True)


def wait_gone(marker: str, seconds: float) -> float:
    """Seconds until no process names *marker*; fails after *seconds*."""
    from downstage.testing.platform import processes_of

    began = time.monotonic()
    while left := processes_of(marker):
        if time.monotonic() - began > seconds:
            pytest.fail(f"still running after {seconds} s: {left}")
        time.sleep(0.1)
    return time.monotonic() - began


@pytest.fixture
def gone() -> Callable[[str, float], float]:
    """`wait_gone`, for tests."""
    return wait_gone
