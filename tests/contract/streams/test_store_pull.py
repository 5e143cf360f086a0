"""What every store must give to whom: cursors, counts, slow readers, patterns."""

from __future__ import annotations

import random
from itertools import pairwise

import anyio
import pytest

from downstage.kernel.errors import InvalidField, Lagged, NotFound
from downstage.streams.model import AUTO, ZERO, Caller, EntryId, Right
from downstage.streams.reading import MOST_STREAMS, Align, How
from downstage.streams.service import LAST, NEWEST, Subscription, Wish
from downstage.streams.stats import StreamFigures

from .store import DEADLINE_S, Collector, Store, caller_of, items, push, until

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


async def live(subscription: Subscription) -> None:
    """Return once it is live."""
    await until(lambda: subscription.is_live)


def numbers(first: int, count: int) -> list[bytes]:
    return [b"%d" % number for number in range(first, first + count)]


async def test_a_subscriber_is_given_what_comes(store: Store, caller: Caller) -> None:
    await push(store.streams, caller, "s", b"old")
    sink = Collector()
    subscription = store.streams.subscribe(caller, Wish({"s": LAST, "later": LAST}), sink)
    await live(subscription)
    await push(store.streams, caller, "s", b"1", b"2")
    await push(store.streams, caller, "later", b"3")
    assert sorted(await sink.wait_for(3)) == [b"1", b"2", b"3"]
    assert all(len(delivery.rows) == 1 for delivery in sink.deliveries)
    await subscription.close()
    await push(store.streams, caller, "s", b"4")
    assert len(sink.rows) == 3


@pytest.mark.parametrize(
    ("start", "expected"),
    [
        pytest.param(ZERO, [b"1", b"2", b"3", b"new"], id="all"),
        pytest.param(NEWEST, [b"3", b"new"], id="the newest at once"),
        pytest.param(LAST, [b"new"], id="what comes"),
        pytest.param(EntryId(2), [b"3", b"new"], id="after an id"),
        pytest.param(EntryId(2, 5), [b"3", b"new"], id="after an id that never was"),
        pytest.param(EntryId(9), [], id="after an id that is yet to come"),
    ],
)
async def test_reading_begins_where_it_is_wished(
    store: Store, caller: Caller, start: EntryId, expected: list[bytes]
) -> None:
    for number in (1, 2, 3):
        await store.streams.append(caller, [("s", b"%d" % number, b"%d" % number)])
    sink = Collector()
    subscription = store.streams.subscribe(caller, Wish({"s": start}), sink)
    await live(subscription)
    await store.streams.append(caller, [("s", b"5", b"new")])
    await store.streams.append(caller, [("s", b"10", b"end")])
    assert await sink.wait_for(len(expected) + 1) == [*expected, b"end"]
    await subscription.close()


@pytest.mark.parametrize("count", [1, 3, 64, 10**9])
async def test_count_bounds_the_entries_of_each_stream(
    store: Store, caller: Caller, count: int
) -> None:
    for name in ("b", "a"):
        await push(store.streams, caller, name, *numbers(0, 10))
    sink = Collector()
    wish = Wish({"b": ZERO, "a": ZERO}, count=count)
    subscription = store.streams.subscribe(caller, wish, sink)
    await sink.wait_for(20)
    await live(subscription)
    await store.streams.append(caller, [*items("b", *numbers(10, 4)), *items("a", b"10")])
    await sink.wait_for(25)
    await subscription.close()
    for delivery in sink.deliveries:
        names = [row[0] for row in delivery.rows]
        assert names == sorted(names)
        assert all(names.count(name) <= count for name in names)
    assert [row[2] for row in sink.rows if row[0] == "b"] == numbers(0, 14)
    assert [row[2] for row in sink.rows if row[0] == "a"] == numbers(0, 11)
    if count >= 10:
        assert len(sink.deliveries[0].rows) == 20


async def test_equal_wishes_share_deliveries(store: Store, caller: Caller) -> None:
    sinks = [Collector() for _ in range(4)]
    subscriptions = [store.streams.subscribe(caller, Wish({"s": LAST}), sink) for sink in sinks]
    for subscription in subscriptions:
        await live(subscription)
    await push(store.streams, caller, "s", b"x")
    for sink in sinks:
        await sink.wait_for(1)
    assert len({id(sink.deliveries[0]) for sink in sinks}) == 1
    sinks[0].deliveries[0].cache["json"] = "made once"
    assert sinks[3].deliveries[0].cache == {"json": "made once"}
    for subscription in subscriptions:
        await subscription.close()


