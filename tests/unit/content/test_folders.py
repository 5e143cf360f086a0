"""What the writer knows of folders: right after every mixture of operations in one transaction."""

from __future__ import annotations

import threading
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import anyio.to_thread
import pytest

from downstage.content import folders, quota, tree
from downstage.content.change import Change
from downstage.content.edit import Edit
from downstage.content.model import Caller
from downstage.content.service import Content
from downstage.kernel.errors import AlreadyExists, NotFound, PlatformError, QuotaReached

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

Outcomes = list[Any]


async def together(content: Content, *operations: Callable[[], Awaitable[Any]]) -> Outcomes:
    """Run operations in this order, all in one transaction; their answers or errors."""
    outcomes: Outcomes = [None] * len(operations)
    begun, gate, done = threading.Event(), threading.Event(), 0

    def first() -> None:
        begun.set()
        gate.wait(10)

    async def run(number: int) -> None:
        nonlocal done
        try:
            outcomes[number] = await operations[number]()
        except PlatformError as error:
            outcomes[number] = error
        done += 1

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(content.database.write, lambda db: first())
        await anyio.to_thread.run_sync(begun.wait, 10)
        with anyio.fail_after(10):
            for number in range(len(operations)):
                tasks.start_soon(run, number)
                while content.database._writer._waiting + done < number + 2:
                    await anyio.sleep(0)
        gate.set()
    return outcomes


async def check_counts(content: Content) -> None:
    """Every counter is what counting one by one gives."""

    def job(change: Change) -> None:
        for (node,) in change.db.execute("SELECT node FROM folder").fetchall():
            found = quota.usage(change.db, node)
            assert (found.bytes, found.nodes) == quota.recount(change.db, node), node

    await content.database.change(job)


async def test_of_a_transaction_one_fails_late_and_the_rest_is_done(
    content: Content, uta: Caller
) -> None:
    await content.write(uta, "/d/f", b"1")
    before = await content.seq()
    outcomes = await together(
        content,
        lambda: content.write(uta, "/d/a", b"12"),
        lambda: content.write(uta, "/d/new/deep/F", b"123"),
        lambda: content.write(uta, "/d/A", b"1234"),  # a twin: refused after it was counted
        lambda: content.write(uta, "/d/b", b"12345"),
    )
    assert isinstance(outcomes[2], AlreadyExists)
    names = [entry.name for entry in (await content.list(uta, "/d")).entries]
    assert names == ["a", "b", "f", "new"]
    assert (await content.usage(uta, "/d")).bytes == 1 + 2 + 3 + 5
    assert [outcomes[n].seq for n in (0, 1, 3)] == [before + 1, before + 4, before + 5]
    assert (await content.stat(uta, "/d")).seq == before + 5
    await check_counts(content)


async def test_what_is_refused_before_it_wrote_costs_no_second_run(
    content: Content, uta: Caller
) -> None:
    runs = 0

    def counted(change: Change) -> None:
        nonlocal runs
        runs += 1

    await content.write(uta, "/d/f", b"1")
    outcomes = await together(
        content,
        lambda: content.write(uta, "/d/a", b"1"),
        lambda: content.database.change(counted),
        lambda: content.move(uta, "/d/none", "/d/other"),
        lambda: content.write(uta, "/d/b", b"1"),
        lambda: content.undelete(uta, "/d/none"),
        lambda: content.write(uta, "/d/c", b"1"),
    )
    assert [isinstance(one, NotFound) for one in outcomes] == [0, 0, 1, 0, 1, 0]
    assert runs == 1


