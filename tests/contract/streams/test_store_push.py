"""What every store must do with what is pushed, whatever the engine."""

from __future__ import annotations

import anyio
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from downstage.kernel.errors import (
    BadId,
    DurabilityUnavailable,
    Forbidden,
    InvalidField,
    NotFound,
    PlatformError,
    QuotaReached,
)
from downstage.streams.model import AUTO, ZERO, Caller, Durability, EntryId, Receipt, Right
from downstage.streams.service import NEWEST, Wish

from .store import DEADLINE_S, Collector, Store, caller_of, items, push

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


async def test_what_is_pushed_is_there_in_order(store: Store, caller: Caller) -> None:
    batch = [*items("b", b"1", b"2"), *items("a", b"3"), *items("b", b"4")]
    receipt = await store.streams.append(caller, batch)
    assert receipt.durability is Durability.EVERYSEC
    assert not receipt.repeated
    entries = await store.streams.read(caller, {"a": ZERO, "b": ZERO}, count=10)
    assert [(entry.stream, entry.data) for entry in entries] == [
        ("a", b"3"),
        ("b", b"1"),
        ("b", b"2"),
        ("b", b"4"),
    ]
    by_stream = {"a": receipt.ids[2:3], "b": (receipt.ids[0], receipt.ids[1], receipt.ids[3])}
    for name, ids in by_stream.items():
        assert [bytes(entry.id) for entry in entries if entry.stream == name] == list(ids)


async def test_given_ids_are_kept(store: Store, caller: Caller) -> None:
    batch = [("s", b"5", b"a"), ("s", b"5-7", b"b"), ("s", b"5-*", b"c"), ("s", b"6-*", b"d")]
    receipt = await store.streams.append(caller, batch)
    assert receipt.ids == (b"5-0", b"5-7", b"5-8", b"6-0")
    assert (await store.streams.append(caller, [("s", b"7", b"e")])).ids == (b"7-0",)


LATE = {
    "older, alone": [("s", b"9-0", b"x")],
    "the same": [("s", b"10-0", b"x")],
    "the first of two": [("s", b"9", b"x"), ("s", b"11", b"y")],
    "the second of two": [("s", b"12", b"x"), ("s", b"11", b"y")],
    "behind another stream": [("other", AUTO, b"x"), ("s", b"3", b"y")],
    "zero": [("s", b"0-0", b"x")],
    "no id": [("s", b"12", b"x"), ("s", b"1.5", b"y")],
    "too large": [("s", b"12", b"x"), ("s", b"99999999999999999999-0", b"y")],
    "half open, older": [("s", b"9-*", b"x"), ("s", b"12-*", b"y")],
    "some given, some not": [("s", b"12", b"x"), ("s", AUTO, b"y")],
}


async def test_an_id_that_is_not_newer_stores_nothing_of_its_batch(
    store: Store, caller: Caller
) -> None:
    await store.streams.append(caller, [("s", b"10", b"first"), ("other", b"1", b"first")])
    for why, late in LATE.items():
        with pytest.raises(BadId):
            await store.streams.append(caller, late)
        cursors = {"s": ZERO, "other": ZERO}
        entries = await store.streams.read(caller, cursors, count=10)
        assert [entry.data for entry in entries] == [b"first", b"first"], why
    # And it goes on.
    assert (await store.streams.append(caller, [("s", b"11", b"next")])).ids == (b"11-0",)


async def test_an_id_must_be_newer_than_one_that_was_trimmed(store: Store, caller: Caller) -> None:
    await store.streams.append(caller, [("s", b"10", b"a")])
    assert await store.streams.trim(caller, "s", count=0) == 1
    with pytest.raises(BadId):
        await store.streams.append(caller, [("s", b"9", b"b"), ("s", b"11", b"c")])
    assert not await store.streams.read(caller, {"s": ZERO}, count=5)


async def test_the_same_key_stores_once(store: Store, caller: Caller) -> None:
    batch = [*items("a", b"1"), *items("a", b"2")]
    first = await store.streams.append(caller, batch, key="push-1")
    again = await store.streams.append(caller, batch, key="push-1")
    assert again.ids == first.ids
    assert (first.repeated, again.repeated) == (False, True)
    other = await store.streams.append(caller, batch, key="push-2")
    assert not set(other.ids) & set(first.ids)
    assert len(await store.streams.read(caller, {"a": ZERO}, count=10)) == 4


async def test_one_key_at_once_from_many_stores_once(store: Store, caller: Caller) -> None:
    receipts: list[Receipt] = []

    async def one() -> None:
        receipts.append(await store.streams.append(caller, items("a", b"x"), key="k"))

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for _ in range(8):
                tasks.start_soon(one)
    assert len({receipt.ids for receipt in receipts}) == 1
    assert sum(receipt.repeated for receipt in receipts) == 7


