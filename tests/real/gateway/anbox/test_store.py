"""What the dialect keeps: lists, shares, seats and settings, on SQLite and PostgreSQL."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from pydantic import SecretStr

from downstage.auth.seal import Sealer
from downstage.contracts.manager import Display
from downstage.gateway.dialects.anbox.settings import Items
from downstage.gateway.listing import Listing, Wanted
from downstage.gateway.models import Seat, Session
from downstage.gateway.shares import DialectSettings, Share, Shares, new_share
from downstage.gateway.states import Life
from downstage.gateway.store import Store
from downstage.kernel.errors import Forbidden, InvalidField, InvalidToken, NotFound
from downstage.services.facilities.database import Database, open_database

pytestmark = [
    pytest.mark.real,
    pytest.mark.anyio,
    pytest.mark.parametrize("database", ["sqlite", "postgresql"], indirect=True),
]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
DAY = timedelta(days=1)


@pytest.fixture
async def opened(data: Path, database: str | None) -> AsyncIterator[Database]:
    found = await open_database(
        data / "gateway.db",
        name="gateway",
        migrations="downstage.gateway.migrations",
        url=SecretStr(database) if database else None,
    )
    yield found
    await found.close()


def session(number: int, state: Any = "active", outcome: Any = None, **more: Any) -> Session:
    life = Life(state, None, None, f"i-{number}", outcome=outcome)
    moment = NOW + timedelta(seconds=number)
    made = Session(
        f"{number}", "main", "anna", "anna", f"app-{number % 3}", None, "local", "http://gw",
        Display(), life, moment, moment,
    )  # fmt: skip
    return replace(made, **more)


async def test_lists_are_filtered_sorted_cut_and_counted(opened: Database) -> None:
    store, listing = Store(opened, "http://gw"), Listing(opened)
    rows = [
        session(1),
        session(2, "starting"),
        session(3, "ended", "failed"),
        session(4, "ended", "stopped", extra={"kept": True}),
        session(5, "ended", "stopped"),
        session(6, "ended", "failed", extra={"deleted": True}),
        session(7, extra={"deleted": True, "forced": True}),
        session(8, extra={"deleted": True}),
        session(9, owner="ben"),
        session(10, "ended", "failed", updated_at=NOW - 2 * DAY),
    ]
    for row in rows:
        await store.insert(row, None)

    async def ids(owner: str | None = "anna", **more: Any) -> tuple[list[str], int]:
        found, total = await listing.page(Wanted("main", owner, NOW - DAY, **more))
        return [item.id for item in found], total

    assert await ids() == (["1", "2", "3", "4", "8"], 5)
    assert await ids(None) == (["1", "2", "3", "4", "8", "9"], 6)
    assert await ids(limit=2, offset=1, descending=True) == (["4", "3"], 5)
    assert await ids(states=["ended"], failed=True) == (["3"], 1)
    assert await ids(states=["ended"], failed=False) == (["4"], 1)
    assert await ids(by="application", limit=2) == (["3", "1"], 5)
    assert await ids("nobody") == ([], 0)


async def test_a_share_opens_its_session_until_it_ends(opened: Database) -> None:
    shares = Shares(opened, Sealer(b"k" * 32))
    wanted = new_share(session(1), "anna", "spectator", "for Ben", now=NOW, end=NOW + DAY)
    share = await shares.add(wanted, most=2)
    assert share.id.startswith("h-")
    seats = {(await shares.use("1", share.token, NOW))[1] for _ in range(20)}
    assert len(seats) == 16, "a crowd shares as many seats as there are"
    for session_id, token, now in (
        ("2", share.token, NOW),
        ("1", "nonsense", NOW),
        ("1", "", NOW),
        ("1", "x" * 9999, NOW),
        ("1", share.token, NOW + DAY),
    ):
        with pytest.raises(InvalidToken):
            await shares.use(session_id, token, now)
    later = replace(share, expires_at=NOW + 2 * DAY, description="new")
    await shares.change(later)
    assert await shares.get(share.id, NOW + DAY) == later
    with pytest.raises(NotFound):
        await shares.get(share.id, NOW + 2 * DAY)
    other = Shares(opened, Sealer(b"o" * 32))
    assert (await other.get(share.id, NOW)).token == "", "only its own gateway can tell the link"
    assert (await other.use("1", share.token, NOW))[0].id == share.id, "any can open it"
    await shares.remove(share.id)
    with pytest.raises(InvalidToken):
        await shares.use("1", share.token, NOW)


async def test_T06_who_guesses_tokens_waits_for_nobody_who_writes(opened: Database) -> None:
    """Nobody asks a caller by a share who they are: a flood of guesses must take no turn."""
    shares = Shares(opened, Sealer(b"k" * 32))
    async with opened.write():
        with anyio.fail_after(5), pytest.raises(InvalidToken):
            await shares.use("1", "a-guess", NOW)


async def test_as_many_shares_as_there_may_be(opened: Database) -> None:
    shares = Shares(opened, Sealer(b"k" * 32))
    made = list[Share]()
    refused = list[Forbidden]()

    async def add() -> None:
        wanted = new_share(session(1), "anna", "controller", "", now=NOW, end=NOW + DAY)
        try:
            made.append(await shares.add(wanted, most=5))
        except Forbidden as error:
            refused.append(error)

    async with anyio.create_task_group() as tasks:
        for _ in range(8):
            tasks.start_soon(add)
    assert (len(made), len(refused)) == (5, 3)
    found, total = await shares.page("main", "anna", NOW, session_id="1", limit=2, offset=0)
    assert (len(found), total) == (2, 5)
    nobody_s = await shares.page("main", "ben", NOW, session_id=None, limit=9, offset=0)
    assert nobody_s == ([], 0)
    later = new_share(session(1), "anna", "controller", "", now=NOW + DAY, end=NOW + 2 * DAY)
    assert await shares.add(later, most=5), "what has expired does not count"


async def test_a_seat_that_stands_for_somebody_is_made_once(opened: Database) -> None:
    store = Store(opened, "http://gw")
    await store.insert(session(1), None)
    seat = Seat("a-anna", "1", "main", "anna", "controller", NOW)
    found = list[Seat]()

    async def keep() -> None:
        found.append(await store.keep_seat(seat))

    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(keep)
    assert found == [seat] * 4
    await store.keep_seat(replace(seat, id="h-one_-0"))
    await store.keep_seat(replace(seat, id="h-one%-0"))
    await store.drop_seats("1", "h-one_-")
    assert await store.seat("1", "h-one_-0") is None
    assert await Store(opened, "http://other").seat("1", "h-one_-0") is None
    assert await store.seat("1", "h-one%-0") is not None
    assert await store.seat("1", "a-anna") is not None


async def test_items_are_kept_and_judged(opened: Database) -> None:
    items = Items(DialectSettings(opened))
    assert (await items.all()).idle_time_min == 30
    await items.put("session.idle_time_min", 7)
    changed = await items.put("session.idle_time_min", 8)
    assert changed.told()["session.idle_time_min"] == 8
    for name, value in (("nonsense", 1), ("share.limit", 6), ("share.limit", "2"), ("", None)):
        with pytest.raises(InvalidField):
            await items.put(name, value)
