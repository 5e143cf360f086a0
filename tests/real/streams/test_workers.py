"""Several processes for the data plane: what one process does, several do, and add up to one."""

from __future__ import annotations

import asyncio
import base64
import json
import os
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable, Generator
from contextlib import AsyncExitStack, contextmanager, nullcontext
from pathlib import Path
from typing import Any, cast
from urllib.parse import urlsplit

import anyio
import httpx
import pytest
from websockets.asyncio.client import connect
from websockets.frames import Frame, Opcode

from downstage.streams.workers.messages import Told
from downstage.streams.workers.pool import Pool
from downstage.testing.streams import StreamsServer, streams_server

from . import test_pull, test_push
from .wire import Wire, name

pytestmark = [pytest.mark.real, pytest.mark.anyio]

WORKERS = 2

# The same sockets, served by workers: these run on the server below, too.
test_an_ack_asks_for_the_next = test_pull.test_an_ack_asks_for_the_next
test_C09_reconnecting_loses_and_repeats_nothing = (  # noqa: N816
    test_pull.test_C09_reconnecting_loses_and_repeats_nothing
)
test_from_the_beginning = test_pull.test_from_the_beginning
test_options_out_of_form_are_told = test_pull.test_options_out_of_form_are_told
test_pictures_are_converted = test_pull.test_pictures_are_converted
test_streams_by_pattern = test_pull.test_streams_by_pattern
test_T03_silence_ends_with_1000 = test_pull.test_T03_silence_ends_with_1000  # noqa: N816
test_a_bad_batch_closes_with_a_reason = test_push.test_a_bad_batch_closes_with_a_reason
test_a_key_stores_once = test_push.test_a_key_stores_once
test_batches_of_many_streams = test_push.test_batches_of_many_streams
test_C10_names_out_of_form_are_refused = test_push.test_C10_names_out_of_form_are_refused  # noqa: N816
test_each_message_is_an_entry = test_push.test_each_message_is_an_entry
test_our_own_sockets_go_on_after_a_refusal = test_push.test_our_own_sockets_go_on_after_a_refusal
test_paths_may_end_with_a_slash = test_push.test_paths_may_end_with_a_slash
test_T04_a_message_above_the_limit = test_push.test_T04_a_message_above_the_limit  # noqa: N816
test_who_may_not_push_is_not_let_in = test_push.test_who_may_not_push_is_not_let_in


@pytest.fixture(scope="module")
async def server(anyio_backend: str) -> AsyncIterator[StreamsServer]:
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    overrides = {"streams.workers": WORKERS, "streams.max_message": 1 << 20}
    async with streams_server(folder / "d", overrides=overrides) as running:
        yield running
    shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture
def wire(server: StreamsServer) -> Wire:
    return Wire(cast("Any", server))


def pool_of(server: StreamsServer) -> Pool:
    found = server.extension._workers  # pyright: ignore[reportPrivateUsage]
    assert found is not None
    return found


@pytest.fixture
def pool(server: StreamsServer) -> Pool:
    return pool_of(server)


async def until(check: Callable[[], Any], seconds: float = 20) -> Any:
    with anyio.fail_after(seconds):
        while not (found := check()):
            await anyio.sleep(0.01)
        return found


def served(pool: Pool) -> list[int]:
    return [remote.count for remote in pool.remotes]


def figures(server: StreamsServer) -> dict[str, float]:
    lines = [line for line in server.extension.metrics() if not line.startswith("#")]
    return {key: float(value) for key, value in (line.rsplit(" ", 1) for line in lines)}


@contextmanager
def away(pool: Pool) -> Generator[None]:
    """No worker takes sockets meanwhile."""
    for remote in pool.remotes:
        remote._is_ready = False  # pyright: ignore[reportPrivateUsage]
    try:
        yield
    finally:
        for remote in pool.remotes:
            remote._is_ready = True  # pyright: ignore[reportPrivateUsage]


