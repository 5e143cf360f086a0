"""What must hold when engines die, are full, fail over, or readers crawl."""

from __future__ import annotations

import resource
import shutil
import tempfile
from collections import Counter
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import anyio
import anyio.to_thread
import pytest

from downstage.bus import MemoryBus
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import PlatformError, StoreFull, Unavailable
from downstage.kernel.settings import Settings
from downstage.streams.engine import open_engine
from downstage.streams.model import AUTO, ZERO, Caller, Durability, Receipt
from downstage.streams.service import LAST, Producer, Streams, Wish, open_streams
from downstage.testing.valkey import EngineServer, valkey_cluster, valkey_pair, valkey_process

from .cut_line import CutLine
from .store import DEADLINE_S, Collector, Store, caller_of, items, push, until

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

Open = Callable[..., Any]


@pytest.fixture
async def opened() -> AsyncIterator[Open]:
    """Opens streams on an engine; all are closed in the end."""
    folder = Path(tempfile.mkdtemp(prefix="ds-", dir="/tmp"))
    async with AsyncExitStack() as stack:

        async def do(**section: Any) -> Store:
            settings = Settings.model_validate({"streams": section})
            engine = await stack.enter_async_context(open_engine(settings, folder, SystemClock()))
            streams = await stack.enter_async_context(
                open_streams(engine, MemoryBus(), settings.streams)
            )
            return Store("given", engine, streams)

        yield do
    shutil.rmtree(folder, ignore_errors=True)


class Load:
    """Pushes numbered entries in every way there is, and remembers what was acknowledged."""

    def __init__(self, streams: Streams) -> None:
        self.caller = caller_of()
        self.acked: dict[bytes, bytes] = {}
        self.refused: list[PlatformError] = []
        self.number = 0
        self.pending = 0
        self.is_over = False
        self._streams = streams
        self._producer = streams.producer(self.caller)

    def _push(self, count: int, key: str | None = None) -> None:
        payloads = [b"%d" % (self.number + at) for at in range(count)]
        self.number += count
        self.pending += count

        def done(result: Receipt | PlatformError) -> None:
            self.pending -= count
            if isinstance(result, Receipt):
                self.acked.update(zip(result.ids, payloads, strict=True))
            else:
                self.refused.append(result)

        self._producer.put_batch(items("s", *payloads), done, key=key)

    async def run(self) -> None:
        """Push until it is over: single entries, batches, keyed ones."""
        turn = 0
        while not self.is_over:
            turn += 1
            self._push(1)
            if turn % 5 == 0:
                self._push(7)
            if turn % 50 == 0:
                self._push(3, key=f"key-{turn}")
            await anyio.sleep(0 if self.pending < 2000 else 0.01)

    async def end(self) -> None:
        """Stop, and wait for the last answer."""
        self.is_over = True
        await until(lambda: self.pending == 0)
        self._producer.close()

    async def stored(self) -> list[tuple[bytes, bytes]]:
        """All that the store holds."""
        entries = await self._streams.range(self.caller, "s", None, None, count=10**6)
        found = list(entries)
        while entries:
            after = found[-1].id.next()
            entries = await self._streams.range(self.caller, "s", after, None, count=10**6)
            found += entries
        return [(bytes(entry.id), entry.data) for entry in found]


async def _check_nothing_lost_or_twice(load: Load, sink: Collector) -> None:
    stored = await load.stored()
    counts = Counter(payload for _, payload in stored)
    assert max(counts.values()) == 1, "stored twice"
    assert load.acked.items() <= dict(stored).items(), "acknowledged and not stored"
    # The subscriber was given exactly what is stored, in order.
    await sink.wait(lambda: len(sink.rows) >= len(stored))
    assert [(row[1], row[2]) for row in sink.rows] == stored
    assert not sink.gaps