async def test_a_key_out_of_form_is_refused(store: Store, caller: Caller) -> None:
    for key in ("", "x" * 129, "line\nbreak"):
        with pytest.raises(InvalidField):
            await store.streams.append(caller, items("a", b"x"), key=key)


async def test_what_cannot_be_promised_is_refused(store: Store, caller: Caller) -> None:
    for want in (Durability.ALWAYS, Durability.REPLICATED):
        with pytest.raises(DurabilityUnavailable):
            await store.streams.append(caller, items("a", b"x"), want=want)
    assert not await store.streams.read(caller, {"a": ZERO})
    receipt = await store.streams.append(caller, items("a", b"x"), want=Durability.EVERYSEC)
    assert receipt.durability is Durability.EVERYSEC


async def test_a_durable_stream_is_on_the_disk_or_refused(store: Store, caller: Caller) -> None:
    changes = {"durability": "always"}
    if store.kind != "own":
        with pytest.raises(DurabilityUnavailable):
            await store.streams.describe(caller, "safe", changes)
        return
    await store.streams.describe(caller, "safe", changes)
    receipt = await store.streams.append(caller, [*items("safe", b"x"), *items("plain", b"y")])
    assert receipt.durability is Durability.EVERYSEC, "the weaker of both"
    receipt = await store.streams.append(caller, items("safe", b"z"), want=Durability.ALWAYS)
    assert receipt.durability is Durability.ALWAYS
    entries = await store.streams.read(caller, {"safe": ZERO}, count=5)
    assert [entry.data for entry in entries] == [b"x", b"z"]
    assert await store.streams.list(caller) == ["plain", "safe"]
    assert (await store.streams.info(caller, "safe")).length == 2


async def test_a_producer_keeps_its_order(store: Store, caller: Caller) -> None:
    """Whatever way entries take: alone, in batches, guarded ones between the others."""
    producer = store.streams.producer(caller)
    done: list[Receipt | PlatformError] = []
    expected: list[bytes] = []

    def payload() -> bytes:
        expected.append(b"%d" % len(expected))
        return expected[-1]

    for turn in range(10):
        producer.put("s", payload())
        producer.put_batch(items("s", payload(), payload()), done.append)
        producer.put_batch(items("s", payload()), done.append, key=f"k{turn}")
        producer.put("s", payload())
        if turn % 3 == 0:
            await anyio.sleep(0)
    await producer.drain(DEADLINE_S)
    producer.close()
    entries = await store.streams.read(caller, {"s": ZERO}, count=100)
    assert [entry.data for entry in entries] == expected
    assert [len(receipt.ids) for receipt in done if isinstance(receipt, Receipt)] == [2, 1] * 10


async def test_a_refused_batch_is_told_and_the_next_is_stored(store: Store, caller: Caller) -> None:
    producer = store.streams.producer(caller, ["s"])
    told: list[Receipt | PlatformError] = []
    producer.put_batch([("s", b"10", b"a")], told.append)
    producer.put_batch([("s", b"9", b"b"), ("s", b"12", b"c")], told.append)
    producer.put_batch([("s", b"9", b"d")], told.append)
    producer.put_batch([("s", b"11", b"e")], told.append)
    await producer.drain(DEADLINE_S)
    producer.close()
    assert [isinstance(each, Receipt) for each in told] == [True, False, False, True]
    assert all(isinstance(each, BadId) for each in told[1:3])
    entries = await store.streams.read(caller, {"s": ZERO}, count=10)
    assert [entry.data for entry in entries] == [b"a", b"e"]


async def test_an_unacknowledged_refusal_fails_the_producer(store: Store, caller: Caller) -> None:
    await store.streams.append(caller, [("s", b"10", b"a")])
    producer = store.streams.producer(caller, ["s"])
    producer.put_batch([("s", b"9", b"b")])
    with pytest.raises(BadId):
        await producer.drain(DEADLINE_S)
    with pytest.raises(BadId):
        producer.put("s", b"c")
    producer.close()


async def test_retention_keeps_as_many_as_said(store: Store, caller: Caller) -> None:
    await store.streams.describe(caller, "few", {"retention": {"count": 10}})
    await push(store.streams, caller, "few", *[b"x" * 600] * 500)
    length = (await store.streams.info(caller, "few")).length
    # The engine trims whole nodes, of a few kilobytes each.
    assert 10 <= length <= 10 + 100


async def test_retention_keeps_as_many_bytes_as_said(store: Store, caller: Caller) -> None:
    await store.streams.describe(caller, "s", {"retention": {"bytes": 1 << 20}})
    for _ in range(10):
        await push(store.streams, caller, "s", *[b"x" * 5_000] * 50)
    info = await store.streams.info(caller, "s")
    assert 0.7 * (1 << 20) < info.length * 5_000 <= 1.05 * (1 << 20)
    # Larger ones follow: fewer are kept.
    for _ in range(12):
        await push(store.streams, caller, "s", b"y" * 200_000)
    info = await store.streams.info(caller, "s")
    assert info.length * 200_000 <= 1.5 * (1 << 20)


