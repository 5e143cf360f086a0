"""``downstage streams`` against a server: each command as a person uses it."""

from __future__ import annotations

import io
import json
import os
import pty
import secrets
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from tests.real.cli.conftest import Commands

from downstage.client.client import default_client
from downstage.client.streams.values import image_of
from downstage.kernel import logging
from downstage.streams import Client
from downstage.testing.streams import StreamsProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

LONG_S = 60


@pytest.fixture(scope="module")
def server() -> Iterator[StreamsProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        StreamsProcess(Path(folder, "data")) as running,
    ):
        yield running


@pytest.fixture
def downstage(
    data: Path,
    server: StreamsProcess,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> Iterator[Commands]:
    monkeypatch.setattr(logging, "configure", _leave_alone)
    commands = Commands(data, capfd)
    commands.means(server.url.partition("://")[2], server.tokens["admin"])
    yield commands
    for process in commands.processes:
        process.kill()
        process.communicate()
    default_client().close()


def _leave_alone(*_: object, **__: object) -> None:
    """Logging belongs to the process, and this one runs other tests too."""


@pytest.fixture
def stream() -> str:
    return f"s-{secrets.token_hex(6)}"


def give(monkeypatch: pytest.MonkeyPatch, text: bytes) -> None:
    """Let the next command read *text* from standard input."""
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(text)))


def pushed(
    downstage: Commands, monkeypatch: pytest.MonkeyPatch, stream: str, text: bytes, *more: str
) -> None:
    give(monkeypatch, text)
    ran = downstage("streams", "push", stream, *more)
    assert ran.status == 0, ran.err


