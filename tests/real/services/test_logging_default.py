"""What is logged where nobody has configured logging: no values of variables."""

from __future__ import annotations

import subprocess
import sys

import pytest

pytestmark = pytest.mark.real

PROGRAM = """
from downstage.kernel.logging import get_logger
log = get_logger("x")
def handle(headers):
    raise ValueError("no")
try:
    handle({"x-api-key": "very-secret-key"})
except ValueError:
    log.exception("request.crashed", token="very-secret-token")
"""


def test_a_traceback_shows_no_variables() -> None:
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM], capture_output=True, text=True, timeout=30, check=True
    )
    told = done.stdout + done.stderr
    assert "ValueError: no" in told
    assert "request.crashed" in told
    assert "very-secret" not in told
