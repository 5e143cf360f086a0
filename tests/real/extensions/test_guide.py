"""What the guide prints is an extension that runs, with a test that passes."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.real

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "write-an-extension.md"
BLOCK = re.compile(r"^```\w+\n# ([\w/.]+)\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def test_the_guide_s_files_make_an_extension_whose_test_passes(data: Path) -> None:
    blocks = dict(BLOCK.findall(GUIDE.read_text(encoding="utf-8")))
    assert blocks.keys() == {"config/extension.toml", "word_count.py", "tests/test_word_count.py"}
    home = data / "word.count"
    for name, text in blocks.items():
        (home / name).parent.mkdir(parents=True, exist_ok=True)
        (home / name).write_text(text, encoding="utf-8")
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-W", "error", "."],
        cwd=home,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    assert "1 passed" in done.stdout
