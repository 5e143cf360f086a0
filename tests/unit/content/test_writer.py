"""The writer: groups, savepoints, full disks, order."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time

import anyio
import anyio.to_thread
import pytest

from downstage.content import writer
from downstage.content.change import Change
from downstage.content.database import NAME
from downstage.content.model import Access, AclEntry, Caller, Condition
from downstage.content.service import Content, open_content
from downstage.kernel.errors import (
    AlreadyExists,
    DeadlineExceeded,
    Forbidden,
    InvalidField,
    OutOfSpace,
    SetupError,
    Unavailable,
    VersionMismatch,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def test_C07_of_two_writers_with_one_etag_one_wins(content: Content, uta: Caller) -> None:
    outcomes: list[str] = []

    async def write(body: bytes, condition: Condition) -> None:
        try:
            outcomes.append((await content.write(uta, "/f", body, condition=condition)).etag)
        except VersionMismatch:
            outcomes.append("stale")

    condition = Condition(if_none_match_any=True)
    for turn in range(3):
        outcomes.clear()
        async with anyio.create_task_group() as tasks:
            for n in range(20):
                tasks.start_soon(write, b"%d, %d" % (turn, n), condition)
        assert outcomes.count("stale") == 19
        (winner,) = set(outcomes) - {"stale"}
        assert (await content.stat(uta, "/f")).etag == winner
        condition = Condition(if_match=(winner,))
    assert (await content.stat(uta, "/f")).version == 3


async def test_what_waits_is_committed_together(content: Content, uta: Caller) -> None:
    commits = 0
    point = writer.point

    def counted(name: str) -> None:
        nonlocal commits
        commits += name == "content.commit.after"
        point(name)

    await content.create_folder(uta, "/d")
    writer.point = counted
    try:
        async with anyio.create_task_group() as tasks:
            for n in range(200):
                tasks.start_soon(content.write, uta, f"/d/{n}", b"1")
    finally:
        writer.point = point
    assert commits < 100
    assert (await content.usage(uta, "/d")).nodes == 200


async def test_one_that_fails_takes_nothing_with_it(content: Content, uta: Caller) -> None:
    def fails(change: Change) -> None:
        change.db.execute("DELETE FROM node")
        change.next_seq()
        raise AlreadyExists("no")

    seq = await content.seq()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(content.write, uta, "/a", b"1")
        with pytest.raises(AlreadyExists):
            await content.database.change(fails)
        tasks.start_soon(content.write, uta, "/b", b"1")
    assert [e.name for e in (await content.list(uta, "/")).entries] == ["a", "b"]
    assert await content.seq() == seq + 2


async def test_S05_a_full_disk_refuses_what_does_not_fit_and_goes_on(
    content: Content, uta: Caller
) -> None:
    def full(change: Change) -> None:
        change.db.execute("DELETE FROM node")
        # What SQLite does by itself at SQLITE_FULL.
        change.db.execute("ROLLBACK")
        error = sqlite3.OperationalError("database or disk is full")
        error.sqlite_errorcode = sqlite3.SQLITE_FULL
        raise error

    refused = 0

    async def fails() -> None:
        nonlocal refused
        with pytest.raises(OutOfSpace):
            await content.database.change(full)
        refused += 1

    async with anyio.create_task_group() as tasks:
        for n in range(10):
            tasks.start_soon(content.write, uta, f"/{n}", b"1")
            tasks.start_soon(fails)
    assert refused == 10
    assert len((await content.list(uta, "/")).entries) == 10
    await content.write(uta, "/after", b"1")


async def test_too_much_waiting_is_refused(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await content.create_folder(uta, "/d")
    monkeypatch.setattr(writer, "MAX_WAITING", 4)
    refused = 0

    async def write(n: int) -> None:
        nonlocal refused
        try:
            await content.write(uta, f"/d/{n}", b"1")
        except Unavailable:
            refused += 1

    async with anyio.create_task_group() as tasks:
        for n in range(32):
            tasks.start_soon(write, n)
    assert refused
    assert (await content.usage(uta, "/d")).nodes == 32 - refused


async def test_half_a_character_is_refused_anywhere(
    content: Content, uta: Caller, admin: Caller
) -> None:
    half = "\ud800"
    await content.write(uta, "/f", b"1")
    for refused in (
        content.write(uta, "/f", b"2", message=half),
        content.checkpoint(uta, "/f", half),
        content.patch_properties(uta, "/f", {half: "1"}, ()),
        content.patch_properties(uta, "/f", {"a": half}, ()),
        content.patch_properties(uta, "/f", {}, (half,)),
        content.lock(uta, "/f", shared_note=half),
        content.set_acl(admin, "/f", [AclEntry("user:" + half, Access.READ)]),
        content.list(uta, "/", after=half),
        content.list(uta, "/", after="/" + half, recursive=True),
        content.write(Caller("u", half), "/f", b"2"),
    ):
        with pytest.raises(InvalidField):
            await refused
    assert (await content.stat(uta, "/f")).version == 1


async def test_who_stops_waiting_has_it_done_anyway(content: Content, uta: Caller) -> None:
    with anyio.CancelScope() as scope:
        scope.cancel()
        await content.database.write(lambda db: None)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(content.write, uta, "/f", b"1")
        await anyio.sleep(0)
        tasks.cancel_scope.cancel()
    await content.write(uta, "/g", b"1")


async def test_a_reading_sees_every_write_that_was_answered(content: Content, uta: Caller) -> None:
    """Folders change places under a reader that remembers where they were."""
    await content.write(uta, "/a/f", b"1")
    for n in range(30):
        old, new = ("/a", "/b") if n % 2 == 0 else ("/b", "/a")
        await content.stat(uta, f"{old}/f")
        await content.move(uta, old, new)
        assert (await content.stat(uta, f"{new}/f")).path == f"{new}/f"
        (gone,) = content.stat_many(uta, [(f"{old}/f", 0)])
        assert isinstance(gone, Exception)


async def test_a_reading_is_never_older_than_an_answer(content: Content, uta: Caller) -> None:
    """Rows are remembered; a commit makes them forgotten before it is answered."""
    await content.write(uta, "/d/f", b"0")
    answered, done = 1, False

    async def write() -> None:
        nonlocal answered, done
        for n in range(100):
            answered = (await content.write(uta, "/d/f", b"%d" % n)).version
        done = True

    async def read() -> None:
        seen = 0
        while not done:
            floor = max(answered, seen)
            seen = (await content.stat(uta, "/d/f")).version
            assert seen >= floor
            await anyio.sleep(0)

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for _ in range(3):
            tasks.start_soon(read)


async def test_a_long_transaction_leaves_the_rest_for_the_next(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer, "GROUP_S", -1.0)
    await content.create_folder(uta, "/d")
    order: list[int] = []

    async def write(n: int) -> None:
        order.append((await content.write(uta, f"/d/{n}", b"1")).seq)

    async with anyio.create_task_group() as tasks:
        for n in range(20):
            tasks.start_soon(write, n)
    assert order == sorted(order)
    for n in range(20):
        tasks = asyncio.create_task(content.write(uta, f"/d/last {n}", b"1"))
        await asyncio.sleep(0)
    await content.close()
    assert (await tasks).path == "/d/last 19"


async def test_the_writer_outlives_what_should_not_happen(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(*, begins: bool, moves: bool) -> None:
        monkeypatch.undo()
        raise RuntimeError(begins, moves)

    await content.create_folder(uta, "/d")
    monkeypatch.setattr(content.database._writer, "_committing", fails)
    with pytest.raises(Unavailable):
        await content.write(uta, "/d/f", b"1")
    assert (await content.list(uta, "/d")).entries == []
    await content.write(uta, "/d/f", b"1")


async def test_no_answer_for_too_long_is_told(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    release = threading.Event()
    monkeypatch.setattr(writer, "ANSWER_S", 0.01)
    with pytest.raises(DeadlineExceeded):
        await content.database.write(lambda db: release.wait(10))
    release.set()


async def test_after_closing_nothing_is_taken(data, clock, uta: Caller) -> None:
    content = await open_content(data, clock=clock)
    await content.close()
    await content.close()
    with pytest.raises(Unavailable):
        await content.database.write(lambda db: None)


async def test_a_database_of_a_later_version_is_left_alone(data, clock) -> None:
    content = await open_content(data, clock=clock)
    await content.close()
    with sqlite3.connect(data / NAME) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()
    with pytest.raises(SetupError):
        await open_content(data, clock=clock)


async def test_C07_slow_housekeeping_loses_nothing_that_waits(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It runs between two transactions, while the rest of the first is put back."""
    monkeypatch.setattr(writer, "GROUP_S", 0.0)
    monkeypatch.setattr(writer, "IDLE_S", 0.0)
    done = 0

    async def write(n: int) -> None:
        nonlocal done
        await content.write(uta, f"/{n}", b"1")
        done += 1

    with anyio.move_on_after(20):
        async with anyio.create_task_group() as tasks:
            for n in range(40):
                tasks.start_soon(write, n)
    assert done == 40


