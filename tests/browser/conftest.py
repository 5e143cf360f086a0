"""One platform for all tests of what a person sees in our own pages; browsers are theirs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.browser.witness import APPLICATIONS

from downstage.services.server import open_port
from downstage.testing.platform import PlatformProcess


@pytest.fixture(scope="session")
def other_port() -> int:
    """Of the one other origin whose pages may ask this platform."""
    with open_port("127.0.0.1", 0) as probe:
        return int(probe.getsockname()[1])


@pytest.fixture(scope="session")
def platform(other_port: int) -> Iterator[PlatformProcess]:
    """A demo platform without any session, so that a test has the machine to itself.

    Tests end the sessions that they start, and use names of their own for all else.
    """
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    environment = {
        "DOWNSTAGE_PLATFORM__DEMO": "true",
        "DOWNSTAGE_PLATFORM__ORIGINS": json.dumps([f"http://127.0.0.1:{other_port}"]),
        "DOWNSTAGE_GATEWAY__CONNECT_LEASE": "PT15M",
        "DOWNSTAGE_GATEWAY__RESUME_LEASE": "PT15M",
    }
    try:
        with PlatformProcess(
            folder / "data", "--app-folder", str(APPLICATIONS), environment=environment
        ) as running:
            yield running
    finally:
        shutil.rmtree(folder, ignore_errors=True)