async def test_sockets_are_dealt_out_and_counted(wire: Wire, server: Any, pool: Pool) -> None:
    await until(lambda: served(pool) == [0, 0] and server.callers.count == 0)
    assert server.extension.waiting() is None
    stream = name()
    async with wire.push(stream), wire.pull(stream), wire.push(stream), wire.pull(stream):
        assert served(pool) == [2, 2]
        assert server.callers.count == 4
        found = figures(server)
        assert found["downstage_streams_open"] == 4
        assert found["downstage_streams_workers"] == 2
        assert found['downstage_streams_worker_sockets{worker="2"}'] == 2
        assert os.getpid() not in {remote.pid for remote in pool.remotes}
    await until(lambda: served(pool) == [0, 0] and server.callers.count == 0)


@pytest.mark.parametrize("by", ["a worker", "the first process"])
async def test_the_first_frames_come_with_the_request(
    server: StreamsServer, wire: Wire, pool: Pool, by: str
) -> None:
    with nullcontext() if by == "a worker" else away(pool):
        stream = await push_at_once(server)
    assert [len(data) for data in await wire.stored(stream)] == [5, 0, 3000, 20_000]


async def push_at_once(server: StreamsServer) -> str:
    stream = name()
    where = urlsplit(server.url)
    head = "\r\n".join(
        (
            f"GET /data/{stream}/push?ack=1 HTTP/1.1",
            f"Host: {where.netloc}",
            "Upgrade: websocket",
            "Connection: Upgrade",
            f"Sec-WebSocket-Key: {base64.b64encode(os.urandom(16)).decode()}",
            "Sec-WebSocket-Version: 13",
            f"Authorization: {server.headers('alice')['authorization']}",
            "",
            "",
        )
    )
    frames = [
        Frame(Opcode.BINARY, bytes([number]) * size).serialize(mask=True)
        for number, size in enumerate((5, 0, 3000, 20_000))
    ]
    reader, writer = await asyncio.open_connection(where.hostname, where.port)
    # In one piece, and what is left while the server still asks itself who that is.
    writer.write(head.encode() + frames[0] + frames[1] + frames[2] + frames[3][:11])
    await writer.drain()
    writer.write(frames[3][11:])
    with anyio.fail_after(20):
        answer = await reader.readuntil(b"\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 101 ")
        for _ in frames:
            (length,) = (await reader.readexactly(2))[1:]
            await reader.readexactly(length)
    writer.close()
    await writer.wait_closed()
    return stream


async def test_readers_by_pattern_see_streams_made_in_another_process(
    wire: Wire, pool: Pool
) -> None:
    await until(lambda: served(pool) == [0, 0])
    root = name("made")
    async with (
        wire.pull(f"{root}-*", at="/v1/streams") as first,
        wire.pull(f"{root}-*", at="/v1/streams") as second,
    ):
        assert served(pool) == [1, 1]  # one in each, and the next goes to one of them
        async with wire.push("*", ack=1) as push:
            for number in range(3):
                await push.batch([[f"{root}-{number}", 1]], b"x")
                await push.text()
        for pull in (first, second):
            found = await pull.take(3)
            assert sorted(row[0] for row in found) == [f"{root}-{n}" for n in range(3)]


async def test_what_is_described_counts_for_the_next_push_anywhere(
    server: StreamsServer, wire: Wire
) -> None:
    """Also the place: a durable stream lies in another engine."""
    async with (
        httpx.AsyncClient(headers=server.headers("alice"), timeout=20) as client,
        wire.push("*", at="/v1/streams", ack=1) as push,
    ):
        await push.batch([[name(), 1]], b"x")  # it knows the tenant's streams now
        await push.json()
        for _ in range(20):
            stream = name("kept")
            url = f"{server.url}/v1/streams/{stream}"
            answer = await client.put(url, json={"durability": "always"})
            assert answer.is_success, answer.text
            await push.batch([[stream, 1]], b"x")
            assert (await push.json())["durability"] == "always"
            async with wire.pull(stream, last_entry_id=0) as pull:
                assert [data for _, _, data in await pull.entries()] == [b"x"]


