"""What every store must know of its streams: listed, described, aligned, consumed."""

from __future__ import annotations

import io
import json
from datetime import timedelta

import anyio
import numpy as np
import pytest

from downstage.bus import MemoryBus
from downstage.kernel.errors import AlreadyExists, Conflict, InvalidField, NotFound, QuotaReached
from downstage.kernel.settings import Settings
from downstage.streams import index
from downstage.streams.model import ZERO, Caller, Durability, EntryId, Right
from downstage.streams.reading import How
from downstage.streams.service import LAST, NEWEST, Change, Wish, open_streams

from .store import DEADLINE_S, Collector, Store, caller_of, items, push, until

pytestmark = [pytest.mark.contract, pytest.mark.anyio]


async def test_streams_are_listed_once_they_hold_something(store: Store, caller: Caller) -> None:
    streams = store.streams
    assert await streams.list(caller) == []
    await streams.describe(caller, "described", {"description": "to come"})
    await push(streams, caller, "b", b"x")
    await push(streams, caller, "a:1", b"x")
    assert await streams.list(caller) == ["a:1", "b"]
    assert await streams.list(caller, everything=True) == ["a:1", "b", "described"]
    assert await streams.list(caller, pattern="a:*") == ["a:1"]
    infos = await streams.list(caller, details=True, everything=True)
    assert [(info.name, info.length) for info in infos] == [("a:1", 1), ("b", 1), ("described", 0)]
    assert infos[2].spec.description == "to come"
    assert infos[2].first is infos[2].last is infos[2].created_at is None


async def test_info_tells_what_is_there(store: Store, caller: Caller) -> None:
    await store.streams.append(caller, [("s", b"1-0", b"x" * 5000), ("s", b"2-5", b"y" * 5000)])
    info = await store.streams.info(caller, "s")
    assert (info.length, info.added) == (2, 2)
    assert (info.first, info.last) == (EntryId(1), EntryId(2, 5))
    assert 10_000 <= info.bytes <= 40_000
    assert info.created_at is not None
    assert info.engine["last-generated-id"] == "2-5"
    assert info.engine["first-entry"] == "1-0"
    with pytest.raises(NotFound):
        await store.streams.info(caller, "none")


async def test_descriptions_merge_or_replace(store: Store, caller: Caller) -> None:
    changes = {
        "content_type": "image/jpeg",
        "retention": {"count": 5, "age": 60},
        "meta": {"a": 1, "b": {"c": 2}},
    }
    await store.streams.describe(caller, "s", changes)
    info = await store.streams.describe(caller, "s", {"meta": {"a": 3}, "description": "d"})
    assert info.spec.meta == {"a": 3, "b": {"c": 2}}
    assert info.spec.content_type == "image/jpeg"
    assert info.spec.retention.age == timedelta(minutes=1)
    info = await store.streams.describe(caller, "s", {"meta": {"z": 1}}, replace=True)
    assert info.spec.meta == {"z": 1}
    assert info.spec.content_type is None
    assert info.spec.retention.count is None
    gone = await store.streams.delete(caller, "s")
    assert (gone.described, gone.entries, gone.existed) == (True, 0, False)
    gone = await store.streams.delete(caller, "s")
    assert (gone.described, gone.entries, gone.existed) == (False, 0, False)


BAD: list[dict[str, object]] = [
    {"nonsense": 1},
    {"content_type": "not a type"},
    {"content_type": 5},
    {"retention": {"count": 0}},
    {"retention": {"count": True}},
    {"retention": {"bytes": -1}},
    {"retention": {"age": 0}},
    {"retention": {"age": float("nan")}},
    {"retention": {"other": 1}},
    {"retention": {"when_full": "explode"}},
    {"retention": []},
    {"durability": "eternal"},
    {"meta": []},
    {"meta": {"x": "y" * 70_000}},
    {"schema": "text"},
    {"description": "x" * 5000},
]
"""Descriptions."""


async def test_a_bad_description_is_refused(store: Store, caller: Caller) -> None:
    for changes in BAD:
        with pytest.raises(InvalidField):
            await store.streams.describe(caller, "s", changes)
    assert await store.streams.list(caller, everything=True) == []


