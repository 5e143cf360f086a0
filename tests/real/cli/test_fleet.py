"""``downstage app``, ``node`` and ``session queue`` against a platform: as a person uses them."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from downstage.cli import main as cli
from downstage.kernel import logging
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

MANIFEST = """
name = "hello"
title = "Hello"
command = ["xterm"]
"""
Downstage = Callable[..., "Done"]


@pytest.fixture(scope="module")
def platform() -> Iterator[PlatformProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp") as folder,
        PlatformProcess(Path(folder, "data"), "--capacity", "1") as running,
    ):
        # What loops and threads start once in a process, and never end.
        anyio.run(anyio.to_thread.run_sync, int, backend_options={"use_uvloop": True})
        yield running


@dataclass(frozen=True)
class Done:
    """What a command came to."""

    returncode: int
    stdout: str
    stderr: str


@pytest.fixture
def downstage(
    platform: PlatformProcess,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Downstage:
    """Runs a command against the platform's data folder, or with *server* over the API alone."""
    monkeypatch.setattr(logging, "configure", _leave_alone)
    monkeypatch.setenv("DOWNSTAGE_TOKEN", platform.facts["token"])
    monkeypatch.setenv("COLUMNS", "160")

    def call(*words: str, server: bool = False) -> Done:
        where = ["--server", platform.url] if server else ["--data", str(platform.data)]
        monkeypatch.setattr(sys, "argv", ["downstage", *words, *where])
        code = 0
        try:
            cli.main()
        except SystemExit as end:
            code = int(end.code or 0)
        said = capsys.readouterr()
        return Done(code, said.out, said.err)

    return call


def _leave_alone(*_: object, **__: object) -> None:
    """The tests' own log stays as it is."""


def test_an_application_is_published_listed_taken_back_and_removed(
    downstage: Downstage, tmp_path: Path
) -> None:
    (tmp_path / "application.toml").write_text(MANIFEST)
    done = downstage("app", "publish", str(tmp_path))
    assert (done.returncode, done.stdout) == (0, "hello:1\n"), done.stderr
    with zipfile.ZipFile(tmp_path / "next.zip", "w") as archive:
        archive.writestr("application.toml", MANIFEST)
    done = downstage("app", "publish", str(tmp_path / "next.zip"), "--name", "hello", "--draft")
    assert (done.returncode, done.stdout) == (0, "hello:2\n"), done.stderr
    listed = downstage("app", "ls")
    assert "1, 2 (draft)" in listed.stdout or "2 (draft), 1" in listed.stdout
    assert downstage("app", "revoke", "hello", "1").returncode == 0
    shown = json.loads(downstage("app", "show", "hello").stdout)
    assert [v["published"] for v in shown["versions"]] == [False, False]
    assert downstage("app", "release", "hello", "2").returncode == 0
    assert downstage("app", "rm", "hello", "--version", "1").returncode == 0
    assert downstage("app", "rm", "hello").returncode == 0
    gone = downstage("app", "show", "hello")
    assert gone.returncode == 1
    assert "There is no such application" in gone.stderr


def test_what_cannot_be_published_is_told_in_one_line(downstage: Downstage, tmp_path: Path) -> None:
    for make, words in (
        (lambda: None, "holds no application.toml"),
        (lambda: (tmp_path / "application.toml").symlink_to("/etc/passwd"), "without any"),
    ):
        make()
        done = downstage("app", "publish", str(tmp_path))
        assert done.returncode == 2
        assert words in done.stderr
        assert "Traceback" not in done.stderr


def test_nodes_are_listed_cordoned_and_drained(
    downstage: Downstage, platform: PlatformProcess
) -> None:
    made = platform.create("test-card")
    assert "1 of 1" in downstage("node", "ls").stdout
    assert "cordoned" in downstage("node", "cordon", "local").stdout
    assert '"cordoned": true' in downstage("node", "ls", "--json").stdout
    done = downstage("node", "drain", "local")
    assert (done.returncode, done.stdout) == (0, "local is empty.\n"), done.stderr
    platform.wait_state(made["id"], "ended")
    assert downstage("node", "uncordon", "local").returncode == 0
    assert downstage("node", "cordon", "nowhere").returncode == 1


def test_an_instance_is_listed_read_and_looked_into(
    downstage: Downstage, platform: PlatformProcess
) -> None:
    made = platform.create("test-card")
    listed = map(json.loads, downstage("instance", "ls", "--json").stdout.splitlines())
    (found,) = [item for item in listed if f"session={made['id']}" in item["tags"]]
    assert (found["state"], found["node"]) == ("running", "local")
    assert "running" in downstage("instance", "ls").stdout
    names = downstage("instance", "logs", found["id"]).stdout.split()
    assert "app.log" in names
    assert downstage("instance", "logs", found["id"], "app.log").returncode == 0
    assert "There are:" in downstage("instance", "logs", found["id"], "none.log").stderr
    words = ["exec", found["id"], "--data", str(platform.data)]
    program = ["--", "sh", "-c", "read a; echo got $a; exit 7"]
    inside = subprocess.run(
        [sys.executable, "-m", "downstage", "instance", *words, *program],
        input="hello\n",
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (inside.returncode, inside.stdout) == (7, "got hello\n"), inside.stderr
    platform.call("DELETE", f"/v1/sessions/{made['id']}")
    platform.wait_state(made["id"], "ended")
    assert found["id"] not in downstage("instance", "ls").stdout
    ended = map(json.loads, downstage("instance", "ls", "--all", "--json").stdout.splitlines())
    assert found["id"] in [item["id"] for item in ended if item["state"] == "ended"]


def test_the_queue_is_shown(downstage: Downstage, platform: PlatformProcess) -> None:
    assert downstage("session", "queue").stdout == "Nobody waits.\n"
    made = platform.create("test-card")
    waits = platform.call("POST", "/v1/sessions", {"application": "test-card"}).body
    assert waits["state"] == "queued"
    shown = downstage("session", "queue").stdout
    assert waits["id"] in shown
    own = downstage("session", "queue", waits["id"]).stdout
    assert waits["id"] in own
    assert "│ 1 " in own
    placed = downstage("session", "queue", made["id"]).stdout
    assert f"Session {made['id']} does not wait: it is" in placed
    unknown = downstage("session", "queue", "nobody")
    assert unknown.returncode == 1
    assert "There is no session nobody." in unknown.stderr
    stray = downstage("session", "ls", "word")
    assert stray.returncode != 0
    assert "word" in stray.stdout + stray.stderr, "a word is no data folder"
    for session in (waits["id"], made["id"]):
        platform.call("DELETE", f"/v1/sessions/{session}")
        platform.wait_state(session, "ended")


def test_a_server_is_named_with_a_token(
    downstage: Downstage, monkeypatch: pytest.MonkeyPatch
) -> None:
    done = downstage("app", "ls", server=True)
    assert done.returncode == 0, done.stderr
    assert "test-card" in done.stdout
    monkeypatch.delenv("DOWNSTAGE_TOKEN")
    bare = downstage("app", "ls", server=True)
    assert bare.returncode == 2
    assert "DOWNSTAGE_TOKEN" in bare.stderr
