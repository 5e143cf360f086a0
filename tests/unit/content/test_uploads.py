"""Uploads that survive lost connections and restarts, in order or not."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Awaitable
from contextlib import suppress
from pathlib import Path

import anyio
import blake3
import pytest

from downstage.content.blobs.collect import Collector
from downstage.content.blobs.protocol import BlobRef
from downstage.content.blobs.store import DiskBlobs
from downstage.content.model import Caller
from downstage.content.upload_rows import union
from downstage.content.uploads import Uploads
from downstage.kernel.errors import (
    Conflict,
    DeadlineExceeded,
    InvalidField,
    Locked,
    NotFound,
    OutOfSpace,
    QuotaReached,
    TooLarge,
    TooMany,
)
from downstage.testing.blobs import BlobDatabase

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ANN = Caller("u1", "ann")
BOB = Caller("u2", "bob")


class Open:
    """A tree that lets everything in, but what is locked."""

    room: int | None = None

    async def spare(self, caller: Caller, path: str) -> int | None:
        del caller, path
        return self.room

    async def check_upload(self, caller: Caller, path: str, size: int | None) -> None:
        del caller, size
        if path == "/locked":
            raise Locked("by bob")


class Clock:
    now = 1_000_000

    def __call__(self) -> int:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def store(data: Path) -> AsyncIterator[DiskBlobs]:
    store = DiskBlobs(data, BlobDatabase(data / "db"), idle_s=5)
    await store.start()
    yield store
    await store.close()


@pytest.fixture
async def uploads(store: DiskBlobs, clock: Clock) -> Uploads:
    return Uploads(store, Open(), clock, most=3, life_s=100)


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


async def body(*pieces: bytes) -> AsyncIterator[bytes]:
    for piece in pieces:
        yield piece


async def broken(piece: bytes) -> AsyncIterator[bytes]:
    yield piece
    raise ConnectionResetError


async def finish(uploads: Uploads, store: DiskBlobs, upload_id: str, **more: object) -> bytes:
    assert isinstance(store.database, BlobDatabase)
    async with uploads.finished(ANN, upload_id, **more) as staged:  # type: ignore[arg-type]
        await store.database.keep("x", staged)
        ref = BlobRef(staged.hash, staged.size)
    async with await store.open(ref) as reading:
        return b"".join([piece async for piece in reading.pieces()])


def files(store: DiskBlobs) -> list[Path]:
    return [*store.layout.uploads.iterdir(), *store.layout.tmp.iterdir()]


@pytest.mark.parametrize("size", [0, 1000, 3_000_000])
async def test_bytes_in_order(uploads: Uploads, store: DiskBlobs, size: int) -> None:
    data = noise(size)
    upload = await uploads.create(ANN, "/a", size=size)
    half = size // 2
    assert (await uploads.append(ANN, upload.id, 0, body(data[:half]))).offset == half
    assert (await uploads.append(ANN, upload.id, half, body(data[half:]))).offset == size
    assert await finish(uploads, store, upload.id) == data
    assert files(store) == []
    with pytest.raises(NotFound):
        await uploads.head(ANN, upload.id)


async def test_a_wrong_offset_is_told_the_right_one(uploads: Uploads) -> None:
    upload = await uploads.create(ANN, "/a")
    await uploads.append(ANN, upload.id, 0, body(b"abc"))
    for offset in (0, 2, 4):
        with pytest.raises(Conflict) as caught:
            await uploads.append(ANN, upload.id, offset, body(b"x"))
        assert caught.value.context["offset"] == 3


async def test_what_came_before_the_connection_broke_counts(
    uploads: Uploads, store: DiskBlobs
) -> None:
    upload = await uploads.create(ANN, "/a", size=6)
    with pytest.raises(ConnectionResetError):
        await uploads.append(ANN, upload.id, 0, broken(b"abc"))
    assert (await uploads.head(ANN, upload.id)).offset == 3
    await uploads.append(ANN, upload.id, 3, body(b"def"))
    assert await finish(uploads, store, upload.id) == b"abcdef"


async def test_a_full_disk_leaves_no_hole(
    uploads: Uploads, store: DiskBlobs, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What failed to be written is not followed by what came after it."""
    import os

    data = noise(4_000_000)
    real, calls = os.pwrite, list[int]()

    def pwrite(descriptor: int, view: memoryview, offset: int) -> int:
        calls.append(offset)
        if len(calls) == 2:
            raise OSError(28, "No space left on device")
        return real(descriptor, view, offset)

    upload = await uploads.create(ANN, "/a", size=len(data))
    pieces = [data[at : at + 300_000] for at in range(0, len(data), 300_000)]
    with monkeypatch.context() as patch:
        patch.setattr("os.pwrite", pwrite)
        with pytest.raises(OutOfSpace):
            await uploads.append(ANN, upload.id, 0, body(*pieces))
    offset = (await uploads.head(ANN, upload.id)).offset
    assert 0 < offset < len(data)
    await uploads.append(ANN, upload.id, offset, body(data[offset:]))
    assert await finish(uploads, store, upload.id) == data


