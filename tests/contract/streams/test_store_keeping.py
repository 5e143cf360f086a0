"""What every store keeps and lets go: by true sizes, and as streams are deleted and made again."""

from __future__ import annotations

import random

import anyio
import pytest

from downstage.bus import MemoryBus
from downstage.kernel.errors import QuotaReached
from downstage.kernel.settings import Settings
from downstage.streams import arrivals, catchup
from downstage.streams.engine import Lane, NotReady, Shard
from downstage.streams.model import AUTO, ZERO, Caller, EntryId, Receipt
from downstage.streams.reading import Align, Delivery
from downstage.streams.service import LAST, NEWEST, Streams, Subscription, Wish, open_streams

from .store import Collector, Store, items, push, until

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

LARGE = [bytes(1 << 20)] * 5
SMALL = [bytes(5000)] * 300
BYTES = 16 << 20


async def _fill(store: Store, caller: Caller, *, refuse: bool = False) -> None:
    """Few large entries, many small ones: what the first ones take says nothing of the rest."""
    when_full = "refuse-new" if refuse else "discard-old"
    retention = {"bytes": BYTES, "when_full": when_full}
    await store.streams.describe(caller, "s", {"retention": retention})
    await push(store.streams, caller, "s", *LARGE)
    await push(store.streams, caller, "s", *SMALL)


async def _length(store: Store, caller: Caller) -> int:
    return (await store.streams.info(caller, "s")).length


async def test_what_fits_by_its_true_size_is_kept(store: Store, caller: Caller) -> None:
    await _fill(store, caller)
    info = await store.streams.info(caller, "s")
    assert 6_000_000 < info.bytes < 10_000_000
    await store.streams._keeper.trim_once()  # pyright: ignore[reportPrivateUsage]
    assert await _length(store, caller) == 305
    # Another process opens it, and appends.
    settings = Settings().streams
    async with open_streams(store.engine, MemoryBus(), settings) as other:
        for _ in range(3):
            await push(other, caller, "s", bytes(5000))
    assert await _length(store, caller) == 308


async def test_a_stream_refuses_by_its_true_size(store: Store, caller: Caller) -> None:
    await _fill(store, caller, refuse=True)
    await push(store.streams, caller, "s", bytes(5000))
    assert await _length(store, caller) == 306


# --- streams that are deleted and made again -----------------------------------------------------


async def test_a_key_is_void_once_its_stream_was_deleted(store: Store, caller: Caller) -> None:
    """Nothing of that push is left, so it is stored again; and that once."""
    streams = store.streams
    for what in (items("s", b"a", b"b"), [("s", b"5-1", b"a"), ("s", b"5-2", b"b")]):
        assert not (await streams.append(caller, what, key="k")).repeated
        await streams.delete(caller, "s")
        again = await streams.append(caller, what, key="k")
        assert not again.repeated
        repeated = await streams.append(caller, what, key="k")
        assert repeated.repeated
        assert repeated.ids == again.ids
        await streams.delete(caller, "s")
        await push(streams, caller, "s", b"newer")  # of the ids alone nothing can be told
        if what[0][1] == AUTO:
            assert not (await streams.append(caller, what, key="k")).repeated
            entries = await streams.read(caller, {"s": ZERO}, count=9)
            assert [entry.data for entry in entries] == [b"newer", b"a", b"b"]
        await streams.delete(caller, "s")


async def test_a_key_stays_while_one_of_its_streams_is_there(store: Store, caller: Caller) -> None:
    streams = store.streams
    batch = [*items("s", b"a"), *items("t", b"b")]
    first = await streams.append(caller, batch, key="k")
    await streams.trim(caller, "s", count=0)
    assert (await streams.append(caller, batch, key="k")).ids == first.ids
    if store.kind != "cluster":  # there each part has a note of its own
        await streams.delete(caller, "t")
        assert (await streams.append(caller, batch, key="k")).repeated
        assert await streams.read(caller, {"s": ZERO, "t": ZERO}) == []


@pytest.mark.parametrize("who", ["here", "elsewhere"])
async def test_what_is_deleted_while_it_is_pushed_to_is_listed_or_gone(
    store: Store, caller: Caller, who: str
) -> None:
    """Entries never lie in a stream that no listing shows and no keeper looks at."""
    dice = random.Random(5)
    async with open_streams(store.engine, MemoryBus(), Settings().streams) as other:
        pushing: Streams = store.streams if who == "here" else other
        producer = pushing.producer(caller)
        for turn in range(12):
            name = f"s{turn}"
            producer.put(name, b"first")
            await producer.drain(10)

            async def put(name: str = name) -> None:
                for number in range(dice.randrange(1, 40)):
                    producer.put(name, b"%d" % number)
                    await anyio.sleep(0)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(put)
                await anyio.sleep(dice.random() * 0.002)
                await store.streams.delete(caller, name)
        await producer.drain(10)
        producer.close()
        for each in (store.streams, other):
            await each.look(caller.tenant)
            await each._outlets.adopt()  # pyright: ignore[reportPrivateUsage]
        listed = set(await store.streams.list(caller))
        found = await store.streams.read(caller, {f"s{turn}": ZERO for turn in range(12)})
        assert {entry.stream for entry in found} <= listed


