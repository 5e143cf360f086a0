"""What the examples' pages tell a person to type, typed; and what the pages promise."""

from __future__ import annotations

import json
import re
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest

from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))
SERVED = re.compile(r"^downstage (ext dev|up --demo --ext-folder) (\S+)$", re.MULTILINE)
FETCHED = re.compile(r'^curl "http://127\.0\.0\.1:(\d+)(/\S*)"$', re.MULTILINE)
COMMAND = re.compile(r"^python (examples/\S+\.py)$", re.MULTILINE)
PRINTED = re.compile(r"```text\n(.*?)```", re.DOTALL)


def page(folder: str) -> str:
    return (EXAMPLES / folder / "README.md").read_text(encoding="utf-8")


def as_pattern(line: str) -> str:
    """A printed line, where ``…`` stands for what differs from run to run."""
    return ".*".join(re.escape(part) for part in line.strip().split("…"))


@pytest.mark.parametrize("folder", FOLDERS)
def test_the_command_prints_what_the_page_shows(folder: str) -> None:
    (command,) = COMMAND.findall(page(folder))
    (shown,) = PRINTED.findall(page(folder))
    done = subprocess.run(
        [sys.executable, command],
        cwd=ROOT,
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    pattern = r"\s+".join(as_pattern(line) for line in shown.splitlines() if line.strip())
    assert re.search(pattern, done.stdout), done.stdout
    assert "Traceback" not in done.stderr


def test_the_capture_service_is_served_alone(data: Path) -> None:
    """Port 0 instead of the page's 8011."""
    ((command, folder),) = SERVED.findall(page("viewport-capture"))
    ((port, path),) = FETCHED.findall(page("viewport-capture"))
    assert (command, port) == ("ext dev", "8011")
    arguments = ["ext", "dev", folder, "--port", "0", "--data", str(data)]
    with subprocess.Popen(
        [sys.executable, "-m", "downstage", *arguments],
        cwd=ROOT,
        stdin=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        try:
            assert process.stderr is not None
            said = list[str]()
            for line in process.stderr:
                said.append(line)
                if "Serving on" in line:
                    break
            address = re.search(r"Serving on (http://127\.0\.0\.1:\d+)", "".join(said))
            assert address, said
            with urllib.request.urlopen(address[1] + path, timeout=10) as answer:
                assert json.load(answer)["image_format"] == "jpeg"
        finally:
            process.send_signal(signal.SIGINT)
            process.communicate(timeout=20)


def test_the_streaming_service_runs_in_a_platform(data: Path) -> None:
    """A free port instead of the page's 8600, which the extension's settings have, too."""
    ((command, folder),) = SERVED.findall(page("omniverse-streaming"))
    ((port, path),) = FETCHED.findall(page("omniverse-streaming"))
    assert (command, port) == ("up --demo --ext-folder", "8600")
    with socket.create_server(("127.0.0.1", 0)) as probe:
        free = probe.getsockname()[1]
    own = f'exts."omni.services.streaming.application.example".api=http://127.0.0.1:{free}'
    platform = PlatformProcess(
        data / "platform", "--demo", "--ext-folder", str(ROOT / folder), "--set", own
    )
    platform._port = free
    with platform, urllib.request.urlopen(platform.url + path, timeout=10) as answer:
        assert "results" in json.load(answer)


def test_the_index_names_them_all() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    folders = sorted(path.parent.name for path in EXAMPLES.glob("*/README.md"))
    assert re.findall(r"\]\(([\w-]+)/README\.md\)", index) == folders


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_page_lists_what_was_corrected(folder: str) -> None:
    assert "| printed | result | here |" in page(folder)
