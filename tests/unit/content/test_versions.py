"""Contents and checkpoints of a file."""

from __future__ import annotations

import threading

import pytest

from downstage.content import versions
from downstage.content.model import Caller, Flags, Version
from downstage.content.service import Content
from downstage.kernel.errors import Forbidden, InvalidField, NotFound

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


async def told(content: Content, caller: Caller) -> list[tuple[int, int, int, str]]:
    found = await content.versions(caller, "/f")
    return [(v.n, v.checkpoint, v.size, v.comment) for v in found]


async def test_checkpoints_count_from_one(content: Content, uta: Caller, ben: Caller) -> None:
    await content.write(uta, "/f", b"1")
    one = await content.checkpoint(uta, "/f", "first")
    assert (one.n, one.checkpoint, one.comment, one.by) == (1, 1, "first", "Uta")
    assert await content.checkpoint(ben, "/f", "again") == one
    await content.write(ben, "/f", b"22")
    await content.write(ben, "/f", b"333", message="third")
    forced = await content.checkpoint(uta, "/f", "the same", force=True)
    assert (forced.n, forced.checkpoint, forced.size) == (4, 3, 3)
    assert await told(content, uta) == [
        (4, 3, 3, "the same"),
        (3, 2, 3, "third"),
        (2, 0, 2, ""),
        (1, 1, 1, "first"),
    ]
    assert [v.checkpoint for v in await content.checkpoints(uta, "/f")] == [3, 2, 1]
    entry = await content.stat(uta, "/f")
    assert (entry.version, entry.comment, entry.checkpoint) == (4, "the same", 0)
    assert Flags.IS_CHECKPOINTED in entry.flags


@pytest.mark.parametrize("comment", ["", " \t\n", "x" * 5000])
async def test_a_checkpoint_needs_a_comment(content: Content, uta: Caller, comment: str) -> None:
    await content.write(uta, "/f", b"1")
    with pytest.raises(InvalidField):
        await content.checkpoint(uta, "/f", comment)
    assert await content.checkpoints(uta, "/f") == []


async def test_the_past_is_read(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1" * 100_000, message="large")
    await content.write(uta, "/f", b"2")
    past = await content.stat(uta, "/f", checkpoint=1)
    assert (past.size, past.checkpoint, past.version, past.comment) == (100_000, 1, 1, "large")
    async with await content.read(uta, "/f", checkpoint=1) as reading:
        assert await reading.read() == b"1" * 100_000
    async with await content.read(uta, "/f", version=2) as reading:
        assert reading.data == b"2"
    (answer,) = content.stat_many(uta, [("/f", 1)])
    assert answer == past
    for which in ({"checkpoint": 2}, {"version": 3}):
        with pytest.raises(NotFound):
            await content.read(uta, "/f", **which)


async def test_restore_makes_a_new_checkpoint(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1", message="first")
    await content.write(uta, "/f", b"22", message="second")
    back = await content.restore(uta, "/f", 1)
    assert (back.version, back.size) == (3, 1)
    assert [v.comment for v in await content.checkpoints(uta, "/f")] == [
        "Restored checkpoint 1",
        "second",
        "first",
    ]
    with pytest.raises(NotFound):
        await content.restore(uta, "/f", 9)


async def test_old_contents_go_and_checkpoints_stay(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"first", message="kept")
    for n in range(versions.KEPT + 5):
        await content.write(uta, "/f", b"%d" % n)
    found = await content.versions(uta, "/f")
    assert len(found) == versions.KEPT + 1
    assert found[-1].comment == "kept"
    with content.database.read() as db:
        (unused,) = db.execute("SELECT count(*) FROM blob WHERE refs = 0").fetchone()
        (held,) = db.execute("SELECT sum(refs) FROM blob").fetchone()
    assert (unused, held) == (5, versions.KEPT + 1)


async def test_who_only_reads_makes_no_checkpoint(content: Content, uta: Caller) -> None:
    from downstage.content.model import Access

    await content.write(uta, "/f", b"1", message="first")
    reader = Caller("u-9", "Rea", may=Access.READ)
    assert len(await content.checkpoints(reader, "/f")) == 1
    for act in (content.checkpoint(reader, "/f", "x"), content.restore(reader, "/f", 1)):
        with pytest.raises(Forbidden):
            await act


async def test_long_lists_do_not_hold_the_loop(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Anybody who may write makes as many checkpoints as they like."""
    await content.write(uta, "/f", b"1")
    for n in range(5):
        await content.checkpoint(uta, "/f", f"{n}", force=True)
    threads = set[int]()
    listed = versions.list_versions

    def counted(*args: object, **more: object) -> list[Version]:
        threads.add(threading.get_ident())
        return listed(*args, **more)

    monkeypatch.setattr(versions, "list_versions", counted)
    monkeypatch.setattr(versions, "LISTED", 3)
    assert [one.checkpoint for one in await content.checkpoints(uta, "/f")] == [5, 4, 3]
    assert len(await content.versions(uta, "/f")) == 3
    assert threading.get_ident() not in threads