async def test_S05_a_full_disk_loses_nothing_that_was_put_back(
    content: Content, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was put back waits while the transaction that it left is done one by one.

    The first operation lets the others queue; the third takes longer than a transaction may.
    """
    full, answered, begun, queued = [1], 0, threading.Event(), threading.Event()
    point = writer.point

    def fails(name: str) -> None:
        if name == "content.commit.before" and len(content.database._writer._late) == 5 and full:
            full.clear()
            error = sqlite3.OperationalError("database or disk is full")
            error.sqlite_errorcode = sqlite3.SQLITE_FULL
            raise error
        point(name)

    def job(n: int) -> None:
        if n == 0:
            begun.set()
            queued.wait(10)
        if n == 2:
            time.sleep(0.06)

    async def slow(n: int) -> None:
        nonlocal answered
        await content.database.write(lambda db: job(n))
        answered += 1

    monkeypatch.setattr(writer, "GROUP_S", 0.05)
    with anyio.move_on_after(10):
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(slow, 0)
            await anyio.to_thread.run_sync(begun.wait, 10)
            monkeypatch.setattr(writer, "point", fails)
            for n in range(1, 8):
                tasks.start_soon(slow, n)
            while content.database._writer._waiting < 8:
                await anyio.sleep(0)
            queued.set()
    assert answered == 8
    assert not full


async def test_a_commit_whose_mirrors_cannot_be_read_stands(
    content: Content, uta: Caller, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is durable: to call it refused would be a lie, and its events would be missed."""
    await content.write(uta, "/f", b"1")
    broken = [True]
    mirrors = content._mirrors
    renew = mirrors.renew

    def fails(db: sqlite3.Connection, stale: set[str]) -> None:
        if broken:
            broken.clear()
            raise sqlite3.OperationalError("disk I/O error")
        renew(db, stale)

    monkeypatch.setattr(content.database._writer, "_mirror", fails)
    async with content.subscribe(uta, "/f", "node") as events:
        await content.set_acl(admin, "/f", [AclEntry("everyone", Access.READ)])
        with anyio.fail_after(5):
            assert (await anext(aiter(events))).kind == "acl"
    await content.write(admin, "/g", b"1")  # by the next commit it has been read again
    with pytest.raises(Forbidden):
        await content.write(uta, "/f", b"2")
    assert (await content.stat(uta, "/f")).access == Access.READ
