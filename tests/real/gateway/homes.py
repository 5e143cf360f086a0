"""Gateways on one database, as far as homes of sessions concern them."""

from __future__ import annotations

import socket
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

from pydantic import SecretStr
from sqlalchemy import update

from downstage.bus import MemoryBus
from downstage.contracts.manager import Display
from downstage.gateway.homes import Homes
from downstage.gateway.leases import read_clock
from downstage.gateway.models import Session
from downstage.gateway.rooms import Rooms
from downstage.gateway.sessions import Sessions
from downstage.gateway.states import Placed, Policy, begin
from downstage.gateway.store import Bounds, Store
from downstage.gateway.tables import gateways
from downstage.gateway.takeover import TakeOver
from downstage.kernel.clock import SystemClock
from downstage.kernel.ids import new_id, new_uuid
from downstage.services.facilities.database import Database, open_database

CLOCK = SystemClock()
POLICY = Policy()
LEASE = timedelta(hours=1)
"""Nobody gives a sign of life by itself here: however slow the test, nobody dies of that."""


@dataclass
class Gateway:
    """One gateway without its sockets: the parts that know of homes."""

    url: str
    database: Database
    homes: Homes
    sessions: Sessions
    rooms: Rooms
    takeover: TakeOver
    port: socket.socket
    marked: list[str] = field(default_factory=list[str])

    @property
    def store(self) -> Store:
        return self.sessions.store

    def die(self) -> None:
        """Nobody listens at its address any more."""
        self.port.close()

    async def be_late(self) -> None:
        """Some signs of life were missed, and the lease is not over."""
        await self.fall_silent(60)

    async def fall_silent(self, seconds: float = 7200) -> None:
        """Its last sign of life was so long ago."""
        mine = gateways.c.url == self.url
        async with self.database.write() as connection:
            await connection.execute(
                update(gateways).where(mine).values(seen_at=gateways.c.seen_at - seconds)
            )

    async def put(self, state: str = "starting") -> Session:
        """A session at home here whose instance starts."""
        now = read_clock(CLOCK)
        life = begin(now, POLICY, new_id("i"))
        session = Session(
            id=new_uuid(),
            tenant="main",
            owner="anna",
            username="anna",
            application="test-card",
            stage=None,
            region="local",
            home=self.url,
            display=Display(),
            life=life,
            created_at=datetime.now(UTC),
            updated_at=datetime.now(UTC),
        )
        assert await self.store.insert(session, None)
        if state == "starting":
            await self.sessions.apply(session.id, Placed(life.instance_id))
        return (await self.store.get(session.id)) or session


@asynccontextmanager
async def gateway(
    path: Path, url: str | None, bus: MemoryBus | None = None, *, alone: bool = False
) -> AsyncGenerator[Gateway]:
    """A gateway on the database at *path* or *url*; its port listens."""
    database = await open_database(
        path,
        name="gateway",
        migrations="downstage.gateway.migrations",
        url=SecretStr(url) if url else None,
    )
    port = socket.create_server(("127.0.0.1", 0))
    own = f"http://127.0.0.1:{port.getsockname()[1]}"
    homes = Homes(database, own, LEASE, alone=alone)
    bus = bus or MemoryBus()
    sessions = Sessions(
        store=Store(database, own, Bounds()),
        regions=cast("Any", None),
        launcher=cast("Any", SimpleNamespace(files=None)),
        policy=POLICY,
        clock=CLOCK,
        bus=bus,
        sealer=cast("Any", None),
        home=own,
    )
    rooms = Rooms(lambda item: {"id": item.id})
    sessions.listeners.append(rooms.on_change)
    marked = list[str]()
    takeover = TakeOver(sessions, rooms, homes, bus, marked.append)
    found = Gateway(own, database, homes, sessions, rooms, takeover, port, marked)
    try:
        await homes.beat()
        yield found
    finally:
        port.close()
        await database.close()
