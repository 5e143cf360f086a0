"""One server for all tests that talk to it over the wire."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage.testing.streams import StreamsProcess

from .wire import Wire


@pytest.fixture(scope="session")
def wire() -> Iterator[Wire]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    with StreamsProcess(folder / "data", overrides={"streams.max_message": 1 << 20}) as server:
        yield Wire(server)
    shutil.rmtree(folder, ignore_errors=True)
