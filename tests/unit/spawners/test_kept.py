"""Logs that stay: found, read from the end, removed in time."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from downstage.spawners.kept import KEPT_FOLDERS, Keep, kept_logs, prune, read_kept
from downstage.spawners.plan import Report, write_private

pytestmark = pytest.mark.unit

NOW = 1_000_000.0


def left(
    runs: Path, name: str, reason: str = "stopped", *, age: float, size: int = 10, code: int = 0
) -> Path:
    folder = runs / name
    folder.mkdir()
    report = Report(name, "ended", reason=reason, exit_code=code or None)
    write_private(folder / "report.json", report)
    (folder / "app.log").write_bytes(b"x" * size)
    os.utime(folder, (NOW - age, NOW - age))
    return folder


def test_both_halves_of_a_log_are_one(tmp_path: Path) -> None:
    (tmp_path / "app.log.1").write_bytes(b"one\ntwo\n")
    (tmp_path / "app.log").write_bytes(b"three\nfour\n")
    (tmp_path / "keeper.log").write_bytes(b"k\n")
    assert [(log.name, log.size) for log in kept_logs(tmp_path)] == [
        ("app.log", 19),
        ("keeper.log", 2),
    ]
    assert read_kept(tmp_path, "app.log", 100) == b"one\ntwo\nthree\nfour\n"
    assert read_kept(tmp_path, "app.log", 13) == b"three\nfour\n"
    assert read_kept(tmp_path, "app.log", 7) == b"four\n"


@pytest.mark.parametrize(
    "name", ["report.json", "../i-2/app.log", "streamer.json", "plan.json", "", "hooks.log"]
)
def test_nothing_but_logs_is_read(tmp_path: Path, name: str) -> None:
    (tmp_path / "report.json").write_text("{}")
    assert read_kept(tmp_path, name, 100) is None


def test_a_link_is_no_log(tmp_path: Path) -> None:
    (tmp_path / "app.log").symlink_to("/etc/passwd")
    assert read_kept(tmp_path, "app.log", 100) is None
    assert not kept_logs(tmp_path)


def test_of_orderly_ends_the_last_few_stay(tmp_path: Path) -> None:
    for number in range(KEPT_FOLDERS + 3):
        left(tmp_path, f"i-{number:02}", age=number)
    prune(tmp_path, Keep(), NOW)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert names == [f"i-{number:02}" for number in range(KEPT_FOLDERS)]


def test_of_failures_what_is_young_and_fits_stays(tmp_path: Path) -> None:
    left(tmp_path, "i-new", "never-drew", age=1, size=400)
    left(tmp_path, "i-crash", "application-exited", age=2, size=400, code=139)
    left(tmp_path, "i-third", "hook-failed", age=3, size=400)
    left(tmp_path, "i-old", "start-failed", age=101)
    live = left(tmp_path, "i-live", "never-drew", age=500)
    (live / "keeper.sock").touch()
    for number in range(KEPT_FOLDERS + 1):
        left(tmp_path, f"i-fine{number:02}", age=0)
    prune(tmp_path, Keep(seconds=100, bytes=1500), NOW)
    names = {path.name for path in tmp_path.iterdir() if "fine" not in path.name}
    assert names == {"i-new", "i-crash", "i-live"}
