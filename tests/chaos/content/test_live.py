"""Three programs edit one stage in conflict while the server is killed: nothing told is lost."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.chaos, pytest.mark.timeout(240)]

PROGRAM = Path(__file__).with_name("live_editor.py")
DURABLE = re.compile(r"^durable (\d+)$", re.MULTILINE)
SETTLED = re.compile(r"^settled (\d+)$", re.MULTILINE)


class Editor:
    """One program; what it says goes to a file."""

    def __init__(self, url: str, name: str, folder: Path, environment: dict[str, str]) -> None:
        self.name = name
        self.said = folder / f"{name}.txt"
        with self.said.open("w") as out, (folder / f"{name}.err").open("w") as errors:
            self.process = subprocess.Popen(
                [sys.executable, str(PROGRAM), url, name],
                stdin=subprocess.PIPE,
                stdout=out,
                stderr=errors,
                env=environment,
                text=True,
            )

    @property
    def durable(self) -> int:
        """Its edits up to this one were told to be on disk."""
        found = DURABLE.findall(self.said.read_text())
        return int(found[-1]) if found else 0

    def wait_durable(self, least: int) -> None:
        end = time.monotonic() + 40
        while self.durable < least:
            assert self.process.poll() is None, self.said.with_suffix(".err").read_text()[-2000:]
            assert time.monotonic() < end, f"{self.name} is at {self.durable}"
            time.sleep(0.05)

    def tell(self, text: object) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(f"{text}\n")
        self.process.stdin.flush()

    def settled(self) -> int:
        """How far the layer is once all its edits are on disk."""
        end = time.monotonic() + 60
        while not (found := SETTLED.findall(self.said.read_text())):
            assert self.process.poll() is None, self.said.with_suffix(".err").read_text()[-2000:]
            assert time.monotonic() < end, f"{self.name} does not settle"
            time.sleep(0.05)
        return int(found[0])

    def layer(self) -> str:
        assert self.process.wait(60) == 0, self.said.with_suffix(".err").read_text()[-2000:]
        return self.said.read_text().partition("\nlayer\n")[2]

    def kill(self) -> None:
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGKILL)
        self.process.wait(10)
        if self.process.stdin is not None:
            self.process.stdin.close()


@pytest.fixture
def server(data: Path) -> Iterator[PlatformProcess]:
    running = PlatformProcess(data / "platform")
    try:
        running.start()
        yield running
    finally:
        running.stop()
    shutil.rmtree(data, ignore_errors=True)


@pytest.mark.timeout(180)
def test_killing_server_and_editor_loses_nothing_that_was_told(
    server: PlatformProcess, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.write_text(str(server.facts["token"]))
    authority = server.url.partition("://")[2]
    environment = os.environ | {
        "DOWNSTAGE_TOKEN_FILE": str(token),
        "DOWNSTAGE_CONTENT_HOST": authority,
        "DOWNSTAGE_CLIENT_CACHE": str(tmp_path / "cache" / "files"),
    }
    url = f"omniverse://{authority}/scene.usda"
    put = server.url + "/v1/files/scene.usda"
    _put(put, str(server.facts["token"]))
    editors = [Editor(url, name, tmp_path, environment) for name in ("ada", "ben", "cem", "doomed")]
    try:
        for editor in editors:
            editor.wait_durable(8)
        *rest, doomed = editors
        server.kill()
        doomed.kill()
        promised = {editor.name: editor.durable for editor in editors}
        server.start()
        token.write_text(str(server.facts["token"]))
        for editor in rest:
            editor.wait_durable(promised[editor.name] + 8)
        for editor in rest:
            editor.tell("end")
        last = max(editor.settled() for editor in rest)
        for editor in rest:
            editor.tell(last)
        layers = [editor.layer() for editor in rest]
        assert layers[0]
        assert layers.count(layers[0]) == len(layers), "they ended unlike"
        for name, last in promised.items():
            lost = [n for n in range(1, last + 1) if f'over "{name}_{n}"' not in layers[0]]
            assert not lost, f"{name} was told that {lost} are on disk"
    finally:
        for editor in editors:
            editor.kill()


def _put(url: str, token: str) -> None:
    request = urllib.request.Request(url, data=b"#usda 1.0\n", method="PUT")
    request.add_header("Authorization", f"Bearer {token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        assert answer.status in (200, 201)