async def test_quotas_hold_within_one_transaction(content: Content, uta: Caller, admin) -> None:
    await content.create_folder(uta, "/d/e", parents=True)
    await content.set_quota(admin, "/d", bytes=10, nodes=None)
    outcomes = await together(
        content,
        lambda: content.write(uta, "/d/e/a", b"1234"),
        lambda: content.write(uta, "/d/e/b", b"1234"),
        lambda: content.write(uta, "/d/e/c", b"1234"),
        lambda: content.write(uta, "/d/e/a", b"12"),
        lambda: content.write(uta, "/d/e/c", b"1234"),
    )
    assert [isinstance(one, QuotaReached) for one in outcomes] == [0, 0, 1, 0, 0]
    assert (await content.usage(uta, "/d")).bytes == 10
    await check_counts(content)


async def test_a_way_ends_with_its_folder(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/x/f", b"1")
    await content.write(uta, "/a/x/f", b"2")
    outcomes = await together(
        content,
        lambda: content.write(uta, "/a/x/g", b"1"),
        lambda: content.move(uta, "/a", "/b"),
        lambda: content.write(uta, "/a/x/g", b"22"),
        lambda: content.write(uta, "/b/x/h", b"333"),
        lambda: content.delete(uta, "/b/x"),
        lambda: content.write(uta, "/b/x/h", b"4444"),
    )
    assert not [one for one in outcomes if isinstance(one, Exception)]
    paths = [entry.path for entry in (await content.list(uta, "/", recursive=True)).entries]
    assert paths == ["/a", "/a/x", "/a/x/g", "/b", "/b/x", "/b/x/h"]
    assert (await content.usage(uta, "/")).bytes == 2 + 4
    await check_counts(content)


async def test_a_way_made_in_what_was_undone_is_none(content: Content, uta: Caller) -> None:
    def fails(edit: Edit) -> None:
        edit.db.execute("DELETE FROM node WHERE name = 'f'")
        edit.make_folders(edit.walk("/d"), ["gone"])
        edit.count(edit.walk("/d/gone/f"), 100, 1)
        raise AlreadyExists("no")

    await content.create_folder(uta, "/d")
    await content.write(uta, "/d/f", b"1")
    outcomes = await together(
        content,
        lambda: content.write(uta, "/d/new/a", b"1"),
        lambda: content.write(uta, "/d/new/b", b"1"),
        lambda: content.edit(uta, fails),
        lambda: content.write(uta, "/d/new/c", b"1"),
        lambda: content.write(uta, "/d/gone/c", b"1"),
    )
    assert isinstance(outcomes[2], AlreadyExists)
    paths = [entry.path for entry in (await content.list(uta, "/d", recursive=True)).entries]
    new = ["/d/new", "/d/new/a", "/d/new/b", "/d/new/c"]
    assert paths == ["/d/f", "/d/gone", "/d/gone/c", *new]
    await check_counts(content)


async def test_a_folder_read_between_two_writes_has_the_last_event(
    content: Content, uta: Caller
) -> None:
    await content.create_folder(uta, "/d")
    outcomes = await together(
        content,
        lambda: content.write(uta, "/d/a", b"1"),
        lambda: content.patch_properties(uta, "/d", {"k": "v"}, ()),
        lambda: content.write(uta, "/d/b", b"1"),
        lambda: content.move(uta, "/d", "/e"),
    )
    assert outcomes[3].seq == outcomes[2].seq + 1
    assert (await content.stat(uta, "/e")).seq == outcomes[3].seq


async def test_no_more_ways_are_remembered_than_is_bearable(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folders, "MAX_WAYS", 3)
    monkeypatch.setattr(folders, "MAX_COUNTS", 3)
    for n in range(8):
        await content.write(uta, f"/d{n}/f", b"1")
        await content.write(uta, f"/d{n}/f", b"2")
    known = content.database._writer._folders
    assert len(known._ways) <= 3
    assert len(known._counts) <= 3
    await check_counts(content)


async def test_who_only_looks_cannot_put_anything_off(content: Content, uta: Caller) -> None:
    await content.stat(uta, "/")
    with content._views.edit(uta) as edit:
        root = tree.Trail((edit.root(),))
        with pytest.raises(RuntimeError):
            edit.touch(root, 1)
