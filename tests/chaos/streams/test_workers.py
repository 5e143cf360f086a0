"""``kill -9`` of the processes that serve sockets, and of the one that started them."""

from __future__ import annotations

import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator, Callable
from pathlib import Path
from typing import Any

import anyio
import pytest
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import WebSocketException

from downstage.client.streams import AsyncClient
from downstage.streams.workers.pool import Pool
from downstage.testing.platform import processes_of
from downstage.testing.streams import StreamsProcess, StreamsServer, streams_server

pytestmark = [pytest.mark.chaos, pytest.mark.anyio]

OVERRIDES = {"streams.workers": 2, "streams.keep_count": 1_000_000}
PRODUCERS = READERS = 3
KILLS = 4
STEP = 200
"""Entries that are acknowledged between two kills, at least."""
END = b"end"


@pytest.fixture
async def server(anyio_backend: str) -> AsyncIterator[StreamsServer]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    async with streams_server(folder / "d", overrides=OVERRIDES) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


async def until(check: Callable[[], Any], seconds: float = 60) -> Any:
    with anyio.fail_after(seconds):
        while not (found := check()):
            await anyio.sleep(0.02)
        return found


class Producer:
    """Pushes numbered entries, each until it is acknowledged, over whatever breaks."""

    def __init__(self, server: StreamsServer, number: int) -> None:
        self.acknowledged: list[tuple[str, bytes]] = []
        self.breaks = 0
        self._url = f"{server.ws_url}/data/load/push?ack=1"
        self._headers = server.headers("alice")
        self._number = number
        self._is_over = False

    def stop(self) -> None:
        self._is_over = True

    async def run(self) -> None:
        while not self._is_over:
            try:
                async with connect(
                    self._url, additional_headers=self._headers, proxy=None
                ) as socket:
                    await self._push(socket)
            except (OSError, EOFError, WebSocketException):
                self.breaks += 1

    async def _push(self, socket: ClientConnection) -> None:
        while not self._is_over:
            data = b"%d:%d" % (self._number, len(self.acknowledged))
            with anyio.fail_after(30):
                await socket.send(data)
                id_ = await socket.recv(decode=True)
            self.acknowledged.append((str(id_), data))


async def read(client: AsyncClient, found: list[tuple[str, bytes]]) -> None:
    """All that comes, as somebody who comes back from where it was."""
    async with client.pull("load", last="0") as pull:
        async for entry in pull:
            found.append((str(entry.id), bytes(entry.data)))
            if entry.data == END:
                assert not pull.gaps
                return


async def kill_one(pool: Pool, producers: list[Producer]) -> None:
    """Kill the worker that has most to do, once all run and much was acknowledged."""
    await until(lambda: all(remote.is_ready for remote in pool.remotes))

    def stored() -> int:
        return sum(len(producer.acknowledged) for producer in producers)

    before = stored()
    await until(lambda: stored() > before + STEP)
    victim = max(pool.remotes, key=lambda remote: remote.count)
    starts = victim.starts
    assert victim.count
    assert victim.pid is not None
    os.kill(victim.pid, signal.SIGKILL)
    await until(lambda: victim.starts == starts + 1 and victim.is_ready)


async def test_killed_workers_lose_nothing_that_was_acknowledged(server: StreamsServer) -> None:
    pool = server.extension._workers  # pyright: ignore[reportPrivateUsage]
    assert pool is not None
    producers = [Producer(server, number) for number in range(PRODUCERS)]
    read_by: list[list[tuple[str, bytes]]] = [[] for _ in range(READERS)]
    who = server.token("alice")
    client = AsyncClient(server.url, token=who, patience_s=60)
    async with client, anyio.create_task_group() as readers:
        for found in read_by:
            readers.start_soon(read, client, found)
        async with anyio.create_task_group() as pushing:
            for producer in producers:
                pushing.start_soon(producer.run)
            for _ in range(KILLS):
                await kill_one(pool, producers)
            for producer in producers:
                producer.stop()
        async with client.push("load") as push:
            await push.send(END)
    acknowledged = {pair for producer in producers for pair in producer.acknowledged}
    assert sum(producer.breaks for producer in producers) > 0, "nobody noticed: nothing was proved"
    for found in read_by:
        ids = [tuple(map(int, id_.split("-"))) for id_, _ in found]
        assert ids == sorted(set(ids))  # no duplicate, in order
        assert found == read_by[0]
        assert acknowledged <= set(found)
    await until(lambda: server.callers.count == 0)
    assert [remote.count for remote in pool.remotes] == [0, 0]
    await until(lambda: "downstage_streams_producers 0" in server.extension.metrics())
    await until(lambda: "downstage_streams_subscriptions 0" in server.extension.metrics())


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(") ", 1)[1][0] not in "ZX"
    except OSError:
        return False


async def test_nothing_outlives_the_first_process(data: Path) -> None:
    with StreamsProcess(data / "d", overrides=OVERRIDES) as server:
        family = processes_of(str(data))
        workers = [pid for pid, line in family.items() if "streams.workers.worker" in line]
        assert len(workers) == 2
        assert len(family) > 3  # engines
        url = f"{server.ws_url}/data/load/push?ack=1"
        async with connect(url, additional_headers=server.headers("alice"), proxy=None) as socket:
            await socket.send(b"x")
            await socket.recv()
            os.kill(workers[0], signal.SIGSTOP)  # and one that would hear of nothing
            server.kill()
            await until(lambda: not any(map(lives, family)), 20)