async def test_one_by_one_gives_one_stream_at_a_time(store: Store, caller: Caller) -> None:
    await push(store.streams, caller, "a", b"1")
    await push(store.streams, caller, "b", b"2")
    sink = Collector()
    wish = Wish({"a": ZERO, "b": ZERO}, count=5, one_by_one=True)
    subscription = store.streams.subscribe(caller, wish, sink)
    await sink.wait_for(2)
    await live(subscription)
    await store.streams.append(caller, [*items("a", b"3", b"4"), *items("b", b"5")])
    await sink.wait_for(5)
    await subscription.close()
    assert all(len({row[0] for row in delivery.rows}) == 1 for delivery in sink.deliveries)


async def test_sync_to_lets_the_others_skip(store: Store, caller: Caller) -> None:
    batch = [("slow", b"10", b"s10"), ("fast", b"1", b"f1"), ("fast", b"2", b"f2")]
    batch += [("fast", b"10", b"f10"), ("fast", b"11", b"f11"), ("slow", b"20", b"s20")]
    await store.streams.append(caller, batch)
    sink = Collector()
    wish = Wish({"slow": ZERO, "fast": ZERO}, sync_to="slow")
    subscription = store.streams.subscribe(caller, wish, sink)
    await store.streams.append(caller, [("fast", b"21", b"f21")])
    await sink.wait(lambda: b"f21" in sink.payloads)
    await subscription.close()
    assert sink.payloads[:2] == [b"f1", b"s10"]
    assert b"f2" not in sink.payloads
    assert b"f10" not in sink.payloads
    assert [payload for payload in sink.payloads if payload[:1] == b"s"] == [b"s10", b"s20"]


async def test_max_fps_thins_by_the_time_of_the_ids(store: Store, caller: Caller) -> None:
    batch = [("s", b"%d" % (1000 + 10 * n), b"%d" % n) for n in range(100)]
    await store.streams.append(caller, batch)
    sink = Collector()
    subscription = store.streams.subscribe(caller, Wish({"s": ZERO}, max_fps=10), sink)
    await live(subscription)
    more = [("s", b"%d" % (2000 + 10 * n), b"%d" % (100 + n)) for n in range(100)]
    await store.streams.append(caller, more)
    await sink.wait(lambda: int(sink.payloads[-1]) >= 190)
    await subscription.close()
    assert sink.payloads == [b"%d" % (10 * n) for n in range(20)]


async def test_patterns_find_streams_that_come_later(store: Store) -> None:
    everything = caller_of()
    some = caller_of(everything.tenant, ("cam-*", Right.READ), ("mic", Right.READ))
    await push(store.streams, everything, "cam-1", b"old")
    sink = Collector()
    wish = Wish({"mic": LAST}, patterns=("cam-*", "secret-*"))
    subscription = store.streams.subscribe(some, wish, sink)
    await live(subscription)
    await push(store.streams, everything, "cam-1", b"1")
    await push(store.streams, everything, "cam-2", b"2", b"3")
    await push(store.streams, everything, "other", b"x")
    await push(store.streams, everything, "secret-1", b"x")
    await push(store.streams, everything, "mic", b"4")
    assert sorted(await sink.wait_for(4)) == [b"1", b"2", b"3", b"4"]
    await until(lambda: subscription.is_live)
    await push(store.streams, everything, "cam-2", b"5")
    await sink.wait_for(5)
    await subscription.close()
    assert not any(row[0].startswith(("secret", "other")) for row in sink.rows)


async def test_a_stream_that_may_not_be_read_looks_absent(store: Store) -> None:
    everything = caller_of()
    await push(store.streams, everything, "secret", b"x")
    some = caller_of(everything.tenant, ("cam-*", Right.READ))
    with pytest.raises(NotFound):
        store.streams.subscribe(some, Wish({"secret": ZERO}), Collector())


