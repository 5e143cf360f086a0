"""Bytes by their hash: staged, opened, stored once, deleted when nobody holds them."""

from __future__ import annotations

import asyncio
import random
import tracemalloc
from collections.abc import AsyncIterator
from pathlib import Path

import anyio
import blake3
import pytest

from downstage.content.blobs import layout
from downstage.content.blobs.collect import Collector
from downstage.content.blobs.compact import Compactor, live_ranges
from downstage.content.blobs.protocol import INLINE_MAX, BlobRef, Staged
from downstage.content.blobs.scrub import Scrub
from downstage.content.blobs.store import DiskBlobs
from downstage.kernel.errors import (
    Damaged,
    DeadlineExceeded,
    NotFound,
    OutOfSpace,
    RangeNotSatisfiable,
    TooLarge,
)
from downstage.testing.blobs import BlobDatabase

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

LARGE = 256 * 1024
DAY = 86_400


@pytest.fixture
async def store(data: Path) -> AsyncIterator[DiskBlobs]:
    store = DiskBlobs(data, BlobDatabase(data / "db"), large=LARGE, idle_s=5)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
def database(store: DiskBlobs) -> BlobDatabase:
    assert isinstance(store.database, BlobDatabase)
    return store.database


def noise(size: int, seed: int = 0) -> bytes:
    return random.Random(seed).randbytes(size)


async def pieces(data: bytes, size: int = 50_000) -> AsyncIterator[bytes]:
    for start in range(0, len(data), size):
        yield data[start : start + size]


async def keep(store: DiskBlobs, name: str, data: bytes, previous: BlobRef | None = None) -> Staged:
    staged = await store.stage(pieces(data), previous=previous)
    assert isinstance(store.database, BlobDatabase)
    await store.database.keep(name, staged)
    staged.release()
    return staged


async def content(store: DiskBlobs, digest: str, start: int = 0, stop: int | None = None) -> bytes:
    async with await store.open(BlobRef(digest, 0)) as reading:
        return b"".join([piece async for piece in reading.pieces(start, stop)])


def on_disk(store: DiskBlobs) -> int:
    folder = store.layout.folder
    return sum(
        path.stat().st_size
        for part in ("tmp", "blobs", "packs")
        for path in (folder / part).rglob("*")
        if path.is_file()
    )


@pytest.mark.parametrize("size", [0, 1, INLINE_MAX, INLINE_MAX + 1, 3_000_000])
async def test_what_was_staged_is_read(store: DiskBlobs, size: int) -> None:
    data = noise(size)
    staged = await keep(store, "a", data)
    assert (staged.hash, staged.size) == (blake3.blake3(data).hexdigest(), size)
    assert staged.place == ("inline" if size <= INLINE_MAX else "file")
    assert await content(store, staged.hash) == data
    if size > 10:
        assert await content(store, staged.hash, 3, size - 3) == data[3:-3]
    async with await store.open(BlobRef(staged.hash, size)) as reading:
        assert (reading.data is None) == (size > INLINE_MAX)
        assert (reading.file is None) == (size <= INLINE_MAX)
        if reading.file is not None:
            assert reading.file.read_bytes() == data


async def test_same_bytes_are_stored_once(store: DiskBlobs) -> None:
    data = noise(1_000_000)
    first = await keep(store, "a", data)
    second = await keep(store, "b", data)
    assert second.hash == first.hash
    assert second.extents is None
    assert on_disk(store) == len(data)


async def test_range_outside_is_refused(store: DiskBlobs) -> None:
    staged = await keep(store, "a", noise(100_000))
    with pytest.raises(RangeNotSatisfiable):
        await content(store, staged.hash, 50, 100_001)


async def test_unknown_bytes_are_not_found(store: DiskBlobs) -> None:
    with pytest.raises(NotFound):
        await store.open(BlobRef("0" * 64, 1))


async def test_too_large_leaves_nothing(store: DiskBlobs) -> None:
    with pytest.raises(TooLarge):
        await store.stage(pieces(noise(500_000)), max_size=400_000)
    with pytest.raises(TooLarge):
        await store.stage(noise(50), max_size=40)
    assert on_disk(store) == 0


async def test_T03_a_silent_sender_is_given_up(store: DiskBlobs) -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield noise(200_000)
        await anyio.sleep_forever()

    with pytest.raises(DeadlineExceeded):
        await store.stage(silent(), idle_s=0.02)
    assert on_disk(store) == 0


