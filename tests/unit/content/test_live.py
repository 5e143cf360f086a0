"""Live layers on the server: order, disk, coming back, merging; no USD anywhere."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from pathlib import Path
from types import SimpleNamespace

import anyio
import pytest

from downstage.content import live as live_module
from downstage.content import live_room
from downstage.content.dialects import living
from downstage.content.dialects.calls import Asked
from downstage.content.live import Live, LiveMember
from downstage.content.live_room import key_of
from downstage.content.model import Access, AclEntry, Caller
from downstage.content.service import Content, open_content
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import (
    BadMessage,
    Conflict,
    Forbidden,
    PlatformError,
    TooMany,
    WrongType,
)
from downstage.live.document import Document
from downstage.live.messages import (
    Durable,
    Ended,
    Held,
    Join,
    Merged,
    Message,
    Ordered,
    People,
    Resumed,
    Welcome,
    unpack,
)
from downstage.live.ops import Create, Op, Set
from downstage.live.wire import decode, encode

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

MAKE = encode([Create("/A", "prim")])


def put(value: int) -> bytes:
    return encode([Set("/A", "x", bytes([value]))])


@pytest.fixture(autouse=True)
async def running(content: Content, uta: Caller) -> AsyncIterator[Live]:
    await content.write(uta, "/s.usda", b"#usda 1.0\n")
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(content.live.run)
        yield content.live
        tasks.cancel_scope.cancel()


async def heard(member: LiveMember, kind: type[Message]) -> Message:
    """The next message of a kind."""
    with anyio.fail_after(5):
        async for data in member:
            message = unpack(data)
            if isinstance(message, kind):
                return message
    raise AssertionError(f"ended without {kind.__name__}")


def document_of(welcome: Message) -> Document:
    assert isinstance(welcome, Welcome)
    assert welcome.snapshot is not None
    ops: list[Op] = decode(welcome.snapshot)
    for batch in welcome.batches:
        ops += decode(batch.ops)
    return Document.of(ops)


async def test_batches_come_to_all_in_one_order(running: Live, uta: Caller, ben: Caller) -> None:
    async with (
        running.open(uta, "/s.usda", Join("one")) as one,
        running.open(ben, "/s.usda", Join("two")) as two,
    ):
        await heard(one, Welcome)
        await heard(two, Welcome)
        one.submit(1, 1, MAKE)
        two.submit(1, 1, put(1))
        own = await heard(one, Ordered)
        assert own == Ordered(1, own.time, "one", 1, b"")
        other = await heard(one, Ordered)
        assert (other.seq, other.client, other.ops) == (2, key_of(ben, "two"), put(1))
        assert other.time > own.time
        assert (await heard(two, Ordered)).ops == MAKE
        assert await heard(two, Durable) == Durable(1)


async def test_a_late_joiner_gets_everything(running: Live, uta: Caller, ben: Caller) -> None:
    async with running.open(uta, "/s.usda", Join("one")) as one:
        one.submit(1, 1, MAKE)
        one.submit(1, 2, put(7))
        async with running.open(ben, "/s.usda", Join("two")) as two:
            document = document_of(await heard(two, Welcome))
    assert document.specs["/A"].fields == {"x": b"\x07"}


async def test_who_comes_back_gets_what_it_missed_and_nothing_twice(
    running: Live, uta: Caller, ben: Caller
) -> None:
    async with running.open(ben, "/s.usda", Join("two")) as two:
        async with running.open(uta, "/s.usda", Join("one")) as one:
            welcome = await heard(one, Welcome)
            one.submit(1, 1, MAKE)
        two.submit(1, 1, put(1))
        join = Join("one", welcome.epoch, welcome.incarnation, 1)
        async with running.open(uta, "/s.usda", join) as one:
            back = await heard(one, Welcome)
            assert back.snapshot is None
            assert back.known == 1
            assert [(b.client, b.ops) for b in back.batches] == [(key_of(ben, "two"), put(1))]
            one.submit(1, 1, MAKE)  # it never heard that this one arrived
            one.submit(1, 2, put(2))
            assert (await heard(one, Ordered)).n == 2


async def test_a_restart_keeps_what_was_told_durable(
    content: Content, running: Live, uta: Caller, data: Path, clock: ManualClock
) -> None:
    async with running.open(uta, "/s.usda", Join("one")) as one:
        welcome = await heard(one, Welcome)
        one.submit(1, 1, MAKE)
        await heard(one, Durable)
    await content.close()
    again = await open_content(data, clock=clock)
    try:
        join = Join("one", welcome.epoch, welcome.incarnation, 1)
        async with again.live.open(uta, "/s.usda", join) as one:
            back = await heard(one, Welcome)
        assert back.incarnation != welcome.incarnation
        assert (back.known, back.durable) == (1, 1)
        assert "/A" in document_of(back).specs
    finally:
        await again.close()


async def test_a_layer_follows_its_file(running: Live, content: Content, uta: Caller) -> None:
    async with running.open(uta, "/s.usda", Join("one")) as one:
        one.submit(1, 1, MAKE)
        await content.move(uta, "/s.usda", "/deeper.usda")
        async with running.open(uta, "/deeper.usda", Join("two")) as two:
            assert "/A" in document_of(await heard(two, Welcome)).specs


async def test_a_deleted_file_ends_its_members(
    running: Live, content: Content, uta: Caller
) -> None:
    async with running.open(uta, "/s.usda", Join("one")) as one:
        await content.delete(uta, "/s.usda")
        assert (await heard(one, Ended)).code == "conflict"
        with pytest.raises(Conflict):
            one.submit(1, 1, MAKE)


async def test_a_long_log_becomes_a_snapshot(
    running: Live, content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "COMPACT_BATCHES", 3)
    async with running.open(uta, "/s.usda", Join("one")) as one:
        one.submit(1, 1, MAKE)
        for n in range(2, 8):
            one.submit(1, n, put(n))
        with anyio.fail_after(5):
            while content.database.near.execute("SELECT seq FROM live_layer").fetchone() != (7,):
                await anyio.sleep(0.01)
        async with running.open(uta, "/s.usda", Join("two")) as two:
            welcome = await heard(two, Welcome)
    assert welcome.batches == []
    assert document_of(welcome).specs["/A"].fields == {"x": b"\x07"}


async def test_a_merge_begins_another_epoch(
    running: Live, content: Content, uta: Caller, ben: Caller
) -> None:
    async with (
        running.open(uta, "/s.usda", Join("one")) as one,
        running.open(ben, "/s.usda", Join("two")) as two,
    ):
        one.submit(1, 1, MAKE)
        assert one.hold() == 1
        assert await heard(two, Held) == Held(key_of(uta, "one"), 1)
        two.submit(1, 1, put(1))  # dropped: it will come again
        with pytest.raises(Conflict):
            two.hold()
        entry = await content.write(uta, "/s.usda", b"#usda 1.0\nmerged", message="together")
        assert await one.merged(entry.etag) == 2
        merged = await heard(two, Merged)
        assert (merged.epoch, merged.base, merged.checkpoint) == (2, entry.etag, 1)
        two.submit(1, 1, put(1))  # made over the old base: dropped as well
        two.submit(2, 1, MAKE)
        assert (await heard(two, Ordered)).n == 1
    async with running.open(uta, "/s.usda", Join("three")) as three:
        welcome = await heard(three, Welcome)
    assert (welcome.epoch, welcome.base) == (2, entry.etag)
    assert list(document_of(welcome).specs) == ["/", "/A"]


async def test_a_merge_of_another_content_is_refused_and_the_layer_goes_on(
    running: Live, uta: Caller
) -> None:
    async with running.open(uta, "/s.usda", Join("one")) as one:
        one.hold()
        with pytest.raises(PlatformError) as refused:
            await one.merged("0" * 64)
        assert refused.value.code == "version-mismatch"
        await heard(one, Resumed)
        one.submit(1, 1, MAKE)
        assert (await heard(one, Ordered)).seq == 1


async def test_the_hold_ends_with_its_member(running: Live, uta: Caller, ben: Caller) -> None:
    async with running.open(ben, "/s.usda", Join("two")) as two:
        async with running.open(uta, "/s.usda", Join("one")) as one:
            one.hold()
        await heard(two, Resumed)


async def test_people_are_told(running: Live, uta: Caller, ben: Caller) -> None:
    async with running.open(uta, "/s.usda", Join("one")) as one:
        async with running.open(ben, "/s.usda", Join("two")):
            came = await heard(one, People)
            assert [person.name for person in came.people] == ["Uta", "Ben"]
        assert [person.name for person in (await heard(one, People)).people] == ["Uta"]


async def test_a_reader_may_only_look(
    running: Live, content: Content, admin: Caller, ben: Caller
) -> None:
    await content.set_acl(admin, "/s.usda", [AclEntry("user:u-2", Access.READ, Access.WRITE)])
    async with running.open(ben, "/s.usda", Join("two")) as two:
        assert (await heard(two, Welcome)).may_write is False
        with pytest.raises(Forbidden):
            two.submit(1, 1, MAKE)


async def test_only_files_have_layers(running: Live, content: Content, uta: Caller) -> None:
    await content.create_folder(uta, "/folder")
    with pytest.raises(WrongType):
        async with running.open(uta, "/folder", Join("one")):
            pass


@pytest.mark.parametrize(
    "hostile",
    [
        b"",
        b"\xc1",
        b"\x91" * 100_000,
        encode([Set("/A/../B", "x", b"")]),
        encode([Create("/" + "A/" * 200 + "B", "prim")]),
        encode([Set("/A", "", b"")]),
    ],
    ids=["empty", "no msgpack", "nested", "dots", "deep", "no field"],
)
async def test_hostile_batches_end_their_sender_alone(
    running: Live, uta: Caller, ben: Caller, hostile: bytes
) -> None:
    async with (
        running.open(ben, "/s.usda", Join("two")) as two,
        running.open(uta, "/s.usda", Join("one")) as one,
    ):
        with pytest.raises(BadMessage):
            one.submit(1, 1, hostile)
        assert (await heard(one, Ended)).code == "bad-message"
        two.submit(1, 1, MAKE)
        assert (await heard(two, Ordered)).seq == 1


async def test_who_does_not_follow_is_cut(
    running: Live, uta: Caller, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_room, "MAX_WAITING", 4)
    async with (
        running.open(ben, "/s.usda", Join("two")) as two,
        running.open(uta, "/s.usda", Join("one")) as one,
    ):
        await heard(one, Welcome)
        one.submit(1, 1, MAKE)
        for n in range(2, 10):
            one.submit(1, n, put(n))
            await heard(one, Ordered)
        assert (await heard(two, Ended)).code == "too-many"


async def test_a_full_layer_takes_nothing_more(
    running: Live, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_room, "MAX_LAYER", 30)
    async with running.open(uta, "/s.usda", Join("one")) as one:
        one.submit(1, 1, MAKE)
        with pytest.raises(PlatformError) as refused:
            one.submit(1, 2, encode([Set("/A", "x", bytes(40))]))
        assert refused.value.code == "too-large"


async def test_A07_nobody_takes_the_name_of_anothers_client(
    running: Live, uta: Caller, ben: Caller
) -> None:
    """It is told to all; who comes under it is not who had it."""
    async with running.open(uta, "/s.usda", Join("one")) as one:
        one.submit(1, 1, MAKE)
        await heard(one, Durable)
        async with running.open(ben, "/s.usda", Join("one")) as thief:
            welcome = await heard(thief, Welcome)
            assert (welcome.known, len(welcome.people)) == (0, 2)
            assert [person.client for person in welcome.people] == [key_of(uta, "one"), "one"]
            thief.submit(1, 1, put(1))
            told = await heard(one, Ordered)
            assert (told.client, told.ops) == (key_of(ben, "one"), put(1))
            one.submit(1, 2, put(2))
            own = await heard(one, Ordered)
            assert (own.client, own.n, own.ops) == ("one", 2, b"")


async def test_C07_a_merge_goes_on_when_its_client_goes(
    running: Live, content: Content, uta: Caller, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Were the layer let go in between, what others do then would be in neither epoch."""
    write, begun, go_on = content.database.write, anyio.Event(), anyio.Event()

    async def slow(job: object) -> object:
        begun.set()
        await go_on.wait()
        return await write(job)

    async with running.open(ben, "/s.usda", Join("two")) as two:
        async with running.open(uta, "/s.usda", Join("one")) as one:
            one.submit(1, 1, MAKE)
            await heard(one, Durable)
            one.hold()
            entry = await content.write(uta, "/s.usda", b"#usda 1.0\nmerged")
            monkeypatch.setattr(content.database, "write", slow)
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(one.merged, entry.etag)
                await begun.wait()
                tasks.cancel_scope.cancel()
        monkeypatch.setattr(content.database, "write", write)
        two.submit(1, 1, put(1))  # the layer is still held: it will come again
        go_on.set()
        assert (await heard(two, Merged)).epoch == 2
        two.submit(2, 1, MAKE)
        assert (await heard(two, Ordered)).n == 1
        assert await heard(two, Durable) == Durable(1)
    async with running.open(uta, "/s.usda", Join("three")) as three:
        assert list(document_of(await heard(three, Welcome)).specs) == ["/", "/A"]