async def test_a_slow_reader_is_served_from_its_place(store: Store, caller: Caller) -> None:
    """It leaves live mode, holds nobody up, and misses nothing that is kept."""
    slow, fast = Collector(is_stuck=True), Collector()
    subscriptions = [
        store.streams.subscribe(caller, Wish({"s": LAST}, count=8), sink) for sink in (slow, fast)
    ]
    for subscription in subscriptions:
        await live(subscription)
    for number in range(40):  # of 1 MB; 8 MB may wait
        await push(store.streams, caller, "s", b"%04d" % number + bytes(1 << 20))
        await fast.wait_for(number + 1)
    assert 8 <= len(slow.rows) <= 16
    assert subscriptions[0].lag == 40 - len(slow.rows)
    assert subscriptions[1].lag == 0
    slow.drain()
    await slow.wait_for(40)
    assert [int(payload[:4]) for payload in slow.payloads] == list(range(40))
    await live(subscriptions[0])
    await push(store.streams, caller, "s", b"0040")
    await slow.wait_for(41)
    for subscription in subscriptions:
        await subscription.close()
    assert store.streams.totals.slow == 1


async def test_C09_a_reader_that_falls_out_of_retention_is_told(
    store: Store, caller: Caller
) -> None:
    await store.streams.describe(caller, "s", {"retention": {"count": 10}})
    slow, skipping = Collector(is_stuck=True), Collector(is_stuck=True)
    subscriptions = [
        store.streams.subscribe(caller, Wish({"s": LAST}), slow),
        store.streams.subscribe(caller, Wish({"s": LAST}, latest=True), skipping),
    ]
    for subscription in subscriptions:
        await live(subscription)
    for number in range(60):
        await push(store.streams, caller, "s", b"%04d" % number + bytes(1 << 20))
        sinks = zip((slow, skipping), subscriptions, strict=True)
        pairs = [(sink, subscription, number + 1) for sink, subscription in sinks]
        await until(lambda pairs=pairs: all(s.lag + len(k.rows) == n for k, s, n in pairs))
    given = len(skipping.rows)
    slow.drain()
    await slow.wait(lambda: slow.error is not None)
    assert isinstance(slow.error, Lagged)
    assert slow.error.context["stream"] == "s"
    assert [int(payload[:4]) for payload in slow.payloads] == list(range(len(slow.rows)))
    skipping.drain()
    await skipping.wait(lambda: len(skipping.rows) > given)
    assert int(skipping.payloads[-1][:4]) == 59
    assert skipping.deliveries[-1].skipped == 60 - given - 1 == subscriptions[1].skipped
    await live(subscriptions[1])
    await push(store.streams, caller, "s", b"0060")
    await skipping.wait(lambda: skipping.payloads[-1] == b"0060")
    assert skipping.deliveries[-1].skipped == 0
    for subscription in subscriptions:
        await subscription.close()


async def test_C09_a_live_reader_that_a_burst_overtakes_is_told(
    store: Store, caller: Caller
) -> None:
    await store.streams.describe(caller, "s", {"retention": {"count": 100}})
    whole, skipping = Collector(), Collector()
    ends = store.streams.subscribe(caller, Wish({"s": LAST}), whole)
    skips = store.streams.subscribe(caller, Wish({"s": LAST}, latest=True), skipping)
    await live(ends)
    await live(skips)
    await push(store.streams, caller, "s", b"first")
    await whole.wait_for(1)
    await skipping.wait_for(1)
    await push(store.streams, caller, "s", *numbers(0, 4000))
    await whole.wait(lambda: whole.error is not None)
    assert isinstance(whole.error, Lagged)
    await skipping.wait(lambda: skipping.payloads[-1] == b"3999")
    await until(lambda: skips.skipped > 0)
    assert not skips.is_closed
    await skips.close()


async def test_a_live_reader_that_keeps_up_with_full_reads_is_left_alone(
    store: Store, caller: Caller
) -> None:
    sink = Collector()
    subscription = store.streams.subscribe(caller, Wish({"s": LAST}, count=64), sink)
    await live(subscription)
    for turn in range(10):
        await push(store.streams, caller, "s", *numbers(500 * turn, 500))
        await sink.wait_for(500 * (turn + 1))
    assert sink.payloads == numbers(0, 5000)
    assert sink.error is None
    await subscription.close()


