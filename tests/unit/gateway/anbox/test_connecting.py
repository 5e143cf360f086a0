"""Where a client is told to connect: at the session's home, whichever gateway it asked."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any, cast

import pytest

from downstage.auth.principal import Principal
from downstage.contracts.manager import Display
from downstage.gateway.dialects.anbox.connecting import Connector
from downstage.gateway.models import Seat, Session
from downstage.gateway.states import Life
from downstage.kernel.errors import Misdirected

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ANNA, BEN = Principal("u-anna", "anna", "user"), Principal("u-ben", "ben", "user")


class Parts:
    """What a connector asks, as far as it asks it."""

    def __init__(self, home: str, driven_by: str) -> None:
        self.session = Session(
            "s1", "main", "u-anna", "anna", "test-card", None, "local", home, Display(),
            Life("active", None, None, "i-1"), NOW, NOW,
        )  # fmt: skip
        self.driven_by = driven_by
        self.seats = list[Seat]()
        self.store = self

    def now(self) -> Any:
        return SimpleNamespace(wall=NOW)

    async def at_home(self, session: Session) -> Session:
        if session.home != self.driven_by:
            raise Misdirected(session.home)
        return session

    async def keep_seat(self, seat: Seat) -> Seat:
        self.seats.append(seat)
        return seat

    async def socket_ticket(self, use: str, seat: Seat) -> Any:
        return SimpleNamespace(ticket=f"{use}+{len(self.seats)}")

    def servers(self, session_id: str, seat_id: str) -> list[dict[str, str]]:
        return [
            {"urls": "turn:192.0.2.1", "username": f"{session_id}.{seat_id}", "credential": "x"}
        ]

    def connector(self) -> Connector:
        one = cast("Any", self)
        return Connector(one, one, one, one)


@pytest.mark.parametrize(
    ("home", "address"),
    [
        ("http://127.0.0.1:8600", "ws://127.0.0.1:8600/1.0/sessions/s1/sockets/master"),
        ("https://stage.example", "wss://stage.example/1.0/sessions/s1/sockets/master"),
        (
            "https://proxy.example/stage/",
            "wss://proxy.example/stage/1.0/sessions/s1/sockets/master",
        ),
    ],
)
async def test_the_address_is_at_home(home: str, address: str) -> None:
    for driven_by in (home, "http://another"):
        parts = Parts(home, driven_by)
        place = await parts.connector().person(ANNA, parts.session, "master")
        assert place.url == f"{address}?token=signalling%2B1"
        assert place.stun_servers[0].username == f"s1.{parts.seats[0].id}"


async def test_the_same_person_has_the_same_seat_and_nobody_else() -> None:
    parts = Parts("http://gw", "http://gw")
    connector = parts.connector()
    for caller in (ANNA, ANNA, BEN):
        await connector.person(caller, parts.session, "slave")
    first, again, other = (seat.id for seat in parts.seats)
    assert first == again != other
    assert first.startswith("a-")
    assert all(seat.role == "controller" for seat in parts.seats)