async def test_kill_9_of_nodes_of_a_cluster_loses_nothing_acknowledged(opened: Open) -> None:
    with valkey_cluster(3, fsync="no") as cluster:
        store: Store = await opened(url=cluster.url, keep_count=10**6)
        load, sink = Load(store.streams), Collector()
        subscription = store.streams.subscribe(load.caller, Wish({"s": LAST}, count=50), sink)
        await until(lambda: subscription.is_live)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.run)
            for node in cluster.nodes:
                wanted = len(load.acked) + 200
                await until(lambda wanted=wanted: len(load.acked) > wanted)
                await anyio.to_thread.run_sync(_kill_and_restart, node)
            wanted = len(load.acked) + 200
            await until(lambda: len(load.acked) > wanted)
            await load.end()
        assert not load.refused
        await _check_nothing_lost_or_twice(load, sink)
        await subscription.close()


async def test_kill_9_of_the_engine_loses_nothing_acknowledged(opened: Open) -> None:
    """And stores nothing twice, and is a pause to subscribers: no gap, no duplicate."""
    # With everysec an engine of somebody's own answers before it writes while it syncs its log.
    with valkey_process(fsync="no") as server:
        store: Store = await opened(url=server.url, keep_count=10**6)
        load, sink = Load(store.streams), Collector()
        subscription = store.streams.subscribe(load.caller, Wish({"s": LAST}, count=50), sink)
        await until(lambda: subscription.is_live)
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(load.run)
            for _ in range(3):
                wanted = len(load.acked) + 500
                await until(lambda wanted=wanted: len(load.acked) > wanted)
                await anyio.to_thread.run_sync(_kill_and_restart, server)
            wanted = len(load.acked) + 500
            await until(lambda: len(load.acked) > wanted)
            await load.end()
        assert not load.refused
        assert len(load.acked) == load.number
        await _check_nothing_lost_or_twice(load, sink)
        await subscription.close()


def _kill_and_restart(server: EngineServer) -> None:
    server.kill9()
    server.restart(loaded=False)


@pytest.mark.parametrize("what", ["one", "batch", "two streams", "given ids", "keyed"])
@pytest.mark.parametrize("lost", ["answers", "pushes"])
async def test_a_broken_connection_stores_nothing_twice(opened: Open, what: str, lost: str) -> None:
    """Whether the engine did it and the answer was lost, or never heard of it."""
    with valkey_process() as server:
        async with CutLine.to(server.port) as line:
            store: Store = await opened(url=server.url.replace(str(server.port), str(line.port)))
            caller = caller_of()
            await store.streams.append(caller, [("s", AUTO, b"same"), ("t", AUTO, b"same")])
            await store.streams.append(caller, items("s", b"warm"), key="warm")
            pushed = {
                "one": items("s", b"same"),
                "batch": items("s", b"same", b"same", b"other"),
                "two streams": [*items("s", b"same"), *items("t", b"x"), *items("s", b"y")],
                "given ids": [("s", b"99999999999999-*", b"x"), ("s", b"99999999999999-*", b"y")],
                "keyed": items("s", b"same", b"same"),
            }[what]
            key = "k" if what == "keyed" else None
            receipts: list[Receipt] = []

            async def append() -> None:
                receipts.append(await store.streams.append(caller, pushed, key=key))

            before = (line.lost_replies, line.lost_requests)
            async with anyio.create_task_group() as tasks:
                line.hold_replies_after = b"EXEC" if lost == "answers" else None
                line.hold_requests = lost == "pushes"
                tasks.start_soon(append)
                await until(lambda: (line.lost_replies, line.lost_requests) != before)
                await anyio.sleep(0.05)
                line.cut()
            entries = await store.streams.read(caller, {"s": ZERO, "t": ZERO}, count=20)
            new = {(entry.stream, bytes(entry.id)): entry.data for entry in entries}
            told = {
                (item[0], id_): item[2] for item, id_ in zip(pushed, receipts[0].ids, strict=True)
            }
            assert told.items() <= new.items()
            assert len(entries) == 3 + len(pushed)


