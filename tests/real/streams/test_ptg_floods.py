"""Forms without an end, sent to a server of its own: what they cost it."""

from __future__ import annotations

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx
import pytest

from downstage.testing.streams import StreamsProcess

pytestmark = [pytest.mark.real, pytest.mark.anyio]

MIB = 1 << 20
HEAD = b'--B\r\nContent-Disposition: form-data; name="entries"; filename="x"\r\n\r\n'


async def fields() -> AsyncGenerator[bytes]:
    """A million of them, 65 MB."""
    one = b'--B\r\nContent-Disposition: form-data; name="entries"\r\n\r\n\r\n'
    for _ in range(1000):
        yield one * 1000


async def endless() -> AsyncGenerator[bytes]:
    """A field of 1 GB."""
    yield HEAD
    for _ in range(1024):
        yield bytes(MIB)


async def nearly() -> AsyncGenerator[bytes]:
    """Almost boundaries all the way, and no last one."""
    yield HEAD
    for _ in range(15):
        yield b"\r\n--" * (MIB // 4)


async def test_T02_floods_cost_little_and_leave_nothing(data: Path) -> None:
    temporary = data / "tmp"
    temporary.mkdir()
    environment = {"TMPDIR": str(temporary)}
    with StreamsProcess(data / "server", environment=environment) as server:
        headers = {**server.headers("alice"), "content-type": "multipart/form-data; boundary=B"}
        async with httpx.AsyncClient(base_url=server.url, timeout=60) as client:

            async def post(content: Any) -> int | None:
                try:
                    answer = await client.post("/data/flood", content=content, headers=headers)
                except (httpx.WriteError, httpx.ReadError, httpx.RemoteProtocolError):
                    return None  # refused while we were still sending
                return answer.status_code

            assert await post(HEAD + bytes(MIB) + b"\r\n--B--\r\n") == 200
            before = _most(server.pid)
            assert await post(fields()) in (413, None)
            assert await post(endless()) in (413, None)
            assert await post(nearly()) == 400
            grown = _most(server.pid) - before
            assert grown < 64 * MIB, grown
            assert list(temporary.iterdir()) == []
            answer = await client.get("/streams/flood", headers=server.headers("alice"))
            assert answer.json()["length"] == 1


def _most(pid: int) -> int:
    """The most memory that a process has had, bytes."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmHWM:"):
            return int(line.split()[1]) * 1024
    raise AssertionError("no such process")