@pytest.mark.usefixtures("leaping_clock")
async def test_T03_slow_but_moving_is_fine(store: DiskBlobs) -> None:
    async def slow() -> AsyncIterator[bytes]:
        for _ in range(12):
            await anyio.sleep(0.05)
            yield b"x" * 10_000

    staged = await store.stage(slow(), idle_s=0.4)
    assert staged.size == 120_000
    staged.release()


async def test_a_deadline_of_the_caller_stays_the_callers(store: DiskBlobs) -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield b"x"
        await anyio.sleep_forever()

    with anyio.move_on_after(0.02) as scope:
        await store.stage(silent(), idle_s=30)
    assert scope.cancelled_caught
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.02):
            await store.stage(silent(), idle_s=30)


async def test_cancelled_staging_leaves_nothing(store: DiskBlobs) -> None:
    began = anyio.Event()

    async def endless() -> AsyncIterator[bytes]:
        yield noise(2_000_000)
        began.set()
        await anyio.sleep_forever()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(store.stage, endless())
        await began.wait()
        tasks.cancel_scope.cancel()
    assert on_disk(store) == 0


async def test_a_full_disk_is_told_and_leaves_nothing(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("downstage.content.blobs.sinks.write_all", full)
    with pytest.raises(OutOfSpace):
        await store.stage(pieces(noise(3_000_000)))
    assert on_disk(store) == 0


async def test_announced_size_that_cannot_fit_is_refused_at_once(store: DiskBlobs) -> None:
    with pytest.raises(OutOfSpace):
        await store.stage(pieces(noise(100_000)), size_hint=1 << 60)


@pytest.mark.parametrize("earlier", [False, True], ids=["whole", "differences"])
async def test_memory_does_not_grow_with_the_body(store: DiskBlobs, earlier: bool) -> None:
    piece = noise(64 * 1024)
    previous = None
    if earlier:
        first = await keep(store, "a", noise(LARGE))
        previous = BlobRef(first.hash, first.size)

    async def long() -> AsyncIterator[bytes]:
        for n in range(800):
            yield n.to_bytes(8, "big") + piece[8:]

    tracemalloc.start()
    staged = await store.stage(long(), previous=previous)
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert staged.size == 800 * 64 * 1024
    staged.release()
    assert peak < 20 * 1024 * 1024, "of 50 MiB"


async def test_a_body_of_unknown_size_leaves_room_for_the_database(
    store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    sizes = list[int]()

    def check_room(size: int) -> None:
        sizes.append(size)
        if sum(sizes) > 5_000_000:
            raise OutOfSpace("full")

    monkeypatch.setattr(store.layout, "check_room", check_room)
    with pytest.raises(OutOfSpace):
        await store.stage(pieces(bytes(50_000_000)))
    assert sum(sizes) < 8_000_000
    assert on_disk(store) == 0


@pytest.mark.parametrize("place", ["start", "middle", "end"])
async def test_an_insertion_stores_little(store: DiskBlobs, place: str) -> None:
    old = noise(12_000_000)
    at = {"start": 0, "middle": len(old) // 2, "end": len(old)}[place]
    new = old[:at] + b"!" + old[at:]
    first = await keep(store, "a", old)
    before = on_disk(store)
    second = await keep(store, "a", new, BlobRef(first.hash, first.size))
    assert second.place == ("extents" if place != "start" else second.place)
    assert 0 < on_disk(store) - before <= 3 * 256 * 1024
    assert await content(store, second.hash) == new
    assert await content(store, second.hash, at + 1, at + 1 + 0) == b""
    assert await content(store, second.hash, 5, 11_000_000) == new[5:11_000_000]
    assert await content(store, first.hash) == old


async def test_many_edits_in_a_row(store: DiskBlobs) -> None:
    rng = random.Random(7)
    text = noise(3_000_000)
    head: BlobRef | None = None
    held = list[tuple[str, bytes]]()
    for turn in range(8):
        staged = await keep(store, f"v{turn}", text, head)
        head = BlobRef(staged.hash, staged.size)
        held.append((staged.hash, text))
        at = rng.randrange(len(text))
        text = text[:at] + rng.randbytes(rng.randrange(1, 2000)) + text[at + rng.randrange(500) :]
    assert on_disk(store) < 3 * len(text)
    for digest, data in held:
        assert await content(store, digest) == data


async def test_wholly_new_large_body_becomes_one_plain_file(store: DiskBlobs) -> None:
    first = await keep(store, "a", noise(6_000_000, 1))
    second = await keep(store, "a", noise(6_000_000, 2), BlobRef(first.hash, first.size))
    async with await store.open(BlobRef(second.hash, second.size)) as reading:
        assert reading.file is not None


async def test_repeated_content_within_a_body_is_stored_once(store: DiskBlobs) -> None:
    block = noise(2_000_000, 3)
    first = await keep(store, "a", noise(LARGE, 1))
    before = on_disk(store)
    second = await keep(store, "a", block * 4, BlobRef(first.hash, first.size))
    assert on_disk(store) - before < 2 * len(block)
    assert await content(store, second.hash) == block * 4


async def test_small_files_are_never_cut(store: DiskBlobs) -> None:
    old = noise(LARGE - 1)
    first = await keep(store, "a", old)
    second = await keep(store, "a", old + b"!" * 2, BlobRef(first.hash, first.size))
    assert second.place == "file"
    assert on_disk(store) == 2 * len(old) + 2


async def test_a_recipe_outlives_the_version_it_came_from(
    store: DiskBlobs, database: BlobDatabase
) -> None:
    old = noise(2_000_000)
    first = await keep(store, "a", old)
    second = await keep(store, "b", old + b"!", BlobRef(first.hash, first.size))
    await database.drop("a")
    collected = await Collector(store).collect(10 * DAY)
    assert (collected.blobs, collected.files) == (1, 0)
    assert await content(store, second.hash) == old + b"!"
    with pytest.raises(NotFound):
        await store.open(BlobRef(first.hash, first.size))
    await database.drop("b")
    await Collector(store).collect(10 * DAY)
    assert on_disk(store) == 0
    assert (database.count("blob"), database.count("source")) == (0, 0)


async def test_unused_bytes_are_kept_for_the_grace(
    store: DiskBlobs, database: BlobDatabase
) -> None:
    staged = await keep(store, "a", noise(100_000))
    await database.drop("a", now_s=100 * DAY)
    collector = Collector(store, grace_s=2 * DAY)
    assert (await collector.collect(102 * DAY - 1)).blobs == 0
    assert len(await content(store, staged.hash)) == 100_000
    assert (await collector.collect(102 * DAY + 1)).bytes == 100_000
    assert on_disk(store) == 0


async def test_bytes_staged_again_are_not_collected(
    store: DiskBlobs, database: BlobDatabase
) -> None:
    data = noise(100_000)
    await keep(store, "a", data)
    await database.drop("a")
    staged = await store.stage(data)
    assert (await Collector(store).collect(10 * DAY)).blobs == 0
    await database.keep("b", staged)
    staged.release()
    assert (await Collector(store).collect(20 * DAY)).blobs == 0
    assert await content(store, staged.hash) == data


async def test_reading_goes_on_after_its_bytes_were_deleted(
    store: DiskBlobs, database: BlobDatabase
) -> None:
    data = noise(3_000_000)
    staged = await keep(store, "a", data)
    async with await store.open(BlobRef(staged.hash, staged.size)) as reading:
        await database.drop("a")
        assert (await Collector(store).collect(10 * DAY)).files == 1
        assert b"".join([piece async for piece in reading.pieces()]) == data


async def test_what_was_never_committed_goes(store: DiskBlobs) -> None:
    (await store.stage(noise(100_000))).release()
    old = await keep(store, "a", noise(2_000_000, 1))
    again = await store.stage(
        pieces(noise(2_000_000, 1) + b"!"), previous=BlobRef(old.hash, old.size)
    )
    again.release()
    assert (await Collector(store).collect(0)).files == 2
    assert on_disk(store) == 2_000_000


async def test_crash_leavings_are_swept(data: Path) -> None:
    database = BlobDatabase(data / "db")
    store = DiskBlobs(data, database, large=LARGE)
    await store.start()
    first = await keep(store, "a", noise(2_000_000, 1))
    ref = BlobRef(first.hash, first.size)
    await keep(store, "b", noise(2_000_000, 1) + b"!", ref)
    used = on_disk(store)
    await store.stage(pieces(noise(2_000_000, 1) + b"?"), previous=ref)
    await store.stage(noise(100_000, 2))
    (store.layout.tmp / "half").write_bytes(b"x" * 1000)
    await store.close()
    assert on_disk(store) > used + 101_000

    store = DiskBlobs(data, database, large=LARGE)
    await store.start()
    assert (await Collector(store).sweep()).files == 1
    assert on_disk(store) == used
    third = await keep(store, "c", noise(2_000_000, 1) + b"#", ref)
    assert await content(store, third.hash) == noise(2_000_000, 1) + b"#"
    await store.close()


async def test_wrong_counts_are_put_right(store: DiskBlobs, database: BlobDatabase) -> None:
    staged = await keep(store, "a", noise(100_000))
    database.write_now(lambda db: db.execute("UPDATE blob SET refs = 0, unused_since = 0"))
    result = await Collector(store).mark(10 * DAY)
    assert (result.recounted, result.blobs) == (1, 0)
    assert len(await content(store, staged.hash)) == 100_000


async def test_mostly_dead_files_are_rewritten(store: DiskBlobs, database: BlobDatabase) -> None:
    old = noise(4_000_000)
    first = await keep(store, "a", old)
    short = old[:1_000_000] + b"!"
    second = await keep(store, "b", short, BlobRef(first.hash, first.size))
    compactor = Compactor(store, smallest=1000)
    assert await compactor.compact() == 0
    await database.drop("a")
    await Collector(store).collect(10 * DAY)
    assert on_disk(store) > len(old)
    async with await store.open(BlobRef(second.hash, second.size)) as reading:
        assert await compactor.compact() > 2_900_000
        collector = Collector(store, grace_s=DAY)
        assert (await collector.retire(10 * DAY)).files == 0, "a backup may still name it"
        assert (await collector.retire(11 * DAY + 1)).files == 1
        assert b"".join([piece async for piece in reading.pieces()]) == short
    assert on_disk(store) < 1_300_000
    assert await content(store, second.hash) == short
    assert await compactor.compact() == 0


def test_live_ranges_are_a_union() -> None:
    assert live_ranges([(10, 5), (0, 4), (12, 8), (4, 1), (30, 1), (11, 1)]) == [
        (0, 5),
        (10, 10),
        (30, 1),
    ]


async def test_wrong_bytes_are_never_served_whole(store: DiskBlobs) -> None:
    data = noise(2_500_000)
    staged = await keep(store, "a", data)
    path = store.layout.of(store.layout.blob_name(staged.hash))
    with path.open("r+b") as file:
        file.seek(1_000_000)
        file.write(b"rot")
    received = bytearray()

    async def receive() -> None:
        async with await store.open(BlobRef(staged.hash, staged.size)) as reading:
            async for piece in reading.pieces():
                received.extend(piece)

    with pytest.raises(Damaged):
        await receive()
    assert len(received) < len(data)


async def test_a_shorter_file_is_damaged(store: DiskBlobs) -> None:
    staged = await keep(store, "a", noise(2_500_000))
    path = store.layout.of(store.layout.blob_name(staged.hash))
    with path.open("r+b") as file:
        file.truncate(2_000_000)
    with pytest.raises(Damaged):
        await content(store, staged.hash, 1_999_000, 2_001_000)


async def test_scrub_finds_damage_and_new_bytes_heal_it(
    store: DiskBlobs, database: BlobDatabase
) -> None:
    data, small = noise(300_000), noise(100)
    staged = await keep(store, "a", data)
    inline = await keep(store, "b", small)
    other = await keep(store, "c", noise(200_000, 9))
    path = store.layout.of(store.layout.blob_name(staged.hash))
    path.write_bytes(b"x" * len(data))
    database.write_now(
        lambda db: db.execute("UPDATE blob SET data = ? WHERE hash = ?", (b"rot", inline.hash))
    )
    scrub = Scrub(store, rate=0)
    assert await scrub.run_once() == 2
    assert (scrub.checked, scrub.rounds) == (3, 1)
    for damaged in (staged, inline):
        with pytest.raises(Damaged):
            await store.open(BlobRef(damaged.hash, damaged.size))
    assert len(await content(store, other.hash)) == 200_000
    await keep(store, "a", data)
    await keep(store, "b", small)
    assert await content(store, staged.hash) == data
    assert await content(store, inline.hash) == small
    assert await scrub.run_once() == 0


async def test_scrub_keeps_its_rate(store: DiskBlobs) -> None:
    await keep(store, "a", noise(3_000_000))
    slept = list[float]()

    async def sleep(seconds: float) -> None:
        slept.append(seconds)

    await Scrub(store, rate=1_000_000, sleep=sleep).run_once()
    assert sum(slept) == pytest.approx(3.0)


async def test_a_missing_file_is_damage(store: DiskBlobs) -> None:
    staged = await keep(store, "a", noise(100_000))
    store.layout.of(store.layout.blob_name(staged.hash)).unlink()
    with pytest.raises(Damaged):
        await store.open(BlobRef(staged.hash, staged.size))


def test_room_is_left_for_the_database(data: Path) -> None:
    with pytest.raises(OutOfSpace):
        layout.Layout(data, reserve=1 << 60).check_room(1)
