"""Readers go from catching up to live and back, at random: each gets what is stored, once."""

from __future__ import annotations

import bisect
import random
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, field

import anyio
import pytest

from downstage.kernel.errors import PlatformError
from downstage.streams.model import AUTO, ZERO, Caller, EntryId
from downstage.streams.reading import Delivery, Row
from downstage.streams.service import LAST, NEWEST, Cursor, Streams, Wish

from .store import DEADLINE_S, Store

pytestmark = [pytest.mark.contract, pytest.mark.anyio]

SHARED = tuple(f"s{number}" for number in range(5))
ALONE = tuple(f"alone{number}" for number in range(4))
"""Each of one reader alone: nobody follows it between its visits."""
NAMES = (*SHARED, *ALONE)
READERS = 12
HOPS = 8
"""Times that each reader comes."""
QUICK_HOPS = 40
"""Times that those who are alone come."""


@dataclass(eq=False)
class Moody:
    """A sink that is slow, or waits for acknowledgements, or both."""

    slow: bool
    waits: bool
    rows: list[Row] = field(default_factory=list[Row])
    on_drained: Callable[[], None] | None = None
    error: PlatformError | None = None
    is_over: bool = False
    is_ready: bool = True
    waiting: int = 0

    def deliver(self, delivery: Delivery) -> None:
        assert self.error is None
        assert not self.is_over, "delivered after the end"
        self.rows += delivery.rows
        self.waiting += (delivery.size + (1 << 20)) * self.slow
        self.is_ready = not self.waits

    def buffered(self) -> int:
        return self.waiting

    def ready(self) -> bool:
        return self.is_ready

    def gap(self, stream: str, lost: int | None, after: EntryId) -> None:
        raise AssertionError(f"{lost} entries of {stream} after {after} are lost")

    def failed(self, error: PlatformError) -> None:
        self.error = error


@dataclass(frozen=True)
class Visit:
    """What one reader wished, once, and was given."""

    wish: Wish
    sink: Moody


async def _produce(streams: Streams, caller: Caller, dice: random.Random, over: anyio.Event) -> int:
    producer, number = streams.producer(caller), 0
    me = dice.randrange(1 << 30)
    while not over.is_set():
        for _ in range(dice.choice([1, 1, 2, 5, 30])):
            name, data = dice.choice(NAMES), b"%d-%d" % (me, number) + bytes(dice.randrange(900))
            number += 1
            # Acknowledged: a broken connection may lose others, and that is told in figures alone.
            producer.put_batch([(name, AUTO, data)], lambda _: None)
        await anyio.sleep(dice.random() * 0.008)
    await producer.drain(DEADLINE_S)
    producer.close()
    return number


async def _visit(
    streams: Streams, caller: Caller, dice: random.Random, cursors: dict[str, Cursor]
) -> Visit:
    sink = Moody(dice.random() < 0.4, dice.random() < 0.4)
    wish = Wish(
        dict(cursors),
        patterns=("s*",) if dice.random() < 0.2 else (),
        count=dice.choice([1, 3, 7, 64]),
        one_by_one=dice.random() < 0.2,
    )
    subscription = streams.subscribe(caller, wish, sink)
    turns = [0, 1, 3, 10, 30] if len(cursors) > 1 else [0, 1, 2, 3]
    for _ in range(dice.choice(turns)):
        await anyio.sleep(dice.random() * 0.008)
        if sink.waits:
            sink.is_ready = True
            subscription.wake()
        if sink.slow and dice.random() < 0.5:
            sink.waiting = 0
            if sink.on_drained is not None:
                sink.on_drained()
    await subscription.close()
    sink.is_over = True
    return Visit(wish, sink)


