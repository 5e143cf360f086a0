"""Files and folders: write, list, copy, move, delete and bring back."""

from __future__ import annotations

import blake3
import pytest

from downstage.content import quota
from downstage.content.limits import Limits
from downstage.content.model import Access, AclEntry, Caller, Condition, Flags
from downstage.content.service import Content, open_content
from downstage.kernel.errors import (
    AlreadyExists,
    BadUrl,
    Conflict,
    FolderNotEmpty,
    Forbidden,
    NotFound,
    NotSupported,
    QuotaReached,
    SourceIsTarget,
    VersionMismatch,
    WrongType,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def bytes_at(content: Content, caller: Caller, path: str, **which: int) -> bytes:
    async with await content.read(caller, path, **which) as reading:
        return await reading.read()


async def paths(content: Content, caller: Caller, path: str = "/", **how: bool) -> list[str]:
    page = await content.list(caller, path, recursive=True, **how)
    return [entry.path for entry in page.entries]


async def counted_right(content: Content, caller: Caller) -> bool:
    """Whether the counters of every folder say what is in it."""
    with content.database.read() as db:
        rows = db.execute("SELECT node, bytes, nodes FROM folder").fetchall()
        return all((size, nodes) == tuple(quota.recount(db, node)) for node, size, nodes in rows)


async def test_a_file_is_what_was_written(content: Content, uta: Caller) -> None:
    made = await content.write(uta, "/a/b/c.usd", b"hello")
    seen = await content.stat(uta, "/a/b/c.usd")
    assert seen == made
    assert (seen.size, seen.version, seen.created_by, seen.name) == (5, 1, "Uta", "c.usd")
    assert seen.hash == seen.etag == blake3.blake3(b"hello").hexdigest()
    assert Flags.WRITEABLE_FILE in seen.flags
    assert await bytes_at(content, uta, "/a/b/c.usd") == b"hello"
    again = await content.write(uta, "/a/b/c.usd", b"you")
    assert (again.id, again.version, again.size) == (made.id, 2, 3)
    assert (await content.stat(uta, "/a/b")).kind == "folder"


async def test_a_large_body_and_a_stream(content: Content, uta: Caller) -> None:
    async def pieces():
        for n in range(10):
            yield bytes([n]) * 30_000

    entry = await content.write(uta, "/big", pieces(), size_hint=300_000)
    assert entry.size == 300_000
    async with await content.read(uta, "/big") as reading:
        assert reading.file is not None
        assert reading.file.stat().st_size == 300_000
        assert b"".join([p async for p in reading.pieces(29_999, 30_001)]) == b"\x00\x01"


async def test_what_was_opened_stays_what_it_was(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"old" * 50_000)
    reading = await content.read(uta, "/f")
    await content.write(uta, "/f", b"new" * 50_000)
    assert await reading.read() == b"old" * 50_000
    reading.close()


async def test_staged_bytes_are_committed_later(content: Content, uta: Caller) -> None:
    staged = await content.stage(uta, b"x" * 100_000)
    with pytest.raises(NotFound):
        await content.stat(uta, "/f")
    assert (await content.write(uta, "/f", staged)).size == 100_000


async def test_kinds_are_kept_apart(content: Content, uta: Caller) -> None:
    await content.write(uta, "/d/f", b"1")
    for refused in (
        content.write(uta, "/d", b"2"),
        content.write(uta, "/", b"2"),
        content.write(uta, "/d/f/below", b"2"),
        content.create_folder(uta, "/d/f/below"),
        content.list(uta, "/d/f"),
        content.read(uta, "/d"),
        content.copy(uta, "/d", "/e", only="file"),
        content.copy(uta, "/d/f", "/e", only="folder"),
        content.move(uta, "/d", "/e", only="file"),
        content.checkpoint(uta, "/d", "why"),
        content.versions(uta, "/d"),
        content.usage(uta, "/d/f"),
        content.copy(uta, "/d", "/d/f", overwrite=True),
    ):
        with pytest.raises((WrongType, SourceIsTarget)):
            await refused
    with pytest.raises(AlreadyExists):
        await content.copy(uta, "/d/f", "/d", overwrite=True)
    assert await paths(content, uta) == ["/d", "/d/f"]


async def test_folders_are_made_where_wanted(content: Content, uta: Caller) -> None:
    with pytest.raises(NotFound):
        await content.create_folder(uta, "/a/b")
    with pytest.raises(NotFound):
        await content.write(uta, "/a/b", b"1", parents=False)
    await content.create_folder(uta, "/a/b", parents=True)
    for path in ("/a/b", "/"):
        with pytest.raises(AlreadyExists):
            await content.create_folder(uta, path)


async def test_pages(content: Content, uta: Caller) -> None:
    for name in ("b", "a", "d", "c", "Ä"):
        await content.write(uta, f"/l/{name}", name.encode())
    first = await content.list(uta, "/l", limit=2)
    assert [entry.name for entry in first.entries] == ["a", "b"]
    second = await content.list(uta, "/l", limit=2, after=first.next)
    third = await content.list(uta, "/l", limit=2, after=second.next)
    assert [entry.name for entry in second.entries + third.entries] == ["c", "d", "Ä"]
    assert third.next == ""
    assert third.seq == await content.seq()


async def test_a_recursive_listing_in_pages_tells_everything_once(
    content: Content, uta: Caller
) -> None:
    for path in ("/a/x/1", "/a/x/2", "/a/y", "/b", "/c/z/9", "/a-b"):
        await content.write(uta, path, b"1")
    whole = ["/a", "/a/x", "/a/x/1", "/a/x/2", "/a/y", "/a-b", "/b", "/c", "/c/z", "/c/z/9"]
    assert await paths(content, uta) == whole
    for limit in (1, 2, 3, 7):
        told, after = [], ""
        while True:
            page = await content.list(uta, "/", recursive=True, limit=limit, after=after)
            told += [entry.path for entry in page.entries]
            after = page.next
            if not after:
                break
        assert told == whole
    below = await content.list(uta, "/a", recursive=True, after="/a/x/1")
    assert [entry.path for entry in below.entries] == ["/a/x/2", "/a/y"]


async def test_conditions(content: Content, uta: Caller) -> None:
    exists = Condition(if_match_any=True)
    absent = Condition(if_none_match_any=True)
    with pytest.raises(VersionMismatch):
        await content.write(uta, "/f", b"1", condition=exists)
    with pytest.raises(VersionMismatch):
        await content.write(uta, "/f", b"1", condition=Condition(if_match=("x",)))
    one = await content.write(uta, "/f", b"1", condition=absent)
    stale, present = Condition(if_match=("x",)), Condition(if_match=("x", one.etag))
    for refused in (
        content.write(uta, "/f", b"2", condition=absent),
        content.write(uta, "/f", b"2" * 100_000, condition=absent),
        content.write(uta, "/f", b"2", condition=stale),
        content.write(uta, "/f", b"2", condition=Condition(if_none_match=(one.etag,))),
        content.copy(uta, "/f", "/g", condition=exists),
        content.copy(uta, "/f", "/g", source_condition=stale),
        content.move(uta, "/f", "/g", source_condition=stale),
        content.move(uta, "/f", "/g", condition=exists),
        content.delete(uta, "/f", condition=stale),
        content.patch_properties(uta, "/f", {"a": "b"}, (), condition=stale),
    ):
        with pytest.raises(VersionMismatch):
            await refused
    assert await paths(content, uta) == ["/f"]
    assert await content.properties(uta, "/f") == {}
    await content.write(uta, "/f", b"2", condition=present)
    with pytest.raises(VersionMismatch):
        await content.delete(uta, "/f", condition=present)


async def test_a_folder_has_an_etag_that_changes_with_its_list(
    content: Content, uta: Caller
) -> None:
    before = await content.create_folder(uta, "/d")
    await content.write(uta, "/d/f", b"1")
    after = await content.stat(uta, "/d")
    assert before.etag != after.etag
    with pytest.raises(VersionMismatch):
        await content.delete(uta, "/d", condition=Condition(if_match=(before.etag,)))


async def test_a_copy_of_a_file(content: Content, uta: Caller, ben: Caller) -> None:
    one = await content.write(uta, "/f", b"1", message="first")
    await content.write(uta, "/f", b"22", message="second")
    await content.patch_properties(uta, "/f", {"colour": "red"}, ())
    made = await content.copy(ben, "/f", "/new/g")
    assert (made.size, made.version, made.created_by, made.checkpoint) == (2, 1, "Ben", 0)
    assert made.id != one.id
    assert await content.checkpoints(ben, "/new/g") == []
    assert await content.properties(ben, "/new/g") == {"colour": "red"}
    past = await content.copy(ben, "/f", "/new/h", checkpoint=1, message="from the first")
    assert await bytes_at(content, ben, "/new/h") == b"1"
    assert [v.comment for v in await content.checkpoints(ben, past.path)] == ["from the first"]
    with pytest.raises(AlreadyExists):
        await content.copy(uta, "/f", "/new/g")
    await content.patch_properties(ben, "/new/h", {"shape": "round"}, ())
    over = await content.copy(uta, "/f", "/new/h", overwrite=True)
    assert await content.properties(ben, "/new/h") == {"colour": "red"}
    assert (over.id, over.version) == (past.id, 2)


async def test_a_copy_of_a_folder_is_its_present_content(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/x/f", b"1")
    await content.write(uta, "/a/x/gone", b"1")
    await content.write(uta, "/a/g", b"333")
    await content.delete(uta, "/a/x/gone")
    made = await content.copy(uta, "/a", "/b/c")
    assert await paths(content, uta, "/b") == ["/b/c", "/b/c/g", "/b/c/x", "/b/c/x/f"]
    assert await bytes_at(content, uta, "/b/c/x/f") == b"1"
    await content.write(uta, "/b/c/x/f", b"changed")
    assert await bytes_at(content, uta, "/a/x/f") == b"1"
    assert made.id != (await content.stat(uta, "/a")).id
    assert (await content.usage(uta, "/b")).bytes == 10
    assert await counted_right(content, uta)


async def test_a_folder_over_a_folder_merges(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/both/1", b"new")
    await content.write(uta, "/a/mine", b"new")
    await content.write(uta, "/b/both/1", b"old")
    await content.write(uta, "/b/both/2", b"kept")
    with pytest.raises(AlreadyExists):
        await content.copy(uta, "/a", "/b")
    await content.copy(uta, "/a", "/b", overwrite=True)
    assert await paths(content, uta, "/b") == ["/b/both", "/b/both/1", "/b/both/2", "/b/mine"]
    assert await bytes_at(content, uta, "/b/both/1") == b"new"
    assert await counted_right(content, uta)


async def test_a_merge_that_cannot_be_whole_is_not_begun(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/1", b"new")
    await content.write(uta, "/a/2", b"new")
    await content.write(uta, "/b/2/below", b"old")
    with pytest.raises(AlreadyExists):
        await content.copy(uta, "/a", "/b", overwrite=True)
    assert await paths(content, uta, "/b") == ["/b/2", "/b/2/below"]


@pytest.mark.parametrize("target", ["/a", "/a/b", "/a/b/c/d", "/a/new"])
async def test_nothing_goes_into_itself(content: Content, uta: Caller, target: str) -> None:
    await content.write(uta, "/a/b/c/f", b"1")
    for act in (content.copy, content.move):
        with pytest.raises(SourceIsTarget):
            await act(uta, "/a", target, overwrite=True)
    for act in (content.copy, content.move):
        with pytest.raises(SourceIsTarget):
            await act(uta, "/a/b", "/a", overwrite=True)
    with pytest.raises(SourceIsTarget):
        await content.copy(uta, "/a/b/c/f", "/a/b/c/f", overwrite=True)


async def test_a_move_keeps_the_thing(content: Content, uta: Caller) -> None:
    made = await content.write(uta, "/a/b/f", b"1", message="first")
    folder = await content.stat(uta, "/a/b")
    moved = await content.move(uta, "/a/b", "/x/y")
    assert moved.id == folder.id
    seen = await content.stat(uta, "/x/y/f")
    assert (seen.id, seen.version) == (made.id, 1)
    assert len(await content.checkpoints(uta, "/x/y/f")) == 1
    with pytest.raises(NotFound):
        await content.stat(uta, "/a/b/f")
    assert await paths(content, uta) == ["/a", "/x", "/x/y", "/x/y/f"]
    assert await counted_right(content, uta)


async def test_a_move_over_something_deletes_that(content: Content, uta: Caller) -> None:
    await content.write(uta, "/tmp", b"new")
    old = await content.write(uta, "/f", b"old")
    with pytest.raises(AlreadyExists):
        await content.move(uta, "/tmp", "/f")
    moved = await content.move(uta, "/tmp", "/f", overwrite=True, message="saved")
    assert moved.id != old.id
    assert [v.comment for v in await content.checkpoints(uta, "/f")] == ["saved"]
    assert await bytes_at(content, uta, "/f") == b"new"
    await content.move(uta, "/f", "/g")
    assert (await content.undelete(uta, "/f")).id == old.id
    assert await counted_right(content, uta)


async def test_deleted_is_hidden_and_comes_back(content: Content, uta: Caller) -> None:
    made = await content.write(uta, "/a/b/f", b"1", message="first")
    assert (await content.stat(uta, "/a/b/f")).id == made.id  # the way is remembered
    await content.delete(uta, "/a")
    for path in ("/a", "/a/b", "/a/b/f"):
        with pytest.raises(NotFound):
            await content.stat(uta, path)
        seen = await content.stat(uta, path, deleted=True)
        assert Flags.IS_DELETED in seen.flags
    assert await paths(content, uta) == []
    assert await paths(content, uta, deleted=True) == ["/a", "/a/b", "/a/b/f"]
    assert (await content.usage(uta, "/")).nodes == 0
    with pytest.raises(NotFound):
        await content.undelete(uta, "/a/b")
    back = await content.undelete(uta, "/a")
    assert Flags.IS_DELETED not in back.flags
    assert (await content.stat(uta, "/a/b/f")).id == made.id
    assert await bytes_at(content, uta, "/a/b/f", checkpoint=1) == b"1"
    assert await counted_right(content, uta)


async def test_undelete_needs_the_name(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1")
    with pytest.raises(AlreadyExists):
        await content.undelete(uta, "/f")
    with pytest.raises(NotFound):
        await content.undelete(uta, "/never")
    await content.delete(uta, "/f")
    await content.write(uta, "/f", b"2")
    with pytest.raises(AlreadyExists):
        await content.undelete(uta, "/f")
    await content.move(uta, "/f", "/F")
    with pytest.raises(AlreadyExists):
        await content.undelete(uta, "/f")


async def test_the_last_one_deleted_is_told_and_comes_back(content: Content, uta: Caller) -> None:
    for body in (b"1", b"2"):
        await content.write(uta, "/f", body)
        await content.delete(uta, "/f")
    page = await content.list(uta, "/", deleted=True)
    assert [(entry.name, entry.deleted_by) for entry in page.entries] == [("f", "Uta")]
    await content.undelete(uta, "/f")
    assert await bytes_at(content, uta, "/f") == b"2"


async def test_delete_one(content: Content, uta: Caller) -> None:
    await content.write(uta, "/a/f", b"1")
    with pytest.raises(FolderNotEmpty):
        await content.delete(uta, "/a", recursive=False)
    await content.delete(uta, "/a/f", recursive=False)
    await content.delete(uta, "/a", recursive=False)
    with pytest.raises(NotFound):
        await content.delete(uta, "/a")
    for act in (content.delete(uta, "/"), content.move(uta, "/", "/x")):
        with pytest.raises((Forbidden, SourceIsTarget)):
            await act


async def test_obliterate_is_for_ever_and_for_administrators(
    content: Content, uta: Caller, admin: Caller
) -> None:
    await content.write(uta, "/a/f", b"1" * 100, message="kept")
    await content.write(uta, "/a/g", b"2")
    await content.delete(uta, "/a/g")
    with pytest.raises(Forbidden):
        await content.obliterate(uta, "/a")
    with pytest.raises(FolderNotEmpty):
        await content.obliterate(admin, "/a", checkpoints=False)
    with pytest.raises(Conflict):
        await content.obliterate(admin, "/a/f", checkpoints=False)
    await content.obliterate(admin, "/a/g")
    await content.delete(uta, "/a")
    await content.obliterate(admin, "/a/f")  # in a folder that is deleted
    await content.undelete(uta, "/a")
    assert await paths(content, uta) == ["/a"]
    assert await counted_right(content, uta)
    await content.write(uta, "/a/h", b"3")
    await content.stat(uta, "/a/h")
    await content.obliterate(admin, "/a")
    with pytest.raises(NotFound):
        await content.stat(uta, "/a/h")
    with content.database.read() as db:
        for table in ("version", "property", "lock"):
            assert db.execute(f"SELECT count(*) FROM {table}").fetchone() == (0,)
        assert db.execute("SELECT count(*) FROM node").fetchone() == (1,)
        assert db.execute("SELECT count(*) FROM blob WHERE refs <> 0").fetchone() == (0,)


async def test_deleted_things_are_swept_away_in_time(content, uta: Caller, clock) -> None:
    await content.write(uta, "/a/f", b"1")
    await content.delete(uta, "/a")
    clock.advance(29 * 24 * 3600)
    await content.sweep()
    assert await paths(content, uta, deleted=True) == ["/a", "/a/f"]
    clock.advance(2 * 24 * 3600)
    await content.sweep()
    assert await paths(content, uta, deleted=True) == []


async def test_properties(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1")
    await content.patch_properties(uta, "/f", {"a": "1", "b": "2"}, ())
    await content.patch_properties(uta, "/f", {"b": "3"}, ("a", "none"))
    assert await content.properties(uta, "/f") == {"b": "3"}
    with pytest.raises(Exception, match="bytes in all"):
        await content.patch_properties(uta, "/f", {"c": "x" * 70_000, "d": "1"}, ("b",))
    assert await content.properties(uta, "/f") == {"b": "3"}


async def test_depth_is_bounded_for_what_is_moved_too(content: Content, uta: Caller) -> None:
    deep = "/d" * 61
    await content.create_folder(uta, deep, parents=True)
    await content.create_folder(uta, "/a/b/c/e", parents=True)
    for act in (content.copy, content.move):
        with pytest.raises(BadUrl):
            await act(uta, "/a", deep + "/a")
        await act(uta, "/a/b/c", f"{deep}/{act.__name__}")


async def test_tenants_do_not_see_each_other(content: Content, uta: Caller) -> None:
    other = Caller("u-1", "Uta", tenant="other")
    await content.write(uta, "/f", b"1")
    assert (await content.list(other, "/")).entries == []
    await content.write(other, "/f", b"2")
    assert await bytes_at(content, uta, "/f") == b"1"


async def test_quotas(content: Content, uta: Caller, admin: Caller) -> None:
    await content.write(uta, "/q/a/f", b"x" * 60)
    with pytest.raises(Forbidden):
        await content.set_quota(uta, "/q", bytes=100)
    await content.set_quota(admin, "/q", bytes=100, nodes=3)
    for refused in (
        content.write(uta, "/q/g", b"x" * 41),
        content.write(uta, "/q/g", b"x" * 70_000),
        content.write(uta, "/q/a/f", b"x" * 101),
        content.copy(uta, "/q/a", "/q/b"),
        content.create_folder(uta, "/q/1/2", parents=True),
    ):
        with pytest.raises(QuotaReached):
            await refused
    await content.write(uta, "/q/a/f", b"x" * 100)
    await content.write(uta, "/h", b"x" * 200)
    with pytest.raises(QuotaReached):
        await content.move(uta, "/h", "/q/h")
    await content.move(uta, "/q/a/f", "/q/f")  # within: nothing is added
    with pytest.raises(QuotaReached):
        await content.write(uta, "/q/f", b"x" * 101)
    usage = await content.usage(uta, "/q")
    assert (usage.bytes, usage.nodes, usage.max_bytes, usage.max_nodes) == (100, 2, 100, 3)
    await content.delete(uta, "/q/f")
    await content.write(uta, "/q/f", b"x" * 100)
    with pytest.raises(AlreadyExists):
        await content.undelete(uta, "/q/f")
    await content.set_quota(admin, "/q")
    assert (await content.usage(uta, "/q")).max_bytes is None
    assert await counted_right(content, uta)


async def test_the_operator_bounds_a_tenant(data, clock, uta: Caller) -> None:
    limits = Limits(quota_bytes=100, keep_deleted_s=10)
    content = await open_content(data, clock=clock, limits=limits)
    try:
        await content.write(uta, "/f", b"x" * 100)
        with pytest.raises(QuotaReached):
            await content.write(uta, "/g", b"1")
        usage = await content.usage(uta, "/")
        assert (usage.max_bytes, usage.max_nodes) == (100, None)
        await content.delete(uta, "/f")
        clock.advance(11)
        await content.sweep()
        with pytest.raises(NotFound):
            await content.undelete(uta, "/f")
    finally:
        await content.close()


async def test_rooms_are_not_copied(content: Content, uta: Caller) -> None:
    await content.edit(uta, lambda edit: edit.make_folders(edit.walk("/"), ["a"]))
    await content.edit(uta, lambda edit: edit.insert(edit.walk("/a").node.id, "room", "channel"))
    with pytest.raises(NotSupported):
        await content.copy(uta, "/a/room", "/b")
    await content.write(uta, "/a/f", b"1")
    await content.copy(uta, "/a", "/b")
    assert await paths(content, uta, "/b") == ["/b/f"]
    assert (await content.usage(uta, "/b")).nodes == 1


async def test_C10_pages_end_at_no_name_that_may_not_be_seen(
    content: Content, uta: Caller, admin: Caller
) -> None:
    for name in ("a", "secret-b", "secret-c", "d", "secret-e", "f"):
        await content.write(admin, f"/d/{name}/x", b"1")
        if name.startswith("secret"):
            await content.set_acl(admin, f"/d/{name}", [AclEntry("everyone", Access.NONE)])
    await content.set_acl(admin, "/d/secret-c/x", [AclEntry("everyone", Access.READ)])
    for recursive, wanted in (
        (False, ["/d/a", "/d/d", "/d/f"]),
        (True, ["/d/a", "/d/a/x", "/d/d", "/d/d/x", "/d/f", "/d/f/x", "/d/secret-c/x"]),
    ):
        for limit in (1, 2, 3, 100):
            after, seen = "", list[str]()
            while True:
                page = await content.list(uta, "/d", after=after, limit=limit, recursive=recursive)
                assert len(page.entries) <= limit
                seen += [entry.path for entry in page.entries]
                after = page.next
                if not after:
                    break
                assert page.entries[-1].path.endswith(after)
            assert seen == wanted


async def test_what_a_move_made_long_is_listed_all_the_same(content: Content, uta: Caller) -> None:
    """It has no path any more by which it could be asked for, but does not stop the listing."""
    long = "/".join("n" * 250 for _ in range(14))
    await content.write(uta, f"/one/{long}/f", b"1")
    await content.create_folder(uta, f"/two/{long}", parents=True)
    await content.move(uta, "/one", f"/two/{long}/one")
    await content.write(uta, "/z", b"1")
    after, seen = "", list[str]()
    while True:
        page = await content.list(uta, "/", after=after, limit=5, recursive=True)
        seen += [entry.path for entry in page.entries]
        after = page.next
        if not after:
            break
    assert (len(seen), seen[-1]) == (32, "/z")