async def test_rights_are_looked_for_where_the_file_is_now(
    running: Live, content: Content, uta: Caller, admin: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live_module, "CHECK_S", 0.01)
    await content.create_folder(admin, "/shown")
    await content.set_acl(admin, "/shown", [AclEntry("everyone", Access.READ, Access.WRITE)])
    async with running.open(uta, "/s.usda", Join("one")) as one:
        await content.move(admin, "/s.usda", "/shown/s.usda")
        await content.write(uta, "/s.usda", b"another that may be written")
        with anyio.fail_after(5):
            while one.may_write:
                await anyio.sleep(0.01)


async def test_a_layer_that_nobody_is_in_is_let_go(running: Live, uta: Caller) -> None:
    async with running.open(uta, "/s.usda", Join("one")):
        assert running._rooms
    with anyio.fail_after(5):
        while running._rooms:
            await anyio.sleep(0.01)


async def test_a_full_layer_can_still_be_joined(
    running: Live, uta: Caller, ben: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert live_room.MAX_LAYER < live_room.MAX_WAITING_BYTES
    monkeypatch.setattr(live_room, "MAX_OF_ONE", 2)
    async with (
        running.open(uta, "/s.usda", Join("one")),
        running.open(uta, "/s.usda", Join("two")),
        running.open(ben, "/s.usda", Join("two")),
    ):
        with pytest.raises(TooMany):
            async with running.open(uta, "/s.usda", Join("three")):
                pass


async def test_large_batches_keep_their_turn(running: Live, uta: Caller, ben: Caller) -> None:
    """They are looked at in a thread; what comes after waits for them."""
    async with (
        running.open(ben, "/s.usda", Join("two")) as two,
        running.open(uta, "/s.usda", Join("one")) as one,
    ):
        large = encode([Set("/A", "x", bytes(2 * live_room.AT_ONCE))])
        asked = Submitting(one)
        assert asked.submit(1, MAKE) is None
        calls = [asked.submit(2, large), asked.submit(3, put(3)), asked.hold()]
        async with anyio.create_task_group() as tasks:
            for call in calls:
                assert isinstance(call, Awaitable)
                tasks.start_soon(finish, call)
        assert [(await heard(two, Ordered)).n for _ in range(3)] == [1, 2, 3]
        assert (await heard(two, Held)).seq == 3
        assert one.queued == 0


async def finish(call: Awaitable[object]) -> None:
    await call


class Submitting:
    """The socket's operations, with one layer open under the call 7."""

    def __init__(self, member: LiveMember) -> None:
        self._live = living._Handlers(SimpleNamespace(live=None))
        self._line = SimpleNamespace(held={7: member})

    def submit(self, n: int, ops: bytes) -> object:
        args = living.SubmitArgs(member=7, epoch=1, n=n, ops=ops)
        return self._live.submit(Asked(n, args, self._line))

    def hold(self) -> object:
        return self._live.hold(Asked(99, living.MemberArgs(member=7), self._line))