async def test_durability_stays_once_there_are_entries(store: Store, caller: Caller) -> None:
    await push(store.streams, caller, "s", b"x")
    with pytest.raises(Conflict):
        await store.streams.describe(caller, "s", {"durability": "always"})
    info = await store.streams.describe(caller, "s", {"durability": "everysec"})
    assert info.spec.durability is Durability.EVERYSEC


@pytest.mark.parametrize("has_bus", [True, False], ids=["by hints", "without hints"])
async def test_processes_agree(
    store: Store, caller: Caller, monkeypatch: pytest.MonkeyPatch, *, has_bus: bool
) -> None:
    """Another process sees at once what is listed, and soon follows what it appends to."""
    monkeypatch.setattr(index, "POLL_S", 0.05)
    bus = MemoryBus()
    async with (
        open_streams(store.engine, bus, Settings().streams) as one,
        open_streams(store.engine, bus if has_bus else MemoryBus(), Settings().streams) as other,
    ):
        assert await other.list(caller) == []
        sink = Collector()
        subscription = other.subscribe(caller, Wish(patterns=("cam-*",)), sink)
        await until(lambda: subscription.is_live)
        async with other.changes() as changes:
            await push(one, caller, "cam-1", b"1")
            assert await other.list(caller) == ["cam-1"]
            await sink.wait_for(1)
            with anyio.fail_after(DEADLINE_S):
                assert await anext(changes) == Change(caller.tenant, "cam-1", "made")
        # What one describes, the other obeys.
        await push(other, caller, "cam-1", b"2")
        await one.describe(caller, "cam-1", {"retention": {"count": 2, "when_full": "refuse-new"}})
        await until(
            lambda: other._outlets.known(caller.tenant, "cam-1").bounds.refuse  # pyright: ignore[reportPrivateUsage, reportOptionalMemberAccess]
        )
        with pytest.raises(QuotaReached):
            await push(other, caller, "cam-1", b"3")
        # A stream that one deletes is made anew by the other, and listed.
        await one.delete(caller, "cam-1")
        await until(lambda: other._outlets.known(caller.tenant, "cam-1") is None)  # pyright: ignore[reportPrivateUsage]
        await push(other, caller, "cam-1", b"4")
        assert await one.list(caller) == ["cam-1"]
        await subscription.close()


async def test_a_key_is_known_to_every_process(store: Store, caller: Caller) -> None:
    async with open_streams(store.engine, MemoryBus(), Settings().streams) as other:
        first = await store.streams.append(caller, items("s", b"x"), key="k")
        again = await other.append(caller, items("s", b"x"), key="k")
    assert (again.ids, again.repeated) == (first.ids, True)
    assert (await store.streams.info(caller, "s")).length == 1


async def test_a_tenant_has_so_many_streams(store: Store, caller: Caller) -> None:
    settings = Settings.model_validate({"streams": {"max_streams": 3}})
    async with open_streams(store.engine, MemoryBus(), settings.streams) as streams:
        await streams.append(caller, [*items("a", b"x"), *items("b", b"x"), *items("c", b"x")])
        with pytest.raises(QuotaReached):
            await push(streams, caller, "d", b"x")
        with pytest.raises(QuotaReached):
            await streams.describe(caller, "d", {"description": "x"})
        producer = streams.producer(caller)
        producer.put("d", b"x")
        with pytest.raises(QuotaReached):
            await producer.drain(DEADLINE_S)
        producer.close()
        assert await streams.list(caller) == ["a", "b", "c"]
        await streams.delete(caller, "a")
        await push(streams, caller, "d", b"x")


async def test_what_is_too_old_goes(store: Store, caller: Caller) -> None:
    await store.streams.describe(caller, "s", {"retention": {"age": 3600}})
    now = (await push(store.streams, caller, "clock", b"x")).ids[0]
    now_ms = EntryId.parse(now).ms
    old = [("s", b"%d" % (now_ms - 7_200_000 + n), bytes(5000)) for n in range(50)]
    await store.streams.append(caller, [*old, ("s", b"%d" % now_ms, b"new")])
    await store.streams._keeper.trim_once()  # pyright: ignore[reportPrivateUsage]
    assert (await store.streams.info(caller, "s")).length <= 2
    assert (await store.streams.read(caller, {"s": NEWEST}))[0].data == b"new"


