"""Every command and every program of the two guides to streams, in their order."""

from __future__ import annotations

import io
import os
import re
import shlex
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import Image
from tests.real.cli.conftest import Commands

from downstage.client.client import default_client
from downstage.kernel import logging
from downstage.testing.streams import StreamsProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(180)]

GUIDES = Path(__file__).parents[3] / "docs" / "guides"
LONG_S = 120


@pytest.fixture(scope="module")
def server() -> Iterator[StreamsProcess]:
    with (
        tempfile.TemporaryDirectory(prefix="ds-", dir="/tmp", ignore_cleanup_errors=True) as folder,
        StreamsProcess(Path(folder, "data")) as running,
    ):
        yield running


def blocks(guide: str, language: str) -> list[str]:
    text = (GUIDES / guide).read_text(encoding="utf-8")
    return re.findall(rf"^```{language}\n(.*?)^```", text, re.MULTILINE | re.DOTALL)


def environment(server: StreamsProcess) -> dict[str, str]:
    folder = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    return {**os.environ, "PATH": folder, "DOWNSTAGE_TOKEN": server.tokens["admin"]}


def test_the_programs(server: StreamsProcess, data: Path) -> None:
    found = blocks("streams-client.md", "python")
    assert len(found) > 7
    program = "\n".join(found).replace("http://localhost:8600", server.url)
    ran = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        env=environment(server),
        cwd=data,
        capture_output=True,
        text=True,
        timeout=LONG_S,
        check=False,
    )
    assert ran.returncode == 0, ran.stderr[-3000:]
    assert "ended" in ran.stdout
    assert (data / "tour.mcap").stat().st_size > 100


def test_the_commands(
    server: StreamsProcess,
    data: Path,
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(logging, "configure", _leave_alone)
    monkeypatch.chdir(data)
    Image.new("RGB", (8, 8)).save(data / "picture.png")
    downstage = Commands(data, capfd)
    downstage.means(server.url.partition("://")[2], server.tokens["admin"])
    found = blocks("streams-from-the-command-line.md", "sh")
    lines = [line for block in found for line in block.splitlines()]
    assert len(lines) > 20
    for line in lines:
        if " bench " in line:
            continue  # its loop keeps a pipe; test_streams.py has it in a process of its own
        producer, _, command = line.rpartition(" | ")
        command, _, file = command.partition(" < ")
        given = (data / file).read_bytes() if file else _said(producer)
        monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(given)))
        ran = downstage(*shlex.split(command)[1:])
        assert ran.status == 0, (line, ran.err)
    default_client().close()
    assert list((data / "pictures" / "cam").glob("*.jpg"))


def _said(program: str) -> bytes:
    """What the program in front of the pipe says; this machine may not ping."""
    if not program or program.startswith("ping"):
        return b"1\n2\n3\n"
    return subprocess.run(["/bin/sh", "-c", program], capture_output=True, check=True).stdout


def _leave_alone(*_: object, **__: object) -> None:
    """Logging belongs to the process, and this one runs other tests too."""
