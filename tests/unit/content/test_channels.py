"""Channels: who is there hears what the others say, in one order, until it ends."""

from __future__ import annotations

import anyio
import pytest

from downstage.content import channels
from downstage.content.channels import ChannelEvent, ChannelMessage, Member
from downstage.content.model import Access, AclEntry, Caller
from downstage.content.service import Content
from downstage.kernel.errors import (
    Conflict,
    Forbidden,
    NotFound,
    TooLarge,
    TooMany,
    WrongType,
)

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

READ = Access.READ
WRITE = Access.WRITE


async def heard(member: Member, count: int) -> list[ChannelMessage]:
    with anyio.fail_after(5):
        return [await anext(member) for _ in range(count)]


async def test_who_is_there_hears_who_comes_speaks_and_goes(
    content: Content, uta: Caller, ben: Caller
) -> None:
    async with content.channels.join(uta, "/Rooms/one", hello=b"uta here") as first:
        async with content.channels.join(ben, "/Rooms/one", hello=b"ben here") as second:
            assert await heard(second, 1) == [
                ChannelMessage(ChannelEvent.HELLO, first.id, b"uta here", "Uta")
            ]
            await second.send(b"1")
            await first.send(b"2")
            await second.send(b"3")
        assert [(m.event, m.content) for m in await heard(first, 4)] == [
            ("join", b"ben here"),
            ("message", b"1"),
            ("message", b"3"),
            ("left", b""),
        ]
        assert [m.content for m in await heard(second, 1)] == [b"2"]
    entry = await content.stat(uta, "/Rooms/one")
    assert (entry.kind, content.channels.members(entry.id)) == ("channel", 0)


async def test_all_hear_one_order(content: Content, uta: Caller) -> None:
    async with (
        content.channels.join(uta, "/c") as a,
        content.channels.join(uta, "/c") as b,
        content.channels.join(uta, "/c") as c,
        content.channels.join(uta, "/c") as ear,
        content.channels.join(uta, "/c") as other_ear,
    ):
        await heard(ear, 4)
        await heard(other_ear, 4)

        async def speak(member: Member, name: str) -> None:
            for n in range(30):
                await member.send(f"{name}{n}".encode())
                await anyio.sleep(0)

        async with anyio.create_task_group() as tasks:
            for member, name in ((a, "a"), (b, "b"), (c, "c")):
                tasks.start_soon(speak, member, name)
        said = [m.content for m in await heard(ear, 90)]
        assert [m.content for m in await heard(other_ear, 90)] == said
        assert [m for m in said if m.startswith(b"a")] == [b"a%d" % n for n in range(30)]


async def test_who_dies_has_left(content: Content, uta: Caller, ben: Caller) -> None:
    joined = anyio.Event()

    async def connection() -> None:
        async with content.channels.join(ben, "/c"):
            joined.set()
            await anyio.sleep_forever()

    async with content.channels.join(uta, "/c") as member:
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(connection)
            await joined.wait()
            tasks.cancel_scope.cancel()
        assert [m.event for m in await heard(member, 2)] == ["join", "left"]


async def test_deleting_the_channel_ends_it(content: Content, uta: Caller, ben: Caller) -> None:
    async with content.channels.join(uta, "/a/c") as member, content.channels.join(ben, "/a/c"):
        await content.move(uta, "/a", "/b")
        await member.send(b"still here")
        await content.delete(uta, "/b")
        events = [m.event async for m in member]
        assert events == ["join", "deleted"]
        with pytest.raises((Conflict, NotFound)):
            await member.send(b"x")


async def test_who_loses_the_right_to_read_is_out(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    async with content.channels.join(uta, "/c") as first, content.channels.join(ben, "/c") as out:
        await content.set_acl(
            admin, "/c", [AclEntry("user:u-2", Access.NONE, READ | WRITE | Access.ADMIN)]
        )
        assert [m.event async for m in out] == ["hello", "deleted"]
        assert [m.event for m in await heard(first, 2)] == ["join", "left"]
    with pytest.raises(NotFound):
        await content.channels.join(ben, "/c").__aenter__()


async def test_who_may_only_read_may_only_listen(
    content: Content, uta: Caller, ben: Caller, admin: Caller
) -> None:
    async with content.channels.join(uta, "/c") as speaker:
        await content.set_acl(admin, "/c", [AclEntry("user:u-2", READ, WRITE)])
        async with content.channels.join(ben, "/c") as listener:
            with pytest.raises(Forbidden):
                await listener.send(b"x")
            await speaker.send(b"hear")
            assert [m.content for m in await heard(listener, 2)] == [b"", b"hear"]


async def test_only_who_may_write_makes_a_channel(content: Content, admin: Caller) -> None:
    reader = Caller("u-9", "Eve", may=READ)
    with pytest.raises(Forbidden):
        await content.channels.join(reader, "/new").__aenter__()
    await content.write(admin, "/file", b"x")
    with pytest.raises(WrongType):
        await content.channels.join(admin, "/file").__aenter__()


async def test_bounds_of_what_is_sent(content: Content, uta: Caller) -> None:
    async with content.channels.join(uta, "/c") as member:
        with pytest.raises(TooLarge):
            await member.send(bytes(channels.MAX_MESSAGE + 1))

        async def flood() -> None:
            for _ in range(2 * int(channels.BURST)):
                await member.send(b"x")

        with pytest.raises(TooMany):
            await flood()
    with pytest.raises(TooLarge):
        await content.channels.join(uta, "/c", hello=bytes(70_000)).__aenter__()


async def test_who_does_not_listen_is_cut_off(
    content: Content, uta: Caller, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MAX_WAITING", 5)
    async with content.channels.join(uta, "/c") as member, content.channels.join(ben, "/c") as deaf:
        for _ in range(8):
            await member.send(b"x")
        assert [(m.event, m.content) async for m in deaf] == [("error", b"too slow")]
        assert [m.event for m in await heard(member, 2)] == ["join", "left"]
        with pytest.raises(Conflict):
            await deaf.send(b"x")


async def test_a_channel_has_room_for_so_many(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MAX_MEMBERS", 1)
    async with content.channels.join(uta, "/c"):
        with pytest.raises(TooMany):
            await content.channels.join(uta, "/c").__aenter__()
    async with content.channels.join(uta, "/c"):
        pass


async def test_nobody_fills_a_channel_alone(
    content: Content, uta: Caller, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(channels, "MAX_OF_ONE", 1)
    async with content.channels.join(uta, "/c"), content.channels.join(ben, "/c"):
        with pytest.raises(TooMany):
            await content.channels.join(uta, "/c").__aenter__()


async def test_the_end_of_the_service_is_told(content: Content, uta: Caller) -> None:
    async with content.channels.join(uta, "/c") as member:
        await content.close()
        assert [(m.event, m.content) async for m in member] == [("error", b"shutdown")]


async def test_an_upload_is_written_like_a_body(content: Content, uta: Caller) -> None:
    upload = await content.uploads.create(uta, "/big", size=300_000)
    data = bytes(300_000)

    async def body():
        yield data

    await content.uploads.append(uta, upload.id, 0, body())
    async with content.uploads.finished(uta, upload.id) as staged:
        entry = await content.write(uta, upload.path, staged)
    assert entry.size == 300_000
    async with await content.read(uta, "/big") as reading:
        assert b"".join([piece async for piece in reading.pieces()]) == data
    with pytest.raises(Forbidden):
        await content.uploads.create(Caller("u-9", "Eve", may=READ), "/big")