async def test_a_reader_that_acknowledges_holds_nobody_up(store: Store, caller: Caller) -> None:
    careful, other = Collector(one_at_a_time=True), Collector()
    subscription = store.streams.subscribe(caller, Wish({"s": LAST}), careful)
    second = store.streams.subscribe(caller, Wish({"s": LAST}), other)
    await live(subscription)
    await live(second)
    await push(store.streams, caller, "s", *numbers(0, 200))
    await other.wait_for(200)
    assert len(careful.rows) == 1
    for turn in range(1, 200):
        careful.is_ready = True
        subscription.wake()
        await careful.wait_for(turn + 1)
        if turn == 100:
            await push(store.streams, caller, "s", *numbers(200, 5))
    assert careful.payloads == numbers(0, 200)
    await subscription.close()
    await second.close()


async def test_reconnecting_with_the_last_id_has_no_gap_and_no_duplicate(
    store: Store, caller: Caller
) -> None:
    """C09, with readers that come, go, are slow and hold back at random."""
    dice = random.Random(7)
    total, got = 400, list[bytes]()
    producer = store.streams.producer(caller)

    async def produce() -> None:
        for number in range(total):
            producer.put("s", b"%d" % number)
            if dice.random() < 0.2:
                await anyio.sleep(dice.random() * 0.004)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(produce)
        cursor = ZERO
        with anyio.fail_after(DEADLINE_S * 2):
            while len(got) < total:
                sink = Collector(one_at_a_time=dice.random() < 0.3)
                wish = Wish({"s": cursor}, count=dice.choice([1, 3, 50]))
                subscription = store.streams.subscribe(caller, wish, sink)
                for _ in range(dice.randrange(1, 12)):
                    await anyio.sleep(dice.random() * 0.004)
                    sink.is_ready = True
                    subscription.wake()
                await subscription.close()
                assert sink.error is None
                got += sink.payloads
                if sink.rows:
                    cursor = EntryId.parse(sink.rows[-1][1])
    producer.close()
    assert got == numbers(0, total)


async def test_many_readers_at_random_each_see_everything_once(
    store: Store, caller: Caller
) -> None:
    dice = random.Random(11)
    names = ["a", "b", "c"]
    sinks: list[tuple[Collector, Subscription, list[str]]] = []
    for _ in range(12):
        mine = dice.sample(names, dice.randrange(1, 4))
        sink = Collector(one_at_a_time=dice.random() < 0.3)
        wish = Wish(dict.fromkeys(mine, ZERO), count=dice.choice([1, 2, 64]))
        sinks.append((sink, store.streams.subscribe(caller, wish, sink), mine))
    total = 300
    for number in range(total):
        name = dice.choice(names)
        await store.streams.append(caller, [(name, AUTO, b"%d" % number)])
        for sink, subscription, _ in sinks:
            if dice.random() < 0.5:
                sink.is_ready = True
                subscription.wake()
    stored = await store.streams.read(caller, dict.fromkeys(names, ZERO), count=total)
    for sink, subscription, mine in sinks:
        sink.one_at_a_time, sink.is_ready = False, True
        subscription.wake()
        expected = [entry for entry in stored if entry.stream in mine]
        await sink.wait_for(len(expected))
        await subscription.close()
        for name in mine:
            assert [row[1] for row in sink.rows if row[0] == name] == [
                bytes(entry.id) for entry in expected if entry.stream == name
            ]
        assert len(sink.rows) == len(expected)


async def test_reading_iterates(store: Store, caller: Caller) -> None:
    await push(store.streams, caller, "s", b"1", b"2")
    got: list[bytes] = []
    with anyio.fail_after(DEADLINE_S):
        async with store.streams.reading(caller, Wish({"s": ZERO}, count=5)) as deliveries:
            async for delivery in deliveries:
                got += [entry.data for entry in delivery.entries]
                if len(got) == 2:
                    await push(store.streams, caller, "s", b"3")
                if len(got) == 3:
                    break
    assert got == [b"1", b"2", b"3"]


async def test_a_deleted_stream_begins_anew(store: Store, caller: Caller) -> None:
    """Its readers go on with whatever ids come, without what was before."""
    sink = Collector()
    await store.streams.append(caller, [("s", b"1000", b"a")])
    subscription = store.streams.subscribe(caller, Wish({"s": LAST}), sink)
    await live(subscription)
    await store.streams.append(caller, [("s", b"2000", b"b")])
    await sink.wait_for(1)
    deleted = await store.streams.delete(caller, "s")
    assert (deleted.described, deleted.entries, deleted.existed) == (False, 2, True)
    with pytest.raises(NotFound):
        await store.streams.info(caller, "s")
    await anyio.sleep(0.05)  # the readers take note of it
    await store.streams.append(caller, [("s", b"10", b"c")])
    assert await sink.wait_for(2) == [b"b", b"c"]
    await subscription.close()