async def _come_and_go(
    streams: Streams, caller: Caller, dice: random.Random, names: tuple[str, ...]
) -> list[Visit]:
    visits: list[Visit] = []
    cursors: dict[str, Cursor] = {}
    for _ in range(HOPS if names is SHARED else QUICK_HOPS):
        if not cursors or dice.random() < 0.2:
            mine = dice.sample(names, min(len(names), dice.randrange(1, 4)))
            cursors = {name: dice.choice([ZERO, LAST, NEWEST]) for name in mine}
        visit = await _visit(streams, caller, dice, cursors)
        visits.append(visit)
        for name, id_, _ in visit.sink.rows:
            if name in cursors:
                cursors[name] = EntryId.parse(id_)
    return visits


async def _cut(store: Store, dice: random.Random, over: anyio.Event) -> None:
    while not over.is_set():
        await anyio.sleep(0.2 + dice.random() * 0.4)
        with suppress(PlatformError):  # it is down already
            dice.choice(store.engine.shards).train.abort()


async def _stored(streams: Streams, caller: Caller, name: str) -> list[Row]:
    found: list[Row] = []
    after = EntryId(0, 1)
    while some := await streams.range(caller, name, after, None, count=4096):
        found += [(name, bytes(entry.id), entry.data) for entry in some]
        after = some[-1].id.next()
    return found


def _check(visit: Visit, stored: dict[str, list[Row]]) -> int:
    """Each stream's rows are a run of what is stored, from where it was wished; how many."""
    assert visit.sink.error is None, visit.sink.error
    for name in NAMES:
        mine = [row for row in visit.sink.rows if row[0] == name]
        if not mine:
            continue
        ids = [EntryId.parse(id_) for _, id_, _ in stored[name]]
        cursor = visit.wish.cursors.get(name)
        first = bisect.bisect_left(ids, EntryId.parse(mine[0][1]))
        if isinstance(cursor, EntryId):
            assert first == bisect.bisect_right(ids, cursor), "does not begin where it was wished"
        assert mine == stored[name][first : first + len(mine)], "a gap, or something twice"
    return len(visit.sink.rows)


@pytest.mark.parametrize("is_cut", [False, True], ids=["steady", "with breaks"])
async def test_C09_handing_over_loses_and_repeats_nothing(
    store: Store, caller: Caller, is_cut: bool
) -> None:
    """Readers of several streams and patterns, slow and fast, while three producers go on."""
    dice, over = random.Random(f"{store.kind} {is_cut}"), anyio.Event()
    visits: list[Visit] = []
    pushed: list[int] = []
    streams = store.streams

    async def produce(own: random.Random) -> None:
        pushed.append(await _produce(streams, caller, own, over))

    async def read(own: random.Random, names: tuple[str, ...]) -> None:
        visits.extend(await _come_and_go(streams, caller, own, names))

    with anyio.fail_after(4 * DEADLINE_S):
        async with anyio.create_task_group() as tasks:
            for seed in range(3):
                tasks.start_soon(produce, random.Random(seed))
            if is_cut:
                tasks.start_soon(_cut, store, dice, over)
            async with anyio.create_task_group() as readers:
                for seed in range(READERS):
                    names = (ALONE[seed],) if seed < len(ALONE) else SHARED
                    readers.start_soon(read, random.Random(100 + seed), names)
            over.set()
        for shard in store.engine.shards:
            await shard.wait_up()
    stored = {name: await _stored(streams, caller, name) for name in NAMES}
    everything = [row[2] for rows in stored.values() for row in rows]
    assert len(set(everything)) == len(everything), "stored twice"
    assert len(everything) == sum(pushed)
    assert sum(_check(visit, stored) for visit in visits) > 0
    assert len(visits) == (READERS - len(ALONE)) * HOPS + len(ALONE) * QUICK_HOPS
    totals = streams.totals
    assert (totals.subscriptions, totals.live, totals.in_flight) == (0, 0, 0)
    assert not streams._fanout._watches  # pyright: ignore[reportPrivateUsage]
    assert not streams._fanout._groups  # pyright: ignore[reportPrivateUsage]