async def test_uploads_survive_a_restart(uploads: Uploads, store: DiskBlobs, clock: Clock) -> None:
    upload = await uploads.create(ANN, "/a", message="mine")
    await uploads.append(ANN, upload.id, 0, body(b"abc"))
    (store.layout.uploads / "orphan.3").write_bytes(b"x")
    again = Uploads(store, Open(), clock)
    await again.start()
    assert [path.name for path in files(store)] == [upload.id]
    found = await again.head(ANN, upload.id, path="/a")
    assert (found.offset, found.message) == (3, "mine")
    await again.append(ANN, upload.id, 3, body(b"d"))
    assert await finish(again, store, upload.id) == b"abcd"


async def test_uploads_are_ones_own(uploads: Uploads) -> None:
    upload = await uploads.create(ANN, "/a")
    for caller in (BOB, Caller("u1", "ann", tenant="other")):
        with pytest.raises(NotFound):
            await uploads.head(caller, upload.id)
        with pytest.raises(NotFound):
            await uploads.append(caller, upload.id, 0, body(b"x"))
        with pytest.raises(NotFound):
            await uploads.abort(caller, upload.id)
    with pytest.raises(NotFound):
        await uploads.head(ANN, upload.id, path="/b")
    assert [one.id for one in await uploads.mine(ANN)] == [upload.id]
    assert await uploads.mine(BOB) == []


async def test_bounds(uploads: Uploads) -> None:
    upload = await uploads.create(ANN, "/a", size=3)
    with pytest.raises(TooLarge):
        await uploads.append(ANN, upload.id, 0, body(b"abcd"))
    with pytest.raises(InvalidField):
        await uploads.put_range(ANN, upload.id, 4, body(b"x"))
    with pytest.raises(OutOfSpace):
        await uploads.create(ANN, "/a", size=1 << 60)
    with pytest.raises(Locked):
        await uploads.create(ANN, "/locked")
    await uploads.create(ANN, "/a")
    await uploads.create(ANN, "/a")
    with pytest.raises(TooMany):
        await uploads.create(ANN, "/a")
    await uploads.create(BOB, "/a")


async def test_ranges_in_any_order_at_once(uploads: Uploads, store: DiskBlobs) -> None:
    data = noise(2_500_000)
    upload = await uploads.create(ANN, "/a", size=len(data))
    starts = list(range(0, len(data), 200_000))
    random.Random(1).shuffle(starts)
    missing = starts.pop()
    async with anyio.create_task_group() as tasks:
        for start in starts:
            piece = data[start : start + 200_000]
            tasks.start_soon(uploads.put_range, ANN, upload.id, start, body(piece))
    with pytest.raises(Conflict):
        await finish(uploads, store, upload.id)
    piece = data[missing : missing + 200_000]
    await uploads.put_range(ANN, upload.id, missing, body(piece))
    assert await finish(uploads, store, upload.id) == data


async def test_numbered_parts(uploads: Uploads, store: DiskBlobs) -> None:
    upload = await uploads.create(ANN, "/a", shape="parts")
    third = await uploads.put_part(ANN, upload.id, 3, body(b"ghi"))
    first = await uploads.put_part(ANN, upload.id, 1, body(b"old"))
    first = await uploads.put_part(ANN, upload.id, 1, body(b"a", b"bc"))
    assert first.etag == blake3.blake3(b"abc").hexdigest()
    with pytest.raises(Conflict):
        await finish(uploads, store, upload.id)
    with pytest.raises(InvalidField):
        await finish(uploads, store, upload.id, parts=[(1, first.etag), (3, "wrong")])
    with pytest.raises(InvalidField):
        await finish(uploads, store, upload.id, parts=[(3, third.etag), (1, first.etag)])
    with pytest.raises(InvalidField):
        await uploads.put_part(ANN, upload.id, 0, body(b"x"))
    with pytest.raises(Conflict):
        await uploads.append(ANN, upload.id, 0, body(b"x"))
    content = await finish(uploads, store, upload.id, parts=[(1, first.etag), (3, third.etag)])
    assert content == b"abcghi"
    assert files(store) == []


