"""Tickets that several workers share: spent once, whoever is asked."""

from __future__ import annotations

import os
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path

import pytest

from downstage.auth.principal import Bound, Principal, StreamBound
from downstage.kernel.clock import ManualClock
from downstage.streams.shared_tickets import SharedTickets

pytestmark = pytest.mark.unit

WHO = Principal(
    "ann",
    "Ann",
    "token",
    scopes=frozenset({"streams:read"}),
    reach=(Bound("/a", writes=True),),
    streams=(StreamBound("cam-*", frozenset({"read", "write"})),),
    token_id="t-1",
    expires_at=datetime(2030, 1, 1, tzinfo=UTC),
)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def workers(tmp_path: Path, clock: ManualClock) -> list[SharedTickets]:
    return [SharedTickets(clock, tmp_path / "tickets") for _ in range(2)]


def test_one_worker_redeems_what_another_minted_once(
    workers: list[SharedTickets], tmp_path: Path
) -> None:
    ticket, _ = workers[0].mint(WHO, "pull")
    (kept,) = (tmp_path / "tickets").iterdir()
    assert ticket not in kept.name + kept.read_text()
    assert kept.stat().st_mode & 0o077 == 0
    assert workers[1].redeem(ticket, "pull") == WHO
    assert workers[0].redeem(ticket, "pull") is None
    assert list((tmp_path / "tickets").iterdir()) == []


def test_a_ticket_is_for_its_purpose_within_its_minute(
    workers: list[SharedTickets], clock: ManualClock
) -> None:
    ticket, _ = workers[0].mint(WHO, "pull")
    assert workers[1].redeem(ticket, "push") is None
    assert workers[1].redeem(ticket, "pull") is None
    ticket, expires_at = workers[0].mint(WHO, "read")
    clock.advance(60)
    assert clock.now() == expires_at
    assert workers[1].redeem(ticket, "read") is None
    for wrong in ("", "x" * 300, "../tickets", "nothing"):
        assert workers[0].redeem(wrong, "read") is None


def test_of_many_who_ask_at_once_one_is_let_in(workers: list[SharedTickets]) -> None:
    tickets = [workers[0].mint(WHO, "push")[0] for _ in range(20)]
    with ThreadPoolExecutor(8) as pool:
        for ticket in tickets:
            asked = [pool.submit(workers[n % 2].redeem, ticket, "push") for n in range(8)]
            assert [one.result() for one in asked].count(WHO) == 1


def test_what_nobody_came_for_is_swept(
    workers: list[SharedTickets], clock: ManualClock, tmp_path: Path
) -> None:
    for _ in range(3):
        workers[0].mint(WHO, "read")
    past = clock.now().timestamp() - 1
    for path in (tmp_path / "tickets").iterdir():
        os.utime(path, (past, past))
    clock.advance(61)
    workers[0].mint(WHO, "read")
    assert len(list((tmp_path / "tickets").iterdir())) == 1
