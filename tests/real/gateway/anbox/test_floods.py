"""What strangers do to the port is not felt on sockets that are open."""

from __future__ import annotations

import resource
import socket
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from urllib.parse import urlsplit

import anyio
import pytest

from downstage.testing.anbox import AnboxClient, AnboxSocket
from downstage.testing.platform import PlatformProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio]

HALF_OPEN = 5000
TIMES = 40
FELT_S = 0.25
"""Nobody notices less; what a busy machine adds by itself is far less than what is looked for."""


@pytest.fixture
def descriptors() -> Iterator[None]:
    """As many as this side needs for its ends."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, HALF_OPEN + 2000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def open_of(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def p95(talk: AnboxSocket) -> float:
    """How long an answer takes, at worst but for one in twenty."""
    took = list[float]()
    for _ in range(TIMES):
        began = time.monotonic()
        await talk.say(type="discover")
        await talk.hear("resp:discover")
        took.append(time.monotonic() - began)
    return sorted(took)[-TIMES // 20]


@pytest.mark.usefixtures("descriptors")
async def test_T06_thousands_of_half_open_sockets_are_not_felt(
    client: AnboxClient, platform: PlatformProcess, session_id: str
) -> None:
    parts = urlsplit(platform.url)
    where = (str(parts.hostname), int(parts.port or 80))
    path = f"/1.0/sessions/{session_id}/sockets/slave?token=x"
    head = f"GET {path} HTTP/1.1\r\nHost: {parts.netloc}\r\nUpgrade: websocket\r\n".encode()
    place = await client.join(session_id)
    async with client.socket(place["url"]) as talk:
        before = await p95(talk)
        with ExitStack() as sockets:
            for _ in range(HALF_OPEN):
                half = sockets.enter_context(socket.create_connection(where, timeout=10))
                half.sendall(head)
            with anyio.fail_after(30):
                while open_of(platform.pid) < HALF_OPEN:
                    await anyio.sleep(0.05)
            during = await p95(talk)
            joined = await client.call("GET", f"/sessions/{session_id}")
            assert joined.metadata["status"] == "active"
    assert during < max(3 * before, FELT_S), (before, during)