async def test_a_deleted_stream_s_readers_are_given_nothing_twice(
    store: Store, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes after the deletion may be given before that is looked into."""
    sink = Collector()
    await push(store.streams, caller, "s", b"1")
    subscription = store.streams.subscribe(caller, Wish({"s": LAST}), sink)
    await until(lambda: subscription.is_live)
    await push(store.streams, caller, "s", b"2")
    await sink.wait_for(1)
    ask, asked = arrivals.last_id, list[EntryId]()

    async def slowly(lane: Lane, key: bytes) -> EntryId:
        last = await ask(lane, key)
        if not asked:
            asked.append(last)
            await push(store.streams, caller, "s", b"3")
            await sink.wait_for(2)
        return last

    monkeypatch.setattr(arrivals, "last_id", slowly)
    await store.streams.delete(caller, "s")
    await sink.wait_for(2)
    assert asked == [ZERO]
    await push(store.streams, caller, "s", b"4")
    await sink.wait(lambda: sink.payloads[-1] == b"4")
    assert sink.payloads == [b"2", b"3", b"4"]
    await subscription.close()


# --- what must be let go of --------------------------------------------------------------


async def test_a_producer_that_is_closed_early_is_let_go_of(store: Store, caller: Caller) -> None:
    """Sockets that push one entry to a new stream and leave are many."""
    for turn in range(5):
        producer = store.streams.producer(caller)
        producer.put(f"s{turn}", b"x")
        producer.close()
        await producer.drain(10)
    assert len(await store.streams.list(caller)) == 5
    parts = store.streams._parts.all  # pyright: ignore[reportPrivateUsage]
    assert not any(part.outbox.pressure for part in parts)
    kept = store.streams._outlets._kept.values()  # pyright: ignore[reportPrivateUsage]
    assert not any(outlet.users for outlet in kept)


async def test_streams_that_cannot_be_made_leave_nothing(store: Store, caller: Caller) -> None:
    settings = Settings.model_validate({"streams": {"max_streams": 1}}).streams
    async with open_streams(store.engine, MemoryBus(), settings) as streams:
        await push(streams, caller, "s", b"x")
        for turn in range(5):
            with pytest.raises(QuotaReached):
                await push(streams, caller, f"t{turn}", b"x")
        assert not streams._outlets._opening  # pyright: ignore[reportPrivateUsage]


async def test_the_newest_is_given_though_the_engine_breaks_at_the_beginning(
    store: Store, caller: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await push(store.streams, caller, "a", b"1")
    await push(store.streams, caller, "b", b"2")
    settle, broken = catchup.settle, list[str]()

    async def breaks(part: object, key: bytes, name: str, *rest: object) -> object:
        if name == "b" and not broken:
            broken.append(name)
            raise NotReady("The connection broke.")
        return await settle(part, key, name, *rest)  # pyright: ignore[reportArgumentType]

    monkeypatch.setattr(catchup, "settle", breaks)
    sink = Collector()
    subscription = store.streams.subscribe(caller, Wish({"a": NEWEST, "b": NEWEST}), sink)
    assert sorted(await sink.wait_for(2)) == [b"1", b"2"]
    await until(lambda: subscription.is_live)
    await subscription.close()
    assert len(sink.rows) == 2


class _Ender(Collector):
    """Ends another reader as it is given something."""

    other: Subscription | None = None

    def deliver(self, delivery: Delivery) -> None:
        super().deliver(delivery)
        assert self.other is not None
        self.other.end()


async def test_a_reader_that_another_ended_is_given_nothing(store: Store, caller: Caller) -> None:
    ender, ended = _Ender(), Collector()
    first = store.streams.subscribe(caller, Wish({"s": LAST}), ender)
    await until(lambda: first.is_live)
    second = ender.other = store.streams.subscribe(caller, Wish({"s": LAST}), ended)
    await until(lambda: second.is_live)
    await push(store.streams, caller, "s", b"x")
    await ender.wait_for(1)
    assert not ended.rows
    await first.close()


# --- breaks --------------------------------------------------------------------------------------


async def test_a_break_is_a_pause_to_who_pushes_to_a_new_stream(
    store: Store, caller: Caller
) -> None:
    producer = store.streams.producer(caller)
    producer.put("old", b"x")
    await producer.drain(10)
    told: list[object] = []
    down: set[str] = set()

    def put(shard: Shard) -> None:
        down.add(shard.name)
        if len(down) == len(store.engine.shards):
            producer.put("new", b"1")
            producer.put_batch(items("newer", b"2", b"3"), told.append)

    for shard in store.engine.shards:
        shard.on_down.add(put)
        shard.train.abort()
    await until(lambda: len(down) == len(store.engine.shards))
    for shard in store.engine.shards:
        shard.on_down.discard(put)
    await producer.drain(20)
    producer.close()
    assert len(told) == 1
    assert isinstance(told[0], Receipt), told
    found = await store.streams.read(caller, {"new": ZERO, "newer": ZERO}, count=9)
    assert [entry.data for entry in found] == [b"1", b"2", b"3"]


class _Broken(Collector):
    def deliver(self, delivery: Delivery) -> None:
        raise ValueError(len(delivery.rows))


@pytest.mark.parametrize("align", [None, Align("s", "previous")])
async def test_a_reader_whose_sink_is_broken_is_ended(
    store: Store, caller: Caller, align: Align | None
) -> None:
    wish = Wish({"s": LAST, "t": LAST}, align=align)
    subscription = store.streams.subscribe(caller, wish, _Broken())
    await until(lambda: subscription.is_live)
    await push(store.streams, caller, "s", b"x")
    await until(lambda: subscription.is_closed)
    assert store.streams.totals.subscriptions == 0
