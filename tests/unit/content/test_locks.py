"""Locks: who alone may write, until when."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest

from downstage.content.model import Access, Caller
from downstage.content.service import Content
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import Forbidden, InvalidField, Locked, NotFound

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

Act = Callable[[Content, Caller], Awaitable[object]]
CHANGES: dict[str, Act] = {
    "write": lambda c, who: c.write(who, "/d/f", b"2"),
    "write much": lambda c, who: c.write(who, "/d/f", b"2" * 100_000),
    "copy over": lambda c, who: c.copy(who, "/g", "/d/f", overwrite=True),
    "move over": lambda c, who: c.move(who, "/g", "/d/f", overwrite=True),
    "move": lambda c, who: c.move(who, "/d/f", "/x"),
    "move above": lambda c, who: c.move(who, "/d", "/x"),
    "delete": lambda c, who: c.delete(who, "/d/f"),
    "delete above": lambda c, who: c.delete(who, "/d"),
    "checkpoint": lambda c, who: c.checkpoint(who, "/d/f", "why"),
    "properties": lambda c, who: c.patch_properties(who, "/d/f", {"a": "b"}, ()),
    "lock": lambda c, who: c.lock(who, "/d/f"),
    "lock above": lambda c, who: c.lock(who, "/d"),
}


@pytest.mark.parametrize("name", CHANGES)
async def test_only_the_holder_changes_it(
    content: Content, uta: Caller, ben: Caller, name: str
) -> None:
    await content.write(uta, "/d/f", b"1")
    await content.write(uta, "/g", b"1")
    await content.lock(uta, "/d/f")
    with pytest.raises(Locked):
        await CHANGES[name](content, ben)
    await CHANGES[name](content, uta)


async def test_a_folder_is_locked_with_all_below(
    content: Content, uta: Caller, ben: Caller
) -> None:
    await content.write(uta, "/d/e/f", b"1")
    await content.lock(uta, "/d")
    for refused in (
        content.write(ben, "/d/e/f", b"2"),
        content.write(ben, "/d/e/new", b"2"),
        content.create_folder(ben, "/d/new"),
        content.copy(ben, "/d/e/f", "/d/new"),
        content.move(ben, "/d/e", "/x"),
        content.lock(ben, "/d/e/f"),
        content.delete(ben, "/d/e/f"),
    ):
        with pytest.raises(Locked):
            await refused
    await content.copy(ben, "/d", "/x")
    await content.write(uta, "/d/new", b"1")
    (lock,) = await content.locks(ben, "/d/e/f")
    assert (lock.path, lock.owner) == ("/d", "Uta")
    await content.delete(uta, "/d")
    await content.undelete(uta, "/d")
    assert await content.locks(uta, "/d", below=True) == []


async def test_a_session_owns_a_lock_not_its_person(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1")
    await content.lock(uta, "/f")
    other = Caller(uta.subject, uta.name, client_id="another window")
    with pytest.raises(Locked):
        await content.write(other, "/f", b"2")
    await content.unlock(uta, "/f")
    nowhere = Caller(uta.subject, uta.name)
    await content.lock(nowhere, "/f")
    await content.write(other, "/f", b"2")  # locked by the person: any of its sessions


async def test_a_lock_follows_a_move(content: Content, uta: Caller, ben: Caller) -> None:
    await content.write(uta, "/d/f", b"1")
    await content.lock(uta, "/d/f", shared_note="mine")
    await content.move(uta, "/d", "/e")
    (lock,) = await content.locks(uta, "/e", below=True)
    assert (lock.path, lock.note) == ("/e/f", "mine")
    with pytest.raises(Locked):
        await content.write(ben, "/e/f", b"2")
    entry = await content.stat(ben, "/e/f")
    assert (entry.locked_by, entry.lock_expires_at) == ("Uta", lock.expires_at)
    (listed,) = (await content.list(ben, "/e")).entries
    assert listed == entry


async def test_a_lease_ends(content: Content, uta: Caller, ben: Caller, clock: ManualClock) -> None:
    await content.write(uta, "/f", b"1")
    lock = await content.lock(uta, "/f", lease_s=60)
    clock.advance(50)
    renewed = await content.renew_lock(uta, "/f", lock.token, 60)
    assert (renewed.token, renewed.etag) == (lock.token, lock.etag)
    clock.advance(59)
    with pytest.raises(Locked):
        await content.write(ben, "/f", b"2")
    clock.advance(1)
    assert (await content.stat(ben, "/f")).locked_by == ""
    await content.write(ben, "/f", b"2")
    with pytest.raises(NotFound):
        await content.renew_lock(uta, "/f", lock.token, 60)


async def test_S05_the_wall_clock_neither_ends_nor_prolongs_a_lease(
    content: Content, uta: Caller, ben: Caller, clock: ManualClock
) -> None:
    await content.write(uta, "/f", b"1")
    await content.lock(uta, "/f", lease_s=60)
    clock.jump(3600)
    with pytest.raises(Locked):
        await content.write(ben, "/f", b"2")
    clock.jump(-7200)
    clock.advance(61)
    await content.write(ben, "/f", b"2")


async def test_C07_the_lock_of_a_dead_owner_ends(
    content: Content, uta: Caller, ben: Caller, clock: ManualClock
) -> None:
    await content.write(uta, "/f", b"1")
    lock = await content.lock(uta, "/f", lease_s=3600)
    await content.release_client("c-uta", grace_s=30)
    clock.advance(29)
    with pytest.raises(Locked):
        await content.write(ben, "/f", b"2")
    # Back in time over a new connection, with the token.
    again = Caller(uta.subject, uta.name, client_id="c-uta")
    await content.renew_lock(again, "/f", lock.token, 3600)
    clock.advance(31)
    with pytest.raises(Locked):
        await content.write(ben, "/f", b"2")
    await content.release_client("c-uta", grace_s=30)
    clock.advance(31)
    async with content.subscribe(ben, "/f", "node") as events:
        await content.sweep()
        assert (await anext(events)).kind == "unlocked"
    await content.lock(ben, "/f")


async def test_C07_a_lock_is_not_stolen(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    await content.write(uta, "/f", b"1")
    lock = await content.lock(uta, "/f")
    for refused in (
        content.unlock(ben, "/f"),
        content.unlock(ben, "/f", token=lock.token),
        content.renew_lock(ben, "/f", lock.token, 10),
        content.unlock(uta, "/f", token="wrong"),
    ):
        with pytest.raises(Locked):
            await refused
    with pytest.raises(Forbidden):
        await content.unlock(ben, "/f", force=True)
    await content.unlock(admin, "/f", force=True)
    with pytest.raises(NotFound):
        await content.unlock(uta, "/f", token=lock.token)
    await content.lock(ben, "/f")


async def test_locks_outlive_a_restart(data, clock, uta: Caller, ben: Caller) -> None:
    from downstage.content.service import open_content

    first = await open_content(data, clock=clock)
    await first.write(uta, "/f", b"1")
    await first.lock(uta, "/f", lease_s=600)
    await first.close()
    clock.reboot("boot-2")
    second = await open_content(data, clock=clock)
    try:
        assert (await second.stat(ben, "/f")).locked_by == "Uta"
        with pytest.raises(Locked):
            await second.write(ben, "/f", b"2")
        clock.advance(600)
        await second.write(ben, "/f", b"2")
    finally:
        await second.close()


@pytest.mark.parametrize("lease_s", [0.0, -1.0, 1e9, float("nan"), float("inf")])
async def test_leases_are_bounded(content: Content, uta: Caller, lease_s: float) -> None:
    await content.write(uta, "/f", b"1")
    with pytest.raises(InvalidField):
        await content.lock(uta, "/f", lease_s=lease_s)


async def test_who_only_reads_takes_no_lock(content: Content, uta: Caller) -> None:
    await content.write(uta, "/f", b"1")
    with pytest.raises(Forbidden):
        await content.lock(Caller("r", "R", may=Access.READ), "/f")


async def test_the_root_is_locked_by_administrators_alone(
    content: Content, uta: Caller, admin: Caller
) -> None:
    with pytest.raises(Forbidden):
        await content.lock(uta, "/")
    await content.lock(admin, "/")
    with pytest.raises(Locked):
        await content.write(uta, "/f", b"1")