async def test_kill_9_of_our_own_engine_is_a_pause(opened: Open) -> None:
    store: Store = await opened(keep_count=10**6)
    load, sink = Load(store.streams), Collector()
    subscription = store.streams.subscribe(load.caller, Wish({"s": LAST}, count=50), sink)
    await until(lambda: subscription.is_live)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(load.run)
        await until(lambda: len(load.acked) > 500)
        (process,) = store.engine.processes
        pid = process.pid
        assert pid is not None
        await anyio.to_thread.run_sync(_kill, pid)
        wanted = len(load.acked) + 500
        await until(lambda: len(load.acked) > wanted)
        await load.end()
    assert not load.refused
    await _check_nothing_lost_or_twice(load, sink)
    await subscription.close()


def _kill(pid: int) -> None:
    import os
    import signal

    os.kill(pid, signal.SIGKILL)


async def test_an_engine_that_stays_away_is_told(
    opened: Open, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Pushes are refused after a while, and what was refused is not stored later."""
    from downstage.streams import outbox

    monkeypatch.setattr(outbox, "HOLD_S", 0.3)
    with valkey_process(fsync="no") as server:
        store: Store = await opened(url=server.url)
        caller = caller_of()
        await push(store.streams, caller, "s", b"before")
        await anyio.to_thread.run_sync(server.kill9)
        with pytest.raises(Unavailable):
            await push(store.streams, caller, "s", b"while away")
        await anyio.to_thread.run_sync(server.restart)
        with anyio.fail_after(DEADLINE_S):
            receipt = await push(store.streams, caller, "s", b"after")
        assert not receipt.repeated
        entries = await store.streams.read(caller, {"s": ZERO}, count=5)
        assert [entry.data for entry in entries] == [b"before", b"after"]


async def test_a_full_engine_refuses_and_reads_go_on(opened: Open) -> None:
    store: Store = await opened(memory_limit=24 << 20, keep_bytes=1 << 30)
    caller, sink = caller_of(), Collector()
    subscription = store.streams.subscribe(caller, Wish({"a": LAST, "b": LAST}, count=8), sink)
    await until(lambda: subscription.is_live)
    stored = await _fill(store.streams, caller, 1)
    assert stored > 8
    # Batches are stored whole or not at all.
    stored += 4 * await _fill(store.streams, caller, 4)
    stored += await _fill(store.streams, caller, 1)
    producer = store.streams.producer(caller)
    stored += await _put_until_full(producer)
    producer.close()
    assert len(await store.streams.read(caller, {"a": ZERO}, count=100)) == stored
    await sink.wait_for(stored)
    await store.streams.delete(caller, "a")
    with anyio.fail_after(DEADLINE_S):
        while not await _fits(store.streams, caller):  # memory comes back in the background
            await anyio.sleep(0.01)
    await subscription.close()


async def _fill(streams: Streams, caller: Caller, count: int) -> int:
    """How many batches of *count* megabytes were stored until there was no room."""
    for stored in range(100):
        try:
            await streams.append(caller, [("a", AUTO, bytes(1 << 20))] * count)
        except StoreFull:
            return stored
    raise AssertionError("there is no limit")


async def _put_until_full(producer: Producer) -> int:
    """How many were stored: the engine lets buffers go meanwhile, and some more fit."""
    for stored in range(24):
        producer.put("a", bytes(1 << 20))
        try:
            await producer.drain(DEADLINE_S)
        except StoreFull:
            return stored
    raise AssertionError("there is no limit")


async def _fits(streams: Streams, caller: Caller) -> bool:
    try:
        await push(streams, caller, "b", b"again")
    except StoreFull:
        return False
    return True


async def test_replicated_answers_outlive_the_primary(opened: Open) -> None:
    """The others' losses are counted and told as a gap; pushes go on at the replica."""
    with valkey_pair() as pair:
        store: Store = await opened(url=pair.url)
        caller, sink = caller_of(), Collector()
        await store.streams.describe(caller, "safe", {"durability": "replicated"})
        receipt = await push(store.streams, caller, "safe", b"1", b"2")
        assert receipt.durability is Durability.REPLICATED
        receipt = await store.streams.append(
            caller, items("s", b"here"), want=Durability.REPLICATED
        )
        assert receipt.durability is Durability.REPLICATED
        subscription = store.streams.subscribe(caller, Wish({"s": ZERO}, count=9), sink)
        await sink.wait_for(1)
        await until(lambda: subscription.is_live)

        # The replica stops to listen: most of what is acknowledged now is on the primary alone.
        pair.replica.pause()
        try:
            big = [b"%04d" % number + bytes(512 << 10) for number in range(64)]
            receipt = await push(store.streams, caller, "s", *big)
            assert receipt.durability is Durability.EVERYSEC
            await sink.wait_for(65)
            with pytest.raises(Unavailable):
                await push(store.streams, caller, "safe", b"3")
        finally:
            await anyio.to_thread.run_sync(pair.primary.kill9)
            pair.replica.resume()
        await anyio.to_thread.run_sync(pair.promote)
        with anyio.fail_after(DEADLINE_S):
            await push(store.streams, caller, "s", b"after")
        await sink.wait(lambda: b"after" in sink.payloads)
        left = len(await store.streams.read(caller, {"s": ZERO}, count=99)) - 2
        assert left < 64
        ((stream, lost, after),) = sink.gaps
        assert (stream, lost) == ("s", 64 - left)
        assert bytes(after) == (receipt.ids[left - 1] if left else sink.rows[0][1])
        entries = await store.streams.read(caller, {"safe": ZERO}, count=9)
        assert [entry.data for entry in entries] == [b"1", b"2"]
        assert store.streams.totals.gaps == 1
        await subscription.close()


async def test_one_slow_reader_of_large_entries_costs_bounded_memory(opened: Open) -> None:
    store: Store = await opened(memory_limit=256 << 20, keep_count=20)
    caller = caller_of()
    slow, fast = Collector(is_stuck=True), Counting()
    subscriptions = [
        store.streams.subscribe(caller, Wish({"s": LAST}), sink) for sink in (slow, fast)
    ]
    for subscription in subscriptions:
        await until(lambda one=subscription: one.is_live)
    producer = store.streams.producer(caller)
    payload = bytes(1 << 20)

    async def some(count: int) -> None:
        for _ in range(count):
            wanted = fast.count + 1
            producer.put("s", payload)
            await until(lambda wanted=wanted: fast.count >= wanted)

    await some(30)
    before = _resident_mb()
    await some(80)
    assert _resident_mb() - before < 40
    assert len(slow.rows) <= 16
    producer.close()
    for subscription in subscriptions:
        await subscription.close()


class Counting(Collector):
    """Counts, and keeps nothing."""

    count = 0

    def deliver(self, delivery: Any) -> None:
        self.count += len(delivery.rows)


def _resident_mb() -> float:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * resource.getpagesize() / 2**20


async def test_producers_are_told_to_pause_and_to_go_on(opened: Open) -> None:
    with valkey_process() as server:
        store: Store = await opened(url=server.url, in_flight=1 << 20)
        caller = caller_of()
        await push(store.streams, caller, "s", b"x")
        told: list[bool] = []
        producer = store.streams.producer(caller)
        producer.put("s", b"x")
        await producer.drain(DEADLINE_S)
        producer.on_pressure = told.append
        server.pause()
        try:
            for _ in range(64):
                producer.put("s", bytes(64 << 10))
                await anyio.sleep(0)
            assert told == [True]
            assert store.streams.totals.in_flight > 1 << 20
        finally:
            server.resume()
        await producer.drain(DEADLINE_S)
        assert told == [True, False]
        producer.close()
