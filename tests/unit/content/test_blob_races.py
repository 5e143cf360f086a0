"""Staging, committing, reading and collecting the same bytes at the same time."""

from __future__ import annotations

import random
import threading
from collections.abc import AsyncIterator
from contextlib import suppress
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from downstage.content.blobs import chunks
from downstage.content.blobs.chunks import Cutter, Recent, target_for
from downstage.content.blobs.collect import Collector
from downstage.content.blobs.compact import Compactor
from downstage.content.blobs.pins import Hold, Pins
from downstage.content.blobs.protocol import BlobRef
from downstage.content.blobs.store import DiskBlobs
from downstage.kernel.errors import Unavailable
from downstage.testing.blobs import BlobDatabase

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

FUTURE = 1 << 40


async def pieces(data: bytes) -> AsyncIterator[bytes]:
    for start in range(0, len(data), 60_000):
        yield data[start : start + 60_000]


@pytest.mark.parametrize("seed", range(3))
async def test_nobody_loses_bytes_to_the_collector(data: Path, seed: int) -> None:
    """Four writers give eight names the same few contents; a collector without any grace runs."""
    rng = random.Random(seed)
    base = rng.randbytes(600_000)
    contents = [base, base[:300_000] + b"!" + base[300_000:], base[:90_000], rng.randbytes(200_000)]
    database = BlobDatabase(data / "db")
    store = DiskBlobs(data, database, large=100_000)
    await store.start()
    collector, compactor = Collector(store, grace_s=-10), Compactor(store, smallest=1000)
    held = dict[str, BlobRef]()

    async def write(name: str) -> None:
        for _ in range(12):
            body = rng.choice(contents)
            previous = rng.choice([*held.values(), None])
            staged = await store.stage(pieces(body), previous=previous)
            await anyio.sleep(0)
            await database.keep(name, staged, FUTURE - 10)
            staged.release()
            held[name] = BlobRef(staged.hash, staged.size)
            async with await store.open(held[name]) as reading:
                assert b"".join([piece async for piece in reading.pieces()]) == body
            if rng.random() < 0.5:
                del held[name]
                await database.drop(name, FUTURE - 10)

    async def collect() -> None:
        while True:
            await collector.collect(FUTURE)
            await compactor.compact()
            await collector.retire(FUTURE + 1)
            await anyio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(collect)
        async with anyio.create_task_group() as writers:
            for n in range(4):
                writers.start_soon(write, f"n{n}")
        tasks.cancel_scope.cancel()
    assert (await collector.mark(FUTURE)).recounted == 0
    for ref in held.values():
        async with await store.open(ref) as reading:
            assert sum([len(piece) async for piece in reading.pieces()]) == ref.size
    with database.read() as db:
        known = {row[0] for row in db.execute("SELECT name FROM source")}
    folders = (store.layout.blobs, store.layout.packs)
    found = {
        str(path.relative_to(data))
        for part in folders
        for path in part.rglob("*")
        if path.is_file()
    }
    assert found == known
    await store.close()


def test_what_is_dying_cannot_be_pinned(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("downstage.content.blobs.pins.PATIENCE_S", 0.01)
    pins = Pins()
    hold = Hold(pins)
    hold.keep(["a"])
    assert pins.doom(["a", "b"]) == {"b"}
    assert pins.doom(["b"]) == frozenset()
    with pytest.raises(Unavailable):
        hold.keep(["b"])
    pins.bury(["b"])
    hold.keep(["b", "a"])
    hold.release()
    hold.release()
    assert pins.doom(["a", "b"]) == {"a", "b"}


@settings(max_examples=20, deadline=None)
@given(st.integers(0, 2**32), st.lists(st.integers(1, 150_000), max_size=8))
def test_cuts_depend_on_the_bytes_alone(seed: int, feeds: list[int]) -> None:
    data = random.Random(seed).randbytes(600_000)
    whole = Cutter(4096)
    expected = [(c.digest, c.at) for c in whole.feed(data)] + [
        (c.digest, c.at) for c in whole.finish()
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(chunks, "BUFFER", 70_000)
        cutter = Cutter(4096)
    found, at = list[tuple[bytes, int]](), 0
    for size in [*feeds, len(data)]:
        found += [(c.digest, c.at) for c in cutter.feed(data[at : at + size])]
        at += size
    found += [(c.digest, c.at) for c in cutter.finish()]
    assert found == expected


def test_larger_files_have_larger_chunks() -> None:
    assert target_for(0) == target_for(4 << 30) == 64 * 1024
    assert target_for(100 << 30) == 2 * 1024 * 1024
    assert (100 << 30) // target_for(100 << 30) <= chunks.MOST_CHUNKS


def test_chunk_lists_are_forgotten_oldest_first() -> None:
    recent = Recent(most_chunks=3)
    for name in "abc":
        recent.put(name, 1, {name.encode(): 0})
    assert recent.get("a", 1) is not None
    recent.put("d", 1, {b"d": 0})
    assert recent.get("b", 1) is None
    assert recent.get("a", 1) is not None
    assert recent.get("a", 2) is None


async def test_who_is_cancelled_leaves_nothing_open(data: Path) -> None:
    """A worker opens what nobody is left to close."""
    database = BlobDatabase(data / "db")
    store = DiskBlobs(data, database)
    await store.start()
    body = random.Random(1).randbytes(300_000)
    staged = await store.stage(body)
    await database.keep("f", staged, FUTURE)
    staged.release()
    ref = BlobRef(staged.hash, staged.size)
    gate = threading.Event()
    for _ in range(8):
        store.pool.submit(gate.wait)  # all workers
    before = open_files()
    async with anyio.create_task_group() as tasks:
        for _ in range(20):
            tasks.start_soon(store.open, ref)
            tasks.start_soon(store.stage, pieces(body + b"!"))
        await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
        gate.set()
    await anyio.sleep(0)
    assert open_files() == before
    assert not list((data / "tmp").iterdir())
    await store.close()


def open_files() -> int:
    """Of this process that lie in the store, and their databases not counted."""
    links = list[str]()
    for path in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            links.append(str(path.readlink()))
    return sum("/blobs/" in link or "/tmp/" in link.removeprefix("/tmp/") for link in links)
