"""A session has one home: when that dies it moves to exactly one other, and never back."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import anyio
import pytest
from tests.real.gateway.homes import Gateway, gateway

from downstage.bus import MemoryBus
from downstage.gateway import homes
from downstage.gateway.models import Key, Seat
from downstage.gateway.states import EndAsked, LeaseRanOut, PictureSeen, ViewersChanged
from downstage.kernel.errors import Misdirected

pytestmark = [pytest.mark.real, pytest.mark.anyio]
both = pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True)


@dataclass
class Several:
    """Three gateways on one database; `bus` carries the hints of those that share it."""

    first: Gateway
    second: Gateway
    third: Gateway


@pytest.fixture
async def several(data: Path, database: str | None) -> AsyncIterator[Several]:
    async with AsyncExitStack() as stack:
        path = data / "gateway.db"
        found = [await stack.enter_async_context(gateway(path, database)) for _ in range(3)]
        yield Several(*found)


@dataclass
class Line:
    """A viewer's or a streamer's socket."""

    said: list[Any] = field(default_factory=list[Any])
    closed: tuple[int, str] | None = None

    def send(self, message: Any) -> None:
        self.said.append(message)

    def close(self, code: int = 1000, reason: str = "") -> None:
        self.closed = (code, reason)


@both
async def test_a_living_home_is_named_and_a_dead_one_is_replaced(several: Several) -> None:
    session = await several.first.put()
    with pytest.raises(Misdirected) as refused:
        await several.second.takeover.at_home(session)
    assert refused.value.home == several.first.url
    several.first.die()  # its row is fresh, but nobody listens: no need to wait for the lease
    taken = await several.third.takeover.at_home(session)
    assert taken.home == several.third.url
    assert several.third.marked == [session.id]
    with pytest.raises(Misdirected) as refused:
        await several.second.takeover.at_home(taken)
    assert refused.value.home == several.third.url


@both
async def test_of_two_that_race_exactly_one_gets_each_session(several: Several) -> None:
    found = [await several.first.put() for _ in range(12)]
    await several.first.fall_silent()
    homes = dict[str, list[str]]()

    async def take(who: Gateway, session: Any) -> None:
        try:
            taken = await who.takeover.at_home(session)
        except Misdirected as error:
            homes.setdefault(session.id, []).append(f"told {error.home}")
        else:
            homes.setdefault(session.id, []).append(taken.home)

    async with anyio.create_task_group() as tasks:
        for session in found:
            tasks.start_soon(take, several.second, session)
            tasks.start_soon(take, several.third, session)
    for session in found:
        row = await several.first.store.fresh(session.id)
        assert row is not None
        assert sorted(homes[session.id]) == [row.home, f"told {row.home}"]
        assert row.revision == session.revision + 1


@both
async def test_who_lost_a_session_changes_it_no_more_and_closes_its_lines(several: Several) -> None:
    first, second = several.first, several.second
    session = await first.put()
    await first.sessions.apply(session.id, PictureSeen(), ViewersChanged(1))
    room, line, link = first.rooms.enter(session.id), Line(), Line()
    viewer = room.join(
        Seat("s-1", session.id, "main", "anna", "controller", session.created_at), line
    )
    room.attach(link, ["s-1.p-1"])  # and a picture that goes on
    await first.fall_silent()  # stopped, or cut off: it believes that all is as it was
    taken = await second.takeover.at_home(session)
    assert taken.life.state == "disconnected"
    assert first.store.peek(session.id) is not None
    stale = await first.sessions.apply(session.id, LeaseRanOut("maximum"), ViewersChanged(0))
    assert stale is not None
    assert stale.home == second.url
    now = await second.store.fresh(session.id)
    assert now is not None
    assert now.revision == taken.revision
    await first.homes.beat()
    await first.takeover.look_around()
    assert line.closed == link.closed == (4003, "moved")
    assert first.store.peek(session.id) is None
    room.detach(link)
    room.leave(viewer)
    first.rooms.tidy(room)
    assert not first.rooms.ids()  # else it would be looked after for ever
    await first.takeover.adopt_orphans()
    await first.takeover.adopt_orphans()
    with pytest.raises(Misdirected):
        await first.takeover.at_home(now)


async def test_orphans_are_taken_at_the_second_look_by_one(several: Several) -> None:
    sessions = [(await several.first.put()).id for _ in range(3)]
    kept = await several.second.put()
    await several.first.fall_silent()
    looks = (several.second.takeover, several.third.takeover)
    for takeover in looks:
        await takeover.adopt_orphans()
    assert not several.second.marked
    async with anyio.create_task_group() as tasks:
        for takeover in looks:
            tasks.start_soon(takeover.adopt_orphans)
    assert sorted(several.second.marked + several.third.marked) == sorted(sessions)
    row = await several.third.store.fresh(kept.id)
    assert row is not None
    assert row.home == several.second.url


async def test_a_gateway_that_is_alone_takes_all_at_once(data: Path) -> None:
    path = data / "gateway.db"
    async with gateway(path, None, alone=True) as before:
        session = await before.put()
    async with gateway(path, None, alone=True) as after:  # on another port
        await after.takeover.adopt_orphans()
        row = await after.store.get(session.id)
        assert row is not None
        assert row.home == after.url
        assert after.marked == [session.id]


@both
async def test_the_end_may_be_asked_for_at_any_gateway(several: Several) -> None:
    first, second = several.first, several.second
    session = await first.put()
    ending = await second.sessions.end(session.id)
    assert (ending.life.state, ending.home) == ("ending", first.url)
    assert second.store.peek(session.id) is None
    link = Line()
    first.rooms.enter(session.id).attach(link, [])
    await first.takeover.look_around()  # no hint came: the bus of one process is its own
    assert link.said[-1] == {"type": "end", "reason": "stopped"}
    known = first.store.peek(session.id)
    assert known is not None
    assert known.life.state == "ending"


async def test_a_hint_of_another_gateway_is_followed_at_once(data: Path) -> None:
    path, bus = data / "gateway.db", MemoryBus()
    async with (
        gateway(path, None, bus) as first,
        gateway(path, None, bus) as second,
        anyio.create_task_group() as tasks,
    ):
        session = await first.put()
        tasks.start_soon(first.takeover._listen)  # pyright: ignore[reportPrivateUsage]
        await anyio.wait_all_tasks_blocked()
        with anyio.fail_after(10):
            await second.sessions.apply(session.id, EndAsked())
            known = first.store.peek(session.id)
            while known is None or known.life.state != "ending":
                await anyio.sleep(0.01)
                known = first.store.peek(session.id)
        tasks.cancel_scope.cancel()


@both
async def test_one_key_at_two_gateways_makes_one_session(several: Several) -> None:
    made = list[bool]()
    session = await several.first.put()
    await several.first.store.forget(session.id)
    key = Key("main", "anna", "once", "0" * 64)

    async def insert(who: Gateway) -> None:
        made.append(await who.store.insert(session, key))

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(insert, several.first)
        tasks.start_soon(insert, several.second)
    assert sorted(made) == [False, True]


async def test_signs_of_life_count_by_the_databases_clock(several: Several) -> None:
    first, second = several.first, several.second
    assert await second.homes.living() == sorted([first.url, second.url, several.third.url])
    await first.fall_silent(3000)
    assert await second.homes.is_alive(first.url)
    await first.fall_silent(1000)
    assert not await second.homes.is_alive(first.url)
    assert await first.homes.is_alive(first.url)
    assert first.url not in await second.homes.living()
    await first.homes.beat()
    assert await second.homes.is_alive(first.url)
    await first.homes.leave()
    assert not await second.homes.is_alive(first.url)


async def test_who_is_late_and_does_not_answer_is_cut_off_and_who_is_busy_is_not(
    several: Several, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second = several.first, several.second
    found = {first.url: "open"}

    async def look(url: str) -> Any:
        return found.get(url, "open")

    monkeypatch.setattr(homes, "_look_at", look)
    monkeypatch.setattr(homes, "BELIEVED_S", dict.fromkeys(("open", "refused", "silent"), 0.0))
    await first.be_late()
    assert await second.homes.is_alive(first.url)  # busy: its system still answers
    found[first.url] = "silent"
    assert not await second.homes.is_alive(first.url)
    # The way to it may be barred from some places for ever: that alone says nothing.
    assert await several.third.homes.is_alive(first.url)
    await first.homes.beat()
    assert await second.homes.is_alive(first.url)  # it lives: only the way to it is broken
    session = await first.put()
    await first.be_late()
    taken = await second.takeover.at_home(session)
    assert taken.home == second.url
    await first.homes.beat()
    with pytest.raises(Misdirected) as refused:  # back again, it does not fight for it
        await first.takeover.at_home(taken)
    assert refused.value.home == second.url
