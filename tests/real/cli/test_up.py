"""The command line as a person meets it: what it refuses, and what it says."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(90)]


def downstage(*arguments: str, text: str | None = None) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "downstage", *arguments],
        input=text,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
        env={**os.environ, "COLUMNS": "200"},
    )


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--host", "0.0.0.0"), "--tls auto"),
        (("--host", "0.0.0.0", "--demo"), "this machine alone"),
        (("--host", "0.0.0.0", "--demo", "--tls", "auto"), "this machine alone"),
        (("--tls", "a", "b", "c"), "--tls takes"),
        (("--tls",), "--tls takes"),
        (("--behind-proxy", "not-a-network"), "behind_proxy"),
        (("--udp-ports", "9-1"), "udp_ports"),
        (("--encoder", "magic"), "encoder"),
    ],
)
def test_S09_a_start_that_would_be_wrong_is_refused(
    data: Path, arguments: tuple[str, ...], words: str
) -> None:
    refused = downstage("up", "--data", str(data / "d"), "--port", "0", *arguments)
    assert refused.returncode == 2
    assert words in refused.stderr
    assert "Traceback" not in refused.stderr
    assert not (data / "d" / "identity.db").exists()


def test_users_can_be_added_listed_and_removed_without_a_platform(data: Path) -> None:
    folder = ("--data", str(data))
    assert (
        downstage("user", "add", "anna", "--admin", *folder, text="long enough\n").returncode == 0
    )
    assert "anna" in downstage("user", "ls", *folder).stdout
    assert downstage("user", "passwd", "anna", *folder, text="another one\n").returncode == 0
    last = downstage("user", "rm", "anna", *folder)
    assert (last.returncode, "no administrator" in last.stderr) == (1, True)
    assert downstage("user", "add", "bob", *folder, text="long enough\n").returncode == 0
    assert downstage("user", "rm", "bob", *folder).returncode == 0
    assert "bob" not in downstage("user", "ls", *folder).stdout


def test_a_short_password_changes_nothing(data: Path) -> None:
    refused = downstage("user", "add", "anna", "--data", str(data), text="short\n")
    assert refused.returncode == 1
    assert "8 characters" in refused.stderr


def test_a_backup_comes_back(data: Path) -> None:
    here = ("--data", str(data / "one"))
    downstage("user", "add", "anna", "--admin", *here, text="long enough\n")
    archive = data / "b.tar.gz"
    assert downstage("backup", str(archive), *here).returncode == 0
    assert archive.stat().st_mode & 0o777 == 0o600
    assert downstage("restore", str(archive), *here).returncode == 2
    there = ("--data", str(data / "two"))
    assert downstage("restore", str(archive), *there).returncode == 0
    assert "anna" in downstage("user", "ls", *there).stdout


def test_a_file_that_is_no_backup_changes_nothing(data: Path) -> None:
    wrong = data / "wrong.tar.gz"
    wrong.write_bytes(b"not an archive")
    refused = downstage("restore", str(wrong), "--data", str(data / "d"))
    assert refused.returncode == 2
    assert "Nothing was changed" in refused.stderr
    assert not (data / "d").exists()


@pytest.mark.parametrize("command", [("status",), ("session", "ls"), ("session", "rm", "x")])
def test_without_a_platform_the_way_to_one_is_told(data: Path, command: tuple[str, ...]) -> None:
    refused = downstage(*command, "--data", str(data))
    assert refused.returncode == 2
    assert "downstage up" in refused.stderr


def test_a_program_that_is_not_there(data: Path) -> None:
    refused = downstage("run", "--data", str(data), "--", "no-such-program")
    assert refused.returncode == 2
    assert "no-such-program" in refused.stderr