async def test_a_part_that_breaks_off_changes_nothing(uploads: Uploads, store: DiskBlobs) -> None:
    upload = await uploads.create(ANN, "/a", shape="parts")
    await uploads.put_part(ANN, upload.id, 1, body(b"abc"))
    with pytest.raises(ConnectionResetError):
        await uploads.put_part(ANN, upload.id, 1, broken(b"x"))
    assert await finish(uploads, store, upload.id) == b"abc"


async def test_a_later_sender_takes_over(uploads: Uploads) -> None:
    upload = await uploads.create(ANN, "/a")
    began = anyio.Event()
    ended = list[type[Exception]]()

    async def hanging() -> AsyncIterator[bytes]:
        yield b"abc"
        began.set()
        await anyio.sleep_forever()

    async def first() -> None:
        try:
            await uploads.append(ANN, upload.id, 0, hanging())
        except Conflict as error:
            ended.append(type(error))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await began.wait()
        with pytest.raises(Conflict) as caught:
            await uploads.append(ANN, upload.id, 0, body(b"x"))
        assert caught.value.context["offset"] == 3
    assert ended == [Conflict]
    assert (await uploads.append(ANN, upload.id, 3, body(b"d"))).offset == 4


async def test_where_to_go_on_is_told_once_all_that_arrived_counts(uploads: Uploads) -> None:
    """Its sender is dead, but what that sent is still on its way to disk."""
    upload = await uploads.create(ANN, "/a")
    taken, breaks = anyio.Event(), anyio.Event()

    async def dying() -> AsyncIterator[bytes]:
        yield b"abc"
        taken.set()
        await breaks.wait()
        yield b"d"
        raise ConnectionResetError

    async def first() -> None:
        with pytest.raises(ConnectionResetError):
            await uploads.append(ANN, upload.id, 0, dying())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await taken.wait()
        asyncio.get_running_loop().call_later(0.002, breaks.set)
        assert (await uploads.at_rest(ANN, upload.id)).offset == 4