async def test_a_token_that_counts_no_more_closes_its_sockets(
    wire: Wire, server: StreamsServer, pool: Pool
) -> None:
    stream = name()
    token = await server.program_token("bob", "streams:read", "streams:write")
    before = server.callers.count
    uri = f"{server.ws_url}/v1/streams/{stream}"
    headers = {"authorization": f"Bearer {token}"}
    async with (
        connect(f"{uri}/push", additional_headers=headers, proxy=None) as push,
        connect(f"{uri}/pull", additional_headers=headers, proxy=None) as pull,
        wire.push(stream, ack=1) as other,
    ):
        assert sum(served(pool)) >= 3
        principal = await server.host.authenticator.principal(token)
        await server.identity.issue.revoke_program(
            await server.host.authenticator.principal(server.token("bob")), principal.token_id
        )
        await until(lambda: not server.host.authenticator.counts(principal))
        server.callers.check()
        for socket in (push, pull):
            with anyio.fail_after(20):
                await socket.wait_closed()
            assert (socket.close_code, socket.close_reason) == (1008, "invalid-token")
        await other.send(b"x")
        assert await other.text()
    await until(lambda: server.callers.count <= before)


async def told_anew(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    """Return once each worker has told what it did until now."""
    tell, times = pool.board.told, Counter[int]()

    def spy(worker: int, told: Told) -> None:
        times[worker] += 1
        tell(worker, told)

    monkeypatch.setattr(pool.board, "told", spy)
    await until(lambda: len(times) == WORKERS and min(times.values()) > 1)


async def test_figures_are_those_of_all(
    wire: Wire, server: StreamsServer, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    await until(lambda: served(pool) == [0, 0])
    await told_anew(pool, monkeypatch)
    stream, before = name(), figures(server)
    async with wire.pull(stream) as pull, wire.push(stream, ack=1) as one:
        async with wire.push(stream, ack=1) as two:
            for push in (one, two):
                for _ in range(5):
                    await push.send(bytes(10))
                    await push.text()
        async with httpx.AsyncClient(headers=server.headers("alice"), timeout=20) as client:
            url = f"{server.url}/v1/streams/{stream}/entries"
            assert (await client.post(url, content=bytes(10))).status_code == 201
        await pull.take(11)

        def grown(family: str) -> float:
            return figures(server)[family] - before[family]

        for way in ("in", "out"):  # each worker tells when its second is over
            await until(lambda way=way: grown(f"downstage_streams_entries_{way}_total") == 11)
        assert grown("downstage_streams_bytes_in_total") == 110
        assert figures(server)["downstage_streams_subscriptions"] == 1
        mine = f'{{tenant="main",stream="{stream}"}}'
        found = figures(server)
        assert found[f"downstage_stream_entries_in_total{mine}"] == 11
        assert found[f"downstage_stream_bytes_in_total{mine}"] == 110
        assert found[f"downstage_stream_subscribers{mine}"] == 1
        await until(lambda: figures(server)[f"downstage_stream_entries_per_second{mine}"] > 0)
    await until(lambda: figures(server)["downstage_streams_subscriptions"] == 0)


async def test_without_workers_the_first_process_serves(
    wire: Wire, server: StreamsServer, pool: Pool
) -> None:
    await until(lambda: served(pool) == [0, 0])
    with away(pool):
        assert "first process" in (server.extension.waiting() or "")
        stream = name()
        async with wire.push(stream, ack=1) as push:
            await push.send(b"x")
            assert await push.text()
            assert served(pool) == [0, 0]
            assert server.callers.count == 1


async def test_no_secret_is_in_a_command_line_or_environment(
    server: StreamsServer, pool: Pool
) -> None:
    data = server.host.settings.platform.data
    secrets = [
        json.loads((data / "streams" / part / "access.json").read_text())["password"].encode()
        for part in ("engine", "durable")
    ]
    for remote in pool.remotes:
        for kind in ("cmdline", "environ"):
            text = Path(f"/proc/{remote.pid}/{kind}").read_bytes()
            assert text
            assert not any(secret in text for secret in secrets)
            assert b"DOWNSTAGE_" not in text


async def test_stopping_closes_them_with_a_word(anyio_backend: str, data: Path) -> None:
    async with AsyncExitStack() as sockets:
        async with streams_server(data / "d", overrides={"streams.workers": WORKERS}) as server:
            wire = Wire(cast("Any", server))
            pids = [remote.pid for remote in pool_of(server).remotes]
            push = await sockets.enter_async_context(wire.push(name()))
            pull = await sockets.enter_async_context(wire.pull(name()))
        for socket in (push, pull):
            assert await socket.closed() == (1001, "going-away")
    assert not any(Path(f"/proc/{pid}").exists() for pid in pids)