async def test_trim(store: Store, caller: Caller) -> None:
    await store.streams.append(caller, [("s", b"%d" % n, b"x") for n in range(1, 11)])
    assert await store.streams.trim(caller, "s", count=8) == 2
    assert await store.streams.trim(caller, "s", before=EntryId(6)) == 3
    assert (await store.streams.info(caller, "s")).first == EntryId(6)
    with pytest.raises(InvalidField):
        await store.streams.trim(caller, "s")
    with pytest.raises(InvalidField):
        await store.streams.trim(caller, "s", count=-1)


# --- alignment -------------------------------------------------------------------------------


async def test_at_gives_what_was_there_at_a_time(store: Store, caller: Caller) -> None:
    await store.streams.append(
        caller,
        [("a", b"100", b"a100"), ("a", b"200", b"a200"), ("b", b"190", b"b190")],
    )

    async def at(
        ms: int, how: How = "nearest", tolerance_ms: int | None = None
    ) -> dict[str, bytes | None]:
        found = await store.streams.at(
            caller, ["a", "b", "none"], EntryId(ms), how=how, tolerance_ms=tolerance_ms
        )
        return {name: entry.data if entry else None for name, entry in found.items()}

    assert await at(140) == {"a": b"a100", "b": b"b190", "none": None}
    assert await at(160) == {"a": b"a200", "b": b"b190", "none": None}
    assert await at(160, how="previous") == {"a": b"a100", "b": None, "none": None}
    assert await at(200, how="previous") == {"a": b"a200", "b": b"b190", "none": None}
    assert await at(185, tolerance_ms=10) == {"a": None, "b": b"b190", "none": None}
    with pytest.raises(InvalidField):
        await at(1, how="guess")  # pyright: ignore[reportArgumentType]


async def test_interpolation_makes_what_lies_between(store: Store, caller: Caller) -> None:
    def array(values: list[float]) -> bytes:
        out = io.BytesIO()
        np.save(out, np.array(values, dtype=np.float32))
        return out.getvalue()

    first, second = {"x": 1, "p": [0, 10], "name": "l"}, {"x": 3, "p": [10, 0], "name": "r"}
    await store.streams.append(
        caller,
        [
            ("json", b"100", json.dumps(first).encode()),
            ("json", b"200", json.dumps(second).encode()),
            ("array", b"100", array([0, 1])),
            ("array", b"200", array([10, 3])),
            ("bytes", b"100", b"\xff"),
            ("bytes", b"200", b"\xfe"),
        ],
    )
    names = ["json", "array", "bytes"]
    found = await store.streams.at(caller, names, EntryId(125), how="interpolate")
    entry = found["json"]
    assert entry is not None
    assert entry.id == EntryId(125)
    assert json.loads(entry.data) == {"x": 1.5, "p": [2.5, 7.5], "name": "l"}
    assert found["array"] is not None
    assert np.load(io.BytesIO(found["array"].data)).tolist() == [2.5, 1.5]
    assert found["bytes"] is not None
    assert found["bytes"].data == b"\xff"
    assert (
        await store.streams.at(caller, names, EntryId(150), how="interpolate", tolerance_ms=10)
    )["json"] is None


# --- consumers -------------------------------------------------------------------------------


