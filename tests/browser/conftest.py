"""A platform and fresh browsers for tests of what a person sees."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.testing.platform import PlatformProcess


@pytest.fixture(scope="module")
def platform() -> Iterator[PlatformProcess]:
    """A demo platform without its demo session, so that a test has the machine to itself."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    try:
        with PlatformProcess(folder / "data", "--demo") as running:
            for session in running.call("GET", "/v1/sessions").body["items"]:
                running.call("DELETE", f"/v1/sessions/{session['id']}")
                running.wait_state(session["id"], "ended")
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
