"""One platform a data folder; one that was killed is in nobody's way, whoever has its number."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.cli import platform
from downstage.kernel.errors import SetupError
from downstage.spawners.keeper import linux

pytestmark = pytest.mark.real


@pytest.fixture
def other() -> Iterator[int]:
    """A process that might be a platform, by its command line."""
    command = [sys.executable, "-c", "import sys; sys.stdin.read()", "-m", "downstage", "up"]
    with subprocess.Popen(command, stdin=subprocess.PIPE) as process:
        yield process.pid
        process.kill()


def left(data: Path, **facts: object) -> None:
    """What a platform that was killed leaves."""
    (data / "run").mkdir(exist_ok=True)
    (data / "run" / "platform.json").write_text(json.dumps(facts))


def test_a_platform_that_runs_is_not_joined_by_another(tmp_path: Path, other: int) -> None:
    left(tmp_path, pid=other, started=linux.start_time(other))
    with pytest.raises(SetupError, match=f"process {other}"):
        platform._refuse_second(tmp_path)
    left(tmp_path, pid=other)  # as an earlier release left it
    with pytest.raises(SetupError, match=f"process {other}"):
        platform._refuse_second(tmp_path)


def test_the_number_of_one_that_was_killed_may_be_anothers(tmp_path: Path, other: int) -> None:
    left(tmp_path, pid=other, started=(linux.start_time(other) or 0) - 1)
    platform._refuse_second(tmp_path)


@pytest.mark.parametrize("text", ["", "{", '{"url": "x"}', '{"pid": "x"}', "[]", "null"])
def test_half_of_what_was_left_keeps_nobody_from_starting(tmp_path: Path, text: str) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "platform.json").write_text(text)
    platform._refuse_second(tmp_path)
