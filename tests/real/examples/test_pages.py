"""What the examples' pages tell a person to type, typed; and what the pages promise."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.real, pytest.mark.timeout(120)]

ROOT = Path(__file__).parents[3]
EXAMPLES = ROOT / "examples"
FOLDERS = sorted(path.parent.name for path in EXAMPLES.glob("*/run.py"))
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


def test_the_index_names_them_all() -> None:
    index = (EXAMPLES / "README.md").read_text(encoding="utf-8")
    assert re.findall(r"\]\(([\w-]+)/README\.md\)", index) == FOLDERS


@pytest.mark.parametrize("folder", FOLDERS)
def test_each_page_lists_what_was_corrected(folder: str) -> None:
    assert "| printed | result | here |" in page(folder)