async def test_C09_wishes_are_bounded(store: Store, caller: Caller) -> None:
    with pytest.raises(InvalidField):
        Wish({f"s{n}": ZERO for n in range(MOST_STREAMS + 1)})
    with pytest.raises(InvalidField):
        Wish({"s": ZERO}, count=0)
    with pytest.raises(InvalidField):
        Wish()
    cursors = {f"s{n}": ZERO for n in range(MOST_STREAMS)}
    sink = Collector()
    subscription = store.streams.subscribe(caller, Wish(cursors), sink)
    await live(subscription)
    await push(store.streams, caller, "s1000", b"x")
    await sink.wait_for(1)
    await subscription.close()


async def test_ranges(store: Store, caller: Caller) -> None:
    batch = [("s", b"%d" % (100 * n), b"%d" % n) for n in range(1, 101)]
    await store.streams.append(caller, batch)

    async def texts(start: int | None, stop: int | None, **wish: object) -> list[int]:
        low = None if start is None else EntryId(start)
        high = None if stop is None else EntryId(stop)
        wished = {"count": 1000, **wish}
        entries = await store.streams.range(caller, "s", low, high, **wished)  # pyright: ignore[reportArgumentType]
        return [int(entry.data) for entry in entries]

    assert await texts(None, None) == list(range(1, 101))
    assert await texts(200, 500) == [2, 3, 4, 5]
    assert await texts(250, 450, count=1) == [3]
    assert await texts(None, None, reverse=True, count=3) == [100, 99, 98]
    assert await texts(200, 1000, reverse=True) == list(range(10, 1, -1))
    assert await texts(None, None, every=25) == [1, 26, 51, 76]
    thin = await texts(None, None, max_fps=2)
    assert len(thin) in (20, 21)
    assert all(later - earlier <= 5 for earlier, later in pairwise(thin))
    assert await texts(99_999, None) == []


@pytest.mark.parametrize("how", ["nearest", "previous", "interpolate"])
async def test_an_aligned_reader_is_given_what_the_others_held(
    store: Store, caller: Caller, how: How
) -> None:
    sink = Collector()
    wish = Wish(
        {"lead": LAST, "a": LAST}, patterns=("b*",), align=Align("lead", how, tolerance_ms=60)
    )
    subscription = store.streams.subscribe(caller, wish, sink)
    await live(subscription)
    await store.streams.append(
        caller,
        [
            ("a", b"100", b"10"),
            ("b1", b"90", b"old"),
            ("lead", b"110", b"x"),
            ("a", b"120", b"20"),
            ("lead", b"200", b"y"),
        ],
    )
    await store.streams.append(caller, [("a", b"201", b"30"), ("b1", b"300", b"new")])
    await sink.wait(lambda: len(sink.deliveries) == 2)
    await subscription.close()
    first, second = ([(row[0], row[2]) for row in each.rows] for each in sink.deliveries)
    value = {"nearest": b"10", "previous": b"10", "interpolate": b"15.0"}[how]
    assert first == [("a", value), ("b1", b"old"), ("lead", b"x")]
    if how == "previous":
        assert second == [("lead", b"y")], "120 is too far off"
    else:
        assert second[0][0] == "a"
        assert second[-1] == ("lead", b"y")


async def test_what_readers_get_and_wait_for_is_counted_for_each_stream(
    store: Store, caller: Caller
) -> None:
    quick, stuck = Collector(), Collector(is_stuck=True)
    subscriptions = [store.streams.subscribe(caller, Wish({"s": LAST}), k) for k in (quick, stuck)]
    for subscription in subscriptions:
        await live(subscription)
    for _ in range(60):
        await push(store.streams, caller, "s", bytes(1 << 20))
    await quick.wait_for(60)

    def mine() -> StreamFigures:
        found = (f for f in store.streams.figures() if (f.tenant, f.stream) == (caller.tenant, "s"))
        return next(found)

    await until(lambda: mine().lag > 0)
    assert mine().lag + len(stuck.rows) == 60
    assert mine().entries_out >= 60 + len(stuck.rows)
    stuck.drain()
    await stuck.wait_for(60)
    await until(lambda: mine().lag == 0)
    for subscription in subscriptions:
        await subscription.close()
