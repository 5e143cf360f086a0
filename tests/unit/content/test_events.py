"""Events: in one order, only what may be seen, without a gap for who resumes."""

from __future__ import annotations

import time
from contextlib import AsyncExitStack

import anyio
import pytest

from downstage.content import events
from downstage.content.events import Subscription
from downstage.content.model import Access, AclEntry, Caller, Event
from downstage.content.service import Content, open_content
from downstage.kernel.errors import NotFound

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NOTHING = Access.NONE
ALL = Access.READ | Access.WRITE


async def told(subscription: Subscription, count: int) -> list[Event]:
    with anyio.fail_after(5):
        return [await anext(subscription) for _ in range(count)]


async def nothing_waits(content: Content, caller: Caller, subscription: Subscription) -> bool:
    """Whether nothing was told, known by an event that comes after."""
    await content.patch_properties(caller, subscription.watch.path, {"end": "1"}, ())
    (event,) = await told(subscription, 1)
    return event.kind == "metadata"


async def test_everything_that_happens_is_told_in_order(content: Content, uta: Caller) -> None:
    await content.create_folder(uta, "/d")
    async with content.subscribe(uta, "/d", "tree") as watching:
        made = await content.write(uta, "/d/e/f", b"1")
        await content.write(uta, "/d/e/f", b"2")
        await content.checkpoint(uta, "/d/e/f", "why")
        await content.patch_properties(uta, "/d/e/f", {"a": "b"}, ())
        await content.lock(uta, "/d/e/f")
        await content.unlock(uta, "/d/e/f")
        await content.move(uta, "/d/e", "/d/g")
        await content.copy(uta, "/d/g", "/d/h")
        await content.delete(uta, "/d/g")
        await content.undelete(uta, "/d/g")
        seen = await told(watching, 11)
    assert [(e.kind, e.path, e.old_path) for e in seen] == [
        ("created", "/d/e", ""),
        ("created", "/d/e/f", ""),
        ("updated", "/d/e/f", ""),
        ("checkpoint", "/d/e/f", ""),
        ("metadata", "/d/e/f", ""),
        ("locked", "/d/e/f", ""),
        ("unlocked", "/d/e/f", ""),
        ("renamed", "/d/g", "/d/e"),
        ("created", "/d/h", ""),
        ("deleted", "/d/g", ""),
        ("undeleted", "/d/g", ""),
    ]
    assert [e.seq for e in seen] == list(range(seen[0].seq, seen[0].seq + 11))
    assert {e.by for e in seen} == {"Uta"}
    assert seen[1].entry == made
    assert seen[2].entry is not None
    assert (seen[2].entry.version, seen[2].entry.seq) == (2, seen[2].seq)
    assert seen[9].entry is None


async def test_scopes(content: Content, uta: Caller) -> None:
    await content.write(uta, "/d/e/f", b"1")
    async with (
        content.subscribe(uta, "/d", "node") as node,
        content.subscribe(uta, "/d", "list") as listed,
        content.subscribe(uta, "/d", "tree") as tree,
    ):
        await content.write(uta, "/d/e/f", b"2")
        await content.write(uta, "/d/g", b"2")
        await content.write(uta, "/elsewhere", b"2")
        await content.patch_properties(uta, "/d", {"a": "b"}, ())
        assert [e.path for e in await told(tree, 3)] == ["/d/e/f", "/d/g", "/d"]
        assert [e.path for e in await told(listed, 2)] == ["/d/g", "/d"]
        assert [e.path for e in await told(node, 1)] == ["/d"]


