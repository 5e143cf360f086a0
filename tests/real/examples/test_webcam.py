"""``examples/webcam``: pushed by one program, watched by another."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.testing.streams import StreamsProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

FOLDER = Path(__file__).parents[3] / "examples" / "webcam"
LONG_S = 60


@pytest.fixture
def server() -> Iterator[StreamsProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        StreamsProcess(Path(folder, "data")) as running,
    ):
        yield running


def program(server: StreamsProcess, name: str, *words: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, str(FOLDER / name), server.url, *words],
        env={**os.environ, "DOWNSTAGE_TOKEN": server.tokens["alice"]},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def test_it_is_pushed_and_watched(server: StreamsProcess) -> None:
    pushing = program(server, "push.py", "--pattern", "--size", "320x240", "--fps", "40")
    watching = program(server, "watch.py", "--count", "60")
    told, errors = watching.communicate(timeout=LONG_S)
    assert watching.returncode == 0, errors
    assert "320x240  " in told
    assert "% bright" in told
    pushing.send_signal(signal.SIGINT)
    said, errors = pushing.communicate(timeout=LONG_S)
    assert pushing.returncode == 0, errors
    assert said.startswith("Pushing ")
    assert int(said.splitlines()[1].split()[0]) > 60, said


def test_who_is_not_let_in_is_told(server: StreamsProcess) -> None:
    server.tokens["alice"] = "nonsense"
    pushing = program(server, "push.py", "--pattern", "--seconds", "1")
    _, errors = pushing.communicate(timeout=LONG_S)
    assert pushing.returncode == 1
    assert "Traceback" not in errors
    assert "token" in errors