async def test_who_hangs_on_is_cut_off_when_somebody_asks_where_to_go_on(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("downstage.content.upload_senders.LINGER_S", 0.002)
    upload = await uploads.create(ANN, "/a")
    taken = anyio.Event()

    async def hanging() -> AsyncIterator[bytes]:
        yield b"abc"
        taken.set()
        await anyio.sleep_forever()

    async def first() -> None:
        with pytest.raises(Conflict):
            await uploads.append(ANN, upload.id, 0, hanging())

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(first)
        await taken.wait()
        with pytest.raises(NotFound):
            await uploads.at_rest(BOB, upload.id)
        assert (await uploads.at_rest(ANN, upload.id)).offset == 3


async def test_silence_ends_a_request_not_the_upload(uploads: Uploads) -> None:
    async def silent() -> AsyncIterator[bytes]:
        yield b"abc"
        await anyio.sleep_forever()

    upload = await uploads.create(ANN, "/a")
    with pytest.raises(DeadlineExceeded):
        await uploads.append(ANN, upload.id, 0, silent(), idle_s=0.02)
    assert (await uploads.head(ANN, upload.id)).offset == 3


async def test_a_commit_that_fails_leaves_the_upload(uploads: Uploads, store: DiskBlobs) -> None:
    data = noise(100_000)
    upload = await uploads.create(ANN, "/a")
    await uploads.append(ANN, upload.id, 0, body(data))

    async def commit() -> None:
        async with uploads.finished(ANN, upload.id):
            raise Locked("meanwhile")

    with pytest.raises(Locked):
        await commit()
    assert (await Collector(store).collect(0)).files == 1
    assert await finish(uploads, store, upload.id) == data


async def test_nobody_writes_into_what_was_finished(uploads: Uploads, store: DiskBlobs) -> None:
    """Killed between the commit and forgetting the upload: its file is the store's file."""
    data = noise(100_000)
    upload = await uploads.create(ANN, "/a")
    await uploads.append(ANN, upload.id, 0, body(data))
    assert isinstance(store.database, BlobDatabase)
    async with uploads.finished(ANN, upload.id) as staged:
        await store.database.keep("x", staged)
        with pytest.raises(Conflict):
            await uploads.append(ANN, upload.id, len(data), body(b"!"))
        (store.layout.uploads / "kept").hardlink_to(store.layout.uploads / upload.id)
    (store.layout.uploads / "kept").rename(store.layout.uploads / "late")
    async with anyio.create_task_group():
        from downstage.content.upload_files import RangeFile

        with pytest.raises(Conflict):
            await RangeFile(store.pool, store.layout.uploads / "late", 0).__aenter__()


async def test_forgotten_uploads_expire(uploads: Uploads, store: DiskBlobs, clock: Clock) -> None:
    old = await uploads.create(ANN, "/a")
    await uploads.append(ANN, old.id, 0, body(b"abc"))
    clock.now += 60
    young = await uploads.create(ANN, "/b")
    clock.now += 60
    assert await uploads.expire() == 1
    assert [one.id for one in await uploads.mine(ANN)] == [young.id]
    assert files(store) == []


def test_union_of_ranges() -> None:
    assert union([(5, 5), (0, 5), (20, 1), (7, 10), (21, 0)]) == [(0, 17), (20, 1)]


async def test_what_is_dropped_while_it_comes_in_leaves_no_file(
    store: DiskBlobs, uploads: Uploads
) -> None:
    """Again and again it would fill the disk until the next start."""
    begun, go_on = anyio.Event(), anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield noise(1000)
        begun.set()
        await go_on.wait()
        yield noise(1000)

    async def send(coroutine: Awaitable[object]) -> None:
        with pytest.raises((NotFound, Conflict)):
            await coroutine

    for shape in ("range", "parts"):
        begun, go_on = anyio.Event(), anyio.Event()
        upload = await uploads.create(ANN, "/f", shape=shape)
        async with anyio.create_task_group() as tasks:
            if shape == "range":
                tasks.start_soon(send, uploads.put_range(ANN, upload.id, 0, slow()))
            else:
                tasks.start_soon(send, uploads.put_part(ANN, upload.id, 1, slow()))
            await begun.wait()
            await uploads.abort(ANN, upload.id)
            go_on.set()
        assert not list(store.layout.uploads.iterdir())
    upload = await uploads.create(ANN, "/f")
    begun, go_on = anyio.Event(), anyio.Event()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(send, uploads.append(ANN, upload.id, 0, slow()))
        await begun.wait()
        await uploads.abort(ANN, upload.id)  # who appends is cut off
    assert not list(store.layout.uploads.iterdir())


async def test_uploads_of_one_person_hold_no_more_than_may_come(
    store: DiskBlobs, clock: Clock
) -> None:
    """Each alone would fit; together they would fill the disk for a day."""
    gate = Open()
    gate.room = 2500
    uploads = Uploads(store, gate, clock, most=5)
    first = await uploads.create(ANN, "/a")
    await uploads.append(ANN, first.id, 0, body(noise(2000)))
    second = await uploads.create(ANN, "/b", shape="parts")
    with pytest.raises(TooLarge):
        await uploads.put_part(ANN, second.id, 1, body(noise(600)))
    for _ in range(2):  # the second in place of the first
        await uploads.put_part(ANN, second.id, 1, body(noise(500)))
    third = await uploads.create(ANN, "/c", size=10)
    for more in (
        uploads.append(ANN, third.id, 0, body(b"1")),
        uploads.put_part(ANN, second.id, 2, body(b"1")),
    ):
        with pytest.raises(QuotaReached):
            await more
    others = await uploads.create(BOB, "/d")
    await uploads.append(BOB, others.id, 0, body(noise(2000)))
    await uploads.abort(ANN, first.id)
    await uploads.append(ANN, third.id, 0, body(noise(10)))
    async with uploads.finished(ANN, third.id) as staged:
        assert staged.size == 10


async def test_no_more_uploads_begin_at_once_than_one_may_have(uploads: Uploads) -> None:
    begun = 0

    async def begin(n: int) -> None:
        nonlocal begun
        with suppress(TooMany):
            await uploads.create(ANN, f"/{n}")
            begun += 1

    async with anyio.create_task_group() as tasks:
        for n in range(12):
            tasks.start_soon(begin, n)
    assert begun == 3