async def test_a_consumer_gives_each_entry_once_and_again_until_acknowledged(
    store: Store, caller: Caller
) -> None:
    consumers = store.streams.consumers
    await push(store.streams, caller, "s", b"0")
    made = await consumers.create(caller, "c", "s", start=ZERO, ack_wait=timedelta(seconds=0.3))
    assert made.places["s"].lag == 1
    await push(store.streams, caller, "s", b"1", b"2", b"3")
    first = await consumers.take(caller, "c", count=3)
    assert [taken.entry.data for taken in first] == [b"0", b"1", b"2"]
    assert {taken.deliveries for taken in first} == {1}
    assert await consumers.ack(caller, "c", "s", [first[0].entry.id, first[2].entry.id]) == 2
    assert await consumers.ack(caller, "c", "s", [first[0].entry.id]) == 0
    assert [taken.entry.data for taken in await consumers.take(caller, "c", count=3)] == [b"3"]
    place = (await consumers.info(caller, "c")).places["s"]
    assert (place.pending, place.lag, place.oldest_pending) == (2, 0, first[1].entry.id)
    with anyio.fail_after(DEADLINE_S):
        again = await consumers.take(caller, "c", count=5, wait_s=10)
    assert (again[0].entry.data, again[0].deliveries) == (b"1", 2)
    assert await consumers.ack(caller, "c", "s", [place.delivered], through=True) == 2
    assert (await consumers.info(caller, "c")).places["s"].pending == 0


async def test_a_consumer_waits_for_what_comes(store: Store, caller: Caller) -> None:
    consumers = store.streams.consumers
    await push(store.streams, caller, "cam-1", b"old")
    await consumers.create(caller, "c", "cam-*")
    assert await consumers.take(caller, "c", wait_s=0.05) == []
    got: list[bytes] = []

    async def take() -> None:
        got.extend(taken.entry.data for taken in await consumers.take(caller, "c", wait_s=15))

    with anyio.fail_after(DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(take)
            await anyio.sleep(0.05)
            await push(store.streams, caller, "cam-2", b"new")
    assert got == [b"new"]


async def test_takers_of_one_name_share(store: Store, caller: Caller) -> None:
    consumers = store.streams.consumers
    await consumers.create(caller, "c", "s", start=ZERO)
    await push(store.streams, caller, "s", *[b"%d" % n for n in range(40)])
    got: list[bytes] = []

    async def take() -> None:
        while taken := await consumers.take(caller, "c", count=3):
            got.extend(each.entry.data for each in taken)

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(take)
    assert sorted(got, key=int) == [b"%d" % n for n in range(40)]


async def test_consumers_are_kept_by_name_and_rights(store: Store, caller: Caller) -> None:
    consumers = store.streams.consumers
    await push(store.streams, caller, "s", b"1", b"2")
    await consumers.create(caller, "c", "s", start=NEWEST)
    await consumers.create(caller, "c", "s", start=LAST, ack_wait=timedelta(seconds=5))
    assert [taken.entry.data for taken in await consumers.take(caller, "c", count=9)] == [b"2"]
    with pytest.raises(AlreadyExists):
        await consumers.create(caller, "c", "other")
    stranger = caller_of(caller.tenant, ("cam-*", Right.READ))
    assert [consumer.name for consumer in await consumers.list(caller)] == ["c"]
    assert await consumers.list(stranger) == []
    for call in (consumers.info, consumers.delete, consumers.take):
        with pytest.raises(NotFound):
            await call(stranger, "c")
    with pytest.raises(NotFound):
        await consumers.create(stranger, "d", "s")
    with pytest.raises(InvalidField):
        await consumers.create(caller, "d", "s", ack_wait=timedelta(0))
    await consumers.delete(caller, "c")
    with pytest.raises(NotFound):
        await consumers.info(caller, "c")


async def test_what_two_processes_make_at_once_is_made_once(store: Store, caller: Caller) -> None:
    """None of them believes later that it was deleted and made again."""
    async with open_streams(store.engine, MemoryBus(), Settings().streams) as other:
        assert await other.list(caller) == await store.streams.list(caller) == []
        async with other.changes() as changes:
            await push(store.streams, caller, "s", b"1")
            await push(other, caller, "s", b"2")
            await push(store.streams, caller, "end", b"3")
            assert await other.list(caller) == ["end", "s"]
            seen = [await anext(changes) for _ in range(1)]
            with anyio.move_on_after(0.05):
                seen += [await anext(changes) for _ in range(9)]
        assert {change.what for change in seen} == {"made"}