async def test_what_moves_above_moves_along(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/b/f", b"1")
    async with content.subscribe(uta, "/a/b/f", "node") as watching:
        await content.move(uta, "/a", "/x/y")
        await content.move(uta, "/x/y/b/f", "/f")
        await content.write(uta, "/f", b"2")
        await content.create_folder(uta, "/x/y/z")
        seen = await told(watching, 3)
        assert [(e.kind, e.path, e.old_path) for e in seen] == [
            ("renamed", "/x/y/b/f", "/a/b/f"),
            ("renamed", "/f", "/x/y/b/f"),
            ("updated", "/f", ""),
        ]
        assert [e.entry and e.entry.path for e in seen] == ["/x/y/b/f", "/f", "/f"]
        await content.move(uta, "/f", "/x/y/f")
        await content.delete(uta, "/x")
        await content.undelete(uta, "/x")
        seen = await told(watching, 3)
        assert [(e.kind, e.path) for e in seen] == [
            ("renamed", "/x/y/f"),
            ("deleted", "/x/y/f"),
            ("undeleted", "/x/y/f"),
        ]


async def test_a_move_out_is_a_deletion_and_one_in_a_creation(
    content: Content, uta: Caller
) -> None:
    await content.write(uta, "/d/f", b"1")
    await content.create_folder(uta, "/e")
    async with (
        content.subscribe(uta, "/d", "tree") as left,
        content.subscribe(uta, "/e", "tree") as entered,
    ):
        await content.move(uta, "/d/f", "/e/g")
        (event,) = await told(left, 1)
        assert (event.kind, event.path, event.entry) == ("deleted", "/d/f", None)
        (event,) = await told(entered, 1)
        assert (event.kind, event.path, event.old_path) == ("created", "/e/g", "")


async def test_only_what_may_be_seen_is_told(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/secret/f", b"1")
    await content.set_acl(admin, "/d/secret", [AclEntry("user:u-2", NOTHING, ALL)])
    async with content.subscribe(ben, "/d", "tree") as watching:
        await content.write(uta, "/d/secret/f", b"2")
        await content.write(uta, "/d/secret/new", b"2")
        await content.move(uta, "/d/secret/new", "/d/secret/newer")
        await content.delete(uta, "/d/secret/f")
        await content.obliterate(admin, "/d/secret/f")
        await content.move(uta, "/d/secret", "/d/hidden")
        await content.obliterate(admin, "/d/hidden")
        assert await nothing_waits(content, uta, watching)
    with pytest.raises(NotFound):
        async with content.subscribe(ben, "/d/hidden", "tree"):
            pass


async def test_a_move_into_the_hidden_is_a_deletion(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/f", b"1")
    await content.create_folder(uta, "/d/secret")
    await content.set_acl(admin, "/d/secret", [AclEntry("user:u-2", NOTHING, ALL)])
    async with content.subscribe(ben, "/d", "tree") as watching:
        await content.move(uta, "/d/f", "/d/secret/g")
        await content.move(uta, "/d/secret/g", "/d/h")
        seen = await told(watching, 2)
    assert [(e.kind, e.path, e.old_path) for e in seen] == [
        ("deleted", "/d/f", ""),
        ("created", "/d/h", ""),
    ]


async def test_who_loses_a_right_is_told_that_it_is_gone(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/d/f", b"1")
    async with (
        content.subscribe(ben, "/d/f", "node") as node,
        content.subscribe(ben, "/", "tree") as tree,
    ):
        await content.set_acl(admin, "/d", [AclEntry("user:u-2", NOTHING, ALL)])
        await content.write(uta, "/d/f", b"2")
        (event,) = await told(node, 1)
        assert (event.kind, event.path) == ("deleted", "/d/f")
        (event,) = await told(tree, 1)
        assert (event.kind, event.path) == ("relist", "/")
        await content.set_acl(admin, "/d", [])
        (event,) = await told(node, 1)
        assert event.kind == "acl"
        assert event.entry is not None


async def test_who_resumes_misses_nothing(content: Content, uta: Caller) -> None:
    await content.write(uta, "/d/0", b"1")
    since = await content.seq()
    for n in range(1, 4):
        await content.write(uta, f"/d/{n}", b"1")
    async with content.subscribe(uta, "/d", "list", since=since) as watching:
        await content.write(uta, "/d/4", b"1")
        assert [e.path for e in await told(watching, 4)] == [f"/d/{n}" for n in range(1, 5)]
    async with content.subscribe(uta, "/d", "list", since=await content.seq()) as watching:
        assert await nothing_waits(content, uta, watching)


async def test_resuming_amid_changes_leaves_no_gap(content: Content, uta: Caller) -> None:
    await content.create_folder(uta, "/d")
    since = await content.seq()
    total = 60

    async def write() -> None:
        for n in range(total):
            await content.write(uta, f"/d/{n:03}", b"1")

    seqs: list[list[int]] = []

    async def watch() -> None:
        async with content.subscribe(uta, "/d", "list", since=since) as watching:
            seqs.append([e.seq for e in await told(watching, total)])

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(write)
        for _ in range(8):
            await content.stat(uta, "/d")
            await anyio.sleep(0)
            tasks.start_soon(watch)
    assert seqs == [list(range(since + 1, since + 1 + total))] * 8


async def test_events_outlive_a_restart(data, clock, uta: Caller) -> None:
    first = await open_content(data, clock=clock)
    await first.write(uta, "/d/0", b"1")
    since = await first.seq()
    await first.write(uta, "/d/1", b"1")
    await first.close()
    second = await open_content(data, clock=clock)
    try:
        async with second.subscribe(uta, "/d", "list", since=since) as watching:
            (event,) = await told(watching, 1)
            assert (event.path, event.seq) == ("/d/1", since + 1)
        assert await second.seq() == since + 1
    finally:
        await second.close()


async def test_too_old_and_never_mean_list_again(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    for n in range(5):
        await content.write(uta, f"/d/{n}", b"1")
    newest = await content.seq()
    async with content.subscribe(uta, "/d", "list", since=newest + 10) as watching:
        assert [e.kind for e in await told(watching, 1)] == ["relist"]
        await content.write(uta, "/d/0", b"1")
        assert [e.kind for e in await told(watching, 1)] == ["updated"]
    newest += 1
    monkeypatch.setattr(events, "FORGET_AT_ONCE", 10)
    await content.database.write(lambda db: events.forget_old(db, kept=2))
    async with content.subscribe(uta, "/d", "list", since=1) as watching:
        (event,) = await told(watching, 1)
        assert (event.kind, event.seq, event.path) == ("relist", newest, "/d")
        await content.write(uta, "/d/0", b"2")
        assert [e.kind for e in await told(watching, 1)] == ["updated"]
    async with content.subscribe(uta, "/d", "list", since=newest - 1) as watching:
        assert [e.path for e in await told(watching, 2)] == ["/d/0", "/d/0"]


async def test_who_resumes_passes_over_what_is_of_no_concern(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    await content.create_folder(uta, "/d")
    since = await content.seq()
    monkeypatch.setattr(events, "MAX_BUFFER", 3)
    for n in range(5):
        await content.write(uta, f"/other/{n}", b"1")
    await content.write(uta, "/d/f", b"1")
    async with content.subscribe(uta, "/d", "list", since=since) as watching:
        assert [e.path for e in await told(watching, 1)] == ["/d/f"]
    async with content.subscribe(uta, "/other", "list", since=since) as watching:
        assert [e.kind for e in await told(watching, 1)] == ["relist"]
    monkeypatch.setattr(events, "MAX_SCAN", 3)
    async with content.subscribe(uta, "/d", "list", since=since) as watching:
        assert [e.kind for e in await told(watching, 1)] == ["relist"]


async def test_a_buffer_that_is_full_says_to_list_again(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(events, "MAX_BUFFER", 3)
    await content.create_folder(uta, "/d")
    async with content.subscribe(uta, "/d", "list") as watching:
        for n in range(5):
            await content.write(uta, f"/d/{n}", b"1")
        first, second = await told(watching, 2)
        assert (first.kind, second.kind, second.path) == ("relist", "created", "/d/4")


async def test_a_subscription_ends_with_the_service(data, clock, uta: Caller) -> None:
    content = await open_content(data, clock=clock)
    async with content.subscribe(uta, "/", "tree") as watching:
        await content.write(uta, "/f", b"1")
        await content.close()
        assert [event.path async for event in watching] == ["/f"]


async def test_a_past_move_tells_the_path_of_its_time(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/f", b"1")
    since = await content.seq()
    await content.move(uta, "/a", "/b")
    await content.move(uta, "/b", "/c")
    async with content.subscribe(uta, "/c/f", "node", since=since) as watching:
        seen = await told(watching, 2)
        assert [(e.path, e.old_path) for e in seen] == [("/b/f", "/a/f"), ("/c/f", "/b/f")]
        await content.write(uta, "/c/f", b"2")
        assert [e.path for e in await told(watching, 1)] == ["/c/f"]


@pytest.mark.parametrize("resumes", [True, False])
async def test_what_a_reading_saw_is_not_told_again(
    content: Content, uta: Caller, resumes: bool
) -> None:
    """A reading may see a commit before its events are handed out, on the loop."""
    await content.create_folder(uta, "/d")
    before = await content.seq()
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(content.write, uta, "/d/seen", b"1")
        await anyio.sleep(0)
        deadline = time.monotonic() + 10
        while events.newest(content.database.near) == before:
            assert time.monotonic() < deadline
            time.sleep(0.001)  # holds the loop, so that nothing is handed out
        since = before + 1 if resumes else None
        async with content.subscribe(uta, "/d", "list", since=since) as watching:
            await content.write(uta, "/d/new", b"1")
            assert [e.path for e in await told(watching, 1)] == ["/d/new"]


async def test_who_resumes_hears_that_something_is_gone_for_good(
    content: Content, uta: Caller, admin: Caller
) -> None:
    """Its row is no more; who had read it still has to know where it was, and that it went."""
    await content.write(uta, "/d/f", b"1")
    await content.write(uta, "/d/g", b"1")
    seq = await content.seq()
    await content.move(uta, "/d/f", "/d/h")
    await content.patch_properties(uta, "/d/h", {"a": "b"}, ())
    await content.obliterate(admin, "/d/h")
    await content.delete(uta, "/d/g")
    await content.obliterate(admin, "/d/g")
    async with content.subscribe(uta, "/d", "tree", since=seq) as watching:
        seen = await told(watching, 4)
        assert await nothing_waits(content, uta, watching)
    assert [(e.kind, e.path, e.old_path) for e in seen] == [
        ("renamed", "/d/h", "/d/f"),
        ("obliterated", "/d/h", ""),
        ("deleted", "/d/g", ""),
        ("obliterated", "/d/g", ""),
    ]


async def test_C10_what_was_hidden_is_not_told_where_it_goes_from_then_on(
    content: Content, uta: Caller, admin: Caller
) -> None:
    hidden = [AclEntry("everyone", NOTHING)]
    await content.write(admin, "/a/b/f", b"1")
    async with (
        content.subscribe(uta, "/a/b", "tree") as below,
        content.subscribe(uta, "/a/b/f", "node") as file,
    ):
        await content.set_acl(admin, "/a", hidden)
        await content.move(admin, "/a", "/secret-one")
        await content.move(admin, "/secret-one", "/secret-two")
        await content.set_acl(admin, "/secret-two/b", hidden)
        await content.set_acl(admin, "/secret-two/b/f", hidden)
        await content.delete(admin, "/secret-two/b/f")
        await content.undelete(admin, "/secret-two/b/f")
        for path in ("/secret-two/b/f", "/secret-two/b", "/secret-two"):
            await content.set_acl(admin, path, ())
        for watching, path in ((below, "/b"), (file, "/b/f")):
            seen = await told(watching, 2)
            assert [(e.kind, e.path) for e in seen] == [
                ("deleted", f"/a{path}"),
                ("acl", f"/secret-two{path}"),
            ]
            assert await nothing_waits(content, uta, watching)


async def test_many_who_watch_for_one_caller_are_judged_once(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked = 0
    sees = content._views.sees

    def counted(*args: object, **more: object) -> bool:
        nonlocal asked
        asked += 1
        return sees(*args, **more)

    monkeypatch.setattr(content._views, "sees", counted)
    async with AsyncExitStack() as stack:
        watching = [
            await stack.enter_async_context(content.subscribe(uta, "/", "tree")) for _ in range(50)
        ]
        await content.write(uta, "/f", b"1")
        for one in watching:
            assert (await told(one, 1))[0].path == "/f"
    assert asked <= 2
