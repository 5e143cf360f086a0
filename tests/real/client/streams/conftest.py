"""One streams server in a process of its own, and this program's client."""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from downstage import client
from downstage.streams import Client
from downstage.testing.streams import StreamsProcess


def unique(prefix: str = "s") -> str:
    """A stream that no other test uses."""
    return f"{prefix}-{secrets.token_hex(6)}"


def kill_engine(server: StreamsProcess) -> None:
    """``kill -9`` of the server's engine; the server starts another one."""
    children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
    engines = [int(pid) for pid in children if "valkey" in Path(f"/proc/{pid}/comm").read_text()]
    assert engines
    for pid in engines:
        os.kill(pid, signal.SIGKILL)


@pytest.fixture(scope="module")
def server() -> Iterator[StreamsProcess]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    with StreamsProcess(folder / "data", overrides={"streams.keep_count": 100_000}) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def streams(server: StreamsProcess) -> Iterator[Client]:
    """Alice's client; its threads end with the test."""
    client.initialize()
    with Client(server.url, token=server.tokens["alice"], patience_s=60) as opened:
        yield opened
    client.shutdown()