def test_lines_there_and_back(
    downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    lines = b'{"x":1}\n{"x":2}\n{"x":3}\n'
    give(monkeypatch, lines)
    ran = downstage("streams", "push", stream)
    assert (ran.status, ran.out) == (0, "")
    assert f"3 entries pushed to {stream} (21 B" in ran.err
    back = downstage("streams", "pull", stream, "--last", "0", "-n", "3")
    assert (back.status, back.out) == (0, lines.decode())
    rows = downstage("streams", "pull", stream, "--last", "0", "--timeout", "0.5", "--json").out
    facts = [json.loads(row) for row in rows.splitlines()]
    assert [fact["value"]["x"] for fact in facts] == [1, 2, 3]
    assert {fact["stream"] for fact in facts} == {stream}
    row = next(row for row in downstage("streams", "ls").out.splitlines() if row.startswith(stream))
    assert "application/json" in row
    (listed,) = downstage("streams", "ls", stream, "--json").out.splitlines()
    assert (json.loads(listed)["length"], json.loads(listed)["name"]) == (3, stream)
    told = downstage("streams", "info", stream).out
    assert "3 kept" in told
    assert json.loads(downstage("streams", "info", stream, "--json").out)["added"] == 3


def test_text_and_bytes(downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch) -> None:
    pushed(downstage, monkeypatch, stream, b"one\ntwo\n", "-q")
    assert json.loads(downstage("streams", "info", stream, "--json").out)["content_type"] == (
        "text/plain; charset=utf-8"
    )
    pushed(downstage, monkeypatch, f"{stream}-b", b"\0\1\n\2", "--whole", "--no-ack")
    (row,) = downstage(
        "streams", "pull", f"{stream}-b", "--last", "0", "-n", "1", "--json"
    ).out.splitlines()
    assert (json.loads(row)["data"], json.loads(row)["size"]) == ("AAEKAg==", 4)


def test_files_become_entries_and_entries_files(
    downstage: Commands, stream: str, data: Path
) -> None:
    Image.new("RGB", (8, 6), (1, 2, 3)).save(data / "a.png")
    np.save(data / "b.npy", np.arange(3))
    assert downstage("streams", "push", stream, str(data / "a.png")).status == 0
    assert downstage("streams", "push", f"{stream}-n", str(data / "b.npy")).status == 0
    ran = downstage(
        "streams", "pull", f"{stream}*", "--last", "0", "-n", "2", "-o", str(data / "out")
    )
    assert "2 entries written" in ran.err
    (picture,) = (data / "out" / stream).glob("*.png")
    assert picture.read_bytes() == (data / "a.png").read_bytes()
    (array,) = (data / "out" / f"{stream}-n").glob("*.npy")
    assert np.load(array).tolist() == [0, 1, 2]


def test_a_test_picture_moves(downstage: Commands, stream: str, data: Path) -> None:
    words = ("--test-pattern", "--count", "5", "--fps", "200", "--size", "160x120")
    ran = downstage("streams", "push", stream, *words)
    assert "5 entries pushed" in ran.err, ran.err
    downstage("streams", "pull", stream, "--last", "0", "-n", "5", "-o", str(data))
    files = sorted((data / stream).glob("*.jpg"))
    pictures = {file.read_bytes() for file in files}
    assert len(files) == len(pictures) == 5
    assert {image_of(picture).size for picture in pictures} == {(160, 120)}


def test_numbers_are_drawn(
    downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = b"".join(b'{"p":{"x":%d},"t":"z","y":%d}\n' % (n, -n) for n in range(9))
    pushed(downstage, monkeypatch, stream, text)
    words = ("streams", "plot", stream, "--last", "0", "--timeout", "0.5")
    drawn = downstage(*words).out
    assert "p.x  8   min 0  max 8" in drawn
    assert "y  -8   min -8  max 0" in drawn
    assert "█" in drawn or "▁" in drawn
    assert "y  -8" not in downstage(*words, "--field", "p.x").out
    wrong = downstage(*words, "--field", "p.z")
    assert (wrong.status, "it has: p.x, y." in wrong.err) == (1, True)


def test_a_plot_is_drawn_in_place_on_a_terminal(
    downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    pushed(downstage, monkeypatch, stream, b"1\n5\n")
    near, far = pty.openpty()
    program = subprocess.Popen(
        [sys.executable, "-m", "downstage", "streams", "plot", stream, "--last", "0",
         "--data", str(data)],
        stdin=far, stdout=far, stderr=far, env={**os.environ, "TERM": "xterm", "COLUMNS": "80"},
    )  # fmt: skip
    os.close(far)
    said, end = b"", time.monotonic() + LONG_S
    while b"max 5" not in said:
        assert time.monotonic() < end, said
        said += os.read(near, 65536)
    program.send_signal(signal.SIGINT)
    while True:
        try:
            if not os.read(near, 65536):
                break
        except OSError:
            break
    os.close(near)
    assert program.wait(LONG_S) == 130
    assert b"\x1b[" in said


def test_record_stops_cleanly_and_replays(
    downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    name = f"take-{stream}"
    recording = downstage.process("streams", "record", stream, "--name", name)
    end = time.monotonic() + LONG_S
    while f'"{name}"' not in downstage("streams", "recordings", "--json").out:
        assert time.monotonic() < end
    pushed(downstage, monkeypatch, stream, b"a\nb\nc\n")
    wanted = f'"name": "{stream}", "content_type"'
    while wanted not in (listed := downstage("streams", "recordings", name, "--json").out) or (
        json.loads(listed)["streams"][0]["entries"] < 3
    ):
        assert time.monotonic() < end, listed
    recording.send_signal(signal.SIGINT)
    out, err = recording.communicate(timeout=LONG_S)
    assert (recording.returncode, out.decode().strip()) == (0, name), err.decode()
    assert "3 entries of 1 stream" in err.decode()
    row = next(
        row
        for row in downstage("streams", "recordings").out.splitlines()
        if row.startswith(name[:8])
    )
    assert "stored" in row
    ran = downstage("streams", "replay", name, "--prefix", "again-", "--speed", "0")
    assert (ran.status, "3 entries replayed" in ran.err) == (0, True), ran.err
    back = downstage("streams", "pull", f"again-{stream}", "--last", "0", "-n", "3")
    assert back.out == "a\nb\nc\n"
    for ending in ("mcap", "zip"):
        file = str(data / f"x.{ending}")
        assert downstage("streams", "recordings", "export", name, file).status == 0
        taken = downstage("streams", "recordings", "import", file, "--name", f"{name}-{ending}")
        assert (taken.status, taken.out.strip()) == (0, f"{name}-{ending}"), taken.err
    names = (name, f"{name}-mcap", f"{name}-zip")
    assert "3 recordings deleted" in downstage("streams", "recordings", "rm", *names).err
    assert downstage("streams", "replay", name).status == 1


def test_a_replay_that_is_interrupted_ends_at_the_server(downstage: Commands, stream: str) -> None:
    name = f"take-{stream}"
    downstage("streams", "record", stream, "--name", name, "--duration", "0.1", "-q")
    replaying = downstage.process("streams", "replay", name, "--loop")
    end = time.monotonic() + LONG_S
    url = json.loads((downstage.data / "run" / "platform.json").read_text())["url"]
    token = (downstage.data / "run" / "operator.token").read_text()
    default_client().engine.open()
    with Client(url, token=token) as client:
        while not client.recordings.replays(name) and replaying.poll() is None:
            assert time.monotonic() < end
        replaying.send_signal(signal.SIGINT)
        replaying.communicate(timeout=LONG_S)
        assert not [one for one in client.recordings.replays(name) if not one.is_over]
    downstage("streams", "recordings", "rm", name)


def test_a_push_that_is_interrupted_has_stored_what_it_says(
    downstage: Commands, stream: str
) -> None:
    words = ("--test-pattern", "--size", "64x48", "--fps", "50")
    pushing = downstage.process("streams", "push", stream, *words)
    end = time.monotonic() + LONG_S
    while downstage("streams", "info", stream).status:
        assert time.monotonic() < end
    pushing.send_signal(signal.SIGINT)
    _, err = pushing.communicate(timeout=LONG_S)
    assert pushing.returncode == 0, err.decode()
    count = json.loads(downstage("streams", "info", stream, "--json").out)["added"]
    assert f"{count} " in err.decode()
    assert " pushed to " in err.decode()


def test_streams_are_deleted(
    downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in (f"{stream}-1", f"{stream}-2", stream):
        pushed(downstage, monkeypatch, name, b"x\n")
    assert "1 stream deleted" in downstage("streams", "rm", stream).err
    give(monkeypatch, b"")
    asked = downstage("streams", "rm", f"{stream}-*")
    assert (asked.status, "--yes" in asked.err) == (2, True)
    assert "2 streams deleted" in downstage("streams", "rm", f"{stream}-*", "--yes").err
    assert "No stream matches" in downstage("streams", "ls", f"{stream}*").err


def test_a_quick_measurement(downstage: Commands) -> None:
    # A process of its own: the loop that commands run in keeps a pipe for as long as it lives.
    measuring = downstage.process(
        "streams", "bench", "--size", "1000", "--seconds", "0.1", "--json"
    )
    out, err = measuring.communicate(timeout=LONG_S)
    assert measuring.returncode == 0, err.decode()
    facts = json.loads(out)
    assert facts["size"] == 1000
    assert all(value > 0 for value in facts.values())
    assert "bench-" not in downstage("streams", "ls").out


def test_errors_say_what_to_do(
    downstage: Commands, stream: str, monkeypatch: pytest.MonkeyPatch, data: Path
) -> None:
    give(monkeypatch, b"")
    for words, status, said in (
        (("pull",), 2, "Name a stream"),
        (("rm",), 2, "Name a stream"),
        (("push", stream, "--camera", "99"), 2, "--test-pattern"),
        (("push", stream, "--test-pattern", "--size", "huge"), 2, "WIDTHxHEIGHT"),
        (("push", stream, "--test-pattern", "--whole"), 2, "one"),
        (("push", stream, str(data / "none")), 2, "cannot be read"),
        (("info", "nothing"), 1, "downstage streams ls"),
        (("pull", stream, "--last", "garbage"), 1, "ms-seq"),
        (("recordings", "export", "x", "x.txt"), 2, ".mcap"),
        (("ls", "--server", "http://127.0.0.1:9"), 1, "Does it run"),
    ):
        ran = downstage("streams", *words)
        assert said in ran.err, (words, ran)
        assert ran.status == status, (words, ran)
        assert "Traceback" not in ran.err
    monkeypatch.setenv("DOWNSTAGE_TOKEN", "wrong")
    assert "DOWNSTAGE_TOKEN" in downstage("streams", "ls").err
    monkeypatch.delenv("DOWNSTAGE_TOKEN")
    (data / "run" / "platform.json").unlink()
    refused = downstage("streams", "ls")
    assert (refused.status, "downstage up" in refused.err) == (2, True)
