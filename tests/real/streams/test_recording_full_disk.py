"""A disk that fills while recording: the file closes readable, says why, and streams go on."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import anyio
import pytest
from mcap.reader import make_reader

from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import OutOfSpace
from downstage.streams.model import AUTO, Caller
from downstage.streams.recordings.model import Recording
from downstage.streams.recordings.service import Recordings, open_recordings
from downstage.streams.recordings.states import State
from downstage.testing.streams import StreamsServer, streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SIZE = 12 << 20
FLOORS = pytest.mark.parametrize("floor", [0, 4 << 20], ids=["to-the-last-byte", "to-the-floor"])


@pytest.fixture
def disk(data: Path) -> Iterator[Path]:
    """A file system of 12 MiB."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", f"size={SIZE}", "tmpfs", str(data)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    yield data
    subprocess.run(["umount", str(data)], check=True)


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[StreamsServer]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    async with streams_server(folder / "d") as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


async def begun(stack: AsyncExitStack, server: StreamsServer, disk: Path, floor: int) -> Recordings:
    recordings = await stack.enter_async_context(
        open_recordings(
            server.streams,
            disk / "r",
            server.extension.context.client,
            SystemClock(),
            to_content=False,
            floor=floor,
        )
    )
    tasks = await stack.enter_async_context(anyio.create_task_group())
    stack.callback(tasks.cancel_scope.cancel)
    await tasks.start(recordings.run)
    return recordings


async def until_ended(recordings: Recordings, caller: Caller, name: str) -> Recording:
    with anyio.fail_after(30):
        while not (found := await recordings.get(caller, name)).life.ended:
            await anyio.sleep(0.01)
    return found


@FLOORS
async def test_S05_a_recording_on_a_full_disk_closes_readable(
    server: StreamsServer, disk: Path, floor: int
) -> None:
    caller = await server.caller("alice")
    async with AsyncExitStack() as stack:
        recordings = await begun(stack, server, disk, floor)
        await recordings.start(caller, "big", ["full"])
        sent: list[bytes] = []
        for n in range(60):
            sent.append(n.to_bytes(4, "big") + os.urandom(300_000))
            await server.streams.append(caller, [("full", AUTO, sent[-1])])
        found = await until_ended(recordings, caller, "big")
        assert (found.life.state, found.life.reason) == (State.FAILED, OutOfSpace.code)
        free = shutil.disk_usage(disk).free
        assert free > (floor - (2 << 20) if floor else -1)

        # Streams go on, and so does reading.
        await server.streams.append(caller, [("full", AUTO, b"after")])
        _, path = await recordings.file(caller, "big")
        with path.open("rb") as file:
            messages = list(make_reader(file, validate_crcs=True).iter_messages())
        assert 10 < len(messages) < 60
        assert [m.data for _, _, m in messages] == sent[: len(messages)]
        assert found.facts["full"].count == len(messages)

        if floor:
            with pytest.raises(OutOfSpace):
                await recordings.start(caller, "more", ["full"])
        await recordings.delete(caller, "big")
        await recordings.start(caller, "again", ["full"])
        await server.streams.append(caller, [("full", AUTO, b"room")])
        assert (await recordings.stop(caller, "again")).life.state is State.STORED
