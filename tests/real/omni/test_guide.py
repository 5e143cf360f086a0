"""The guide's programs run as they are printed, and its table names every module there is."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from downstage.omni.names import MODULES

pytestmark = [pytest.mark.real]

GUIDE = Path(__file__).parents[3] / "docs" / "guides" / "coming-from-omniverse-services.md"
TEXT = GUIDE.read_text(encoding="utf-8")


@pytest.mark.parametrize("program", re.findall(r"```python\n(.*?)```", TEXT, re.DOTALL))
def test_programs_run(program: str) -> None:
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program],
        capture_output=True,
        text=True,
        timeout=50,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("module", sorted(name for name, homes in MODULES.items() if homes))
def test_every_module_is_in_the_table(module: str) -> None:
    rows = [line for line in TEXT.splitlines() if line.startswith("| `")]
    assert any(f"`{module}" in row or f"{module}." in row for row in rows)