async def test_a_stream_that_refuses_keeps_what_it_has(store: Store, caller: Caller) -> None:
    retention = {"count": 3, "when_full": "refuse-new"}
    await store.streams.describe(caller, "s", {"retention": retention})
    await push(store.streams, caller, "s", b"1", b"2")
    with pytest.raises(QuotaReached):
        await push(store.streams, caller, "s", b"3", b"4")
    await push(store.streams, caller, "s", b"5")
    with pytest.raises(QuotaReached):
        await push(store.streams, caller, "s", b"6")
    entries = await store.streams.read(caller, {"s": ZERO}, count=10)
    assert [entry.data for entry in entries] == [b"1", b"2", b"5"]


async def test_rights_count_for_each_stream(store: Store) -> None:
    everything = caller_of()
    some = caller_of(everything.tenant, ("cam-*", Right.READ | Right.WRITE), ("log", Right.READ))
    await push(store.streams, everything, "log", b"x")
    await push(store.streams, everything, "secret", b"x")
    await push(store.streams, some, "cam-1", b"x")
    with pytest.raises(Forbidden):
        await push(store.streams, some, "log", b"x")
    with pytest.raises((Forbidden, NotFound)):
        await store.streams.append(some, [*items("cam-1", b"y"), *items("secret", b"y")])
    with pytest.raises(NotFound):
        await store.streams.read(some, {"secret": NEWEST})
    with pytest.raises((Forbidden, NotFound)):
        store.streams.producer(some, ["secret"])
    producer = store.streams.producer(some)
    with pytest.raises((Forbidden, NotFound)):
        producer.put("secret", b"y")
    producer.close()
    assert await store.streams.list(some) == ["cam-1", "log"]
    assert len(await store.streams.read(everything, {"cam-1": ZERO}, count=5)) == 1


async def test_C10_a_name_is_one_of_the_grammar(store: Store, caller: Caller) -> None:
    """Nothing that is no name comes near a key."""
    streams = store.streams
    for name in ("*", "a+b", "../a", "a\nb", "", "{tag}", "a/b", "x" * 129):
        with pytest.raises(InvalidField):
            await streams.append(caller, items(name, b"x"))
        with pytest.raises(InvalidField):
            streams.producer(caller, [name])
        with pytest.raises(InvalidField):
            await streams.read(caller, {name: NEWEST})
        with pytest.raises(InvalidField):
            await streams.info(caller, name)
        with pytest.raises(InvalidField):
            await streams.delete(caller, name)
        with pytest.raises(InvalidField):
            streams.subscribe(caller, Wish({name: NEWEST}), Collector())
    assert await streams.list(caller, everything=True) == []


async def test_C10_no_tenant_reaches_the_streams_of_another(store: Store) -> None:
    for tenant in ("a:b", "a/s", "a%2Fs", "a*", "{a}", "ä\n"):
        one, other = caller_of(tenant), caller_of(f"{tenant}x")
        await push(store.streams, one, "s", b"secret")
        for name in ("s", "s:x", "x.s"):
            assert not await store.streams.read(other, {name: NEWEST})
            with pytest.raises(NotFound):
                await store.streams.info(other, name)
        assert "s" not in await store.streams.list(other)
        await store.streams.delete(other, "s")
        assert len(await store.streams.read(one, {"s": NEWEST})) == 1
        await store.streams.delete(one, "s")


@settings(
    max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    batches=st.lists(
        st.lists(
            st.tuples(
                st.sampled_from(["a", "b"]),
                st.tuples(st.integers(0, 6), st.integers(0, 2)),
            ),
            min_size=1,
            max_size=4,
        ),
        min_size=1,
        max_size=6,
    )
)
async def test_ids_only_ever_grow(
    store: Store, batches: list[list[tuple[str, tuple[int, int]]]]
) -> None:
    """Against a model: a batch is stored whole where all its ids are newer, else not at all."""
    caller = caller_of()
    model: dict[str, list[tuple[int, int]]] = {"a": [], "b": []}
    for batch in batches:
        trial = {name: list(ids) for name, ids in model.items()}
        is_good = True
        for name, id_ in batch:
            last = trial[name][-1] if trial[name] else (0, 0)
            is_good = is_good and id_ > last
            trial[name].append(id_)
        pushed = [(name, b"%d-%d" % id_, b"") for name, id_ in batch]
        if is_good:
            await store.streams.append(caller, pushed)
            model = trial
        else:
            with pytest.raises(BadId):
                await store.streams.append(caller, pushed)
    for name, ids in model.items():
        entries = await store.streams.read(caller, {name: ZERO}, count=100)
        assert [entry.id for entry in entries] == [EntryId(*id_) for id_ in ids]
