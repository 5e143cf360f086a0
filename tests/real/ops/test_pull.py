"""``make pull``: brings a checkout up to date, and touches nothing of anybody's."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

TOOL = Path(__file__).parents[3] / "tools" / "pull"
MAKE = "#!/bin/sh\necho set up\n"


def git(folder: Path, *words: str) -> str:
    who = ["-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main"]
    command = ["git", *who, *words]
    outcome = subprocess.run(
        command, cwd=folder, text=True, capture_output=True, timeout=30, check=True
    )
    return outcome.stdout.strip()


@pytest.fixture
def origin(tmp_path: Path) -> Path:
    folder = tmp_path / "origin"
    (folder / "tools").mkdir(parents=True)
    shutil.copy(TOOL, folder / "tools" / "pull")
    git(folder, "init", "-q")
    git(folder, "add", ".")
    git(folder, "commit", "-qm", "First")
    return folder


@pytest.fixture
def checkout(tmp_path: Path, origin: Path) -> Path:
    git(tmp_path, "clone", "-q", str(origin), "checkout")
    return tmp_path / "checkout"


def pull(checkout: Path) -> subprocess.CompletedProcess[str]:
    programs = checkout.parent / "bin"
    programs.mkdir(exist_ok=True)
    (programs / "make").write_text(MAKE)
    (programs / "make").chmod(0o755)
    path = f"{programs}:/usr/bin:/bin"
    return subprocess.run(
        [checkout / "tools" / "pull"],
        env={**os.environ, "PATH": path},
        text=True,
        capture_output=True,
        timeout=60,
        check=False,
    )


def test_new_commits_come_and_are_set_up(origin: Path, checkout: Path) -> None:
    (origin / "new").write_text("n")
    git(origin, "add", ".")
    git(origin, "commit", "-qm", "Second")
    outcome = pull(checkout)
    assert outcome.returncode == 0, outcome.stderr
    assert "1 new commits, up to: Second" in outcome.stdout
    assert "set up" in outcome.stdout
    assert (checkout / "new").exists()
    assert "Nothing new" in pull(checkout).stdout


def test_changes_of_yours_stay(origin: Path, checkout: Path) -> None:
    with (checkout / "tools" / "pull").open("a") as tool:
        tool.write("# mine\n")
    outcome = pull(checkout)
    assert outcome.returncode == 1
    assert "git stash" in outcome.stderr
    assert (checkout / "tools" / "pull").read_text().endswith("# mine\n")


def test_commits_of_yours_stay(origin: Path, checkout: Path) -> None:
    for folder, name in ((origin, "theirs"), (checkout, "mine")):
        (folder / name).write_text(name)
        git(folder, "add", ".")
        git(folder, "commit", "-qm", name)
    head = git(checkout, "rev-parse", "HEAD")
    outcome = pull(checkout)
    assert outcome.returncode == 1
    assert "commits of yours" in outcome.stderr
    assert git(checkout, "rev-parse", "HEAD") == head
