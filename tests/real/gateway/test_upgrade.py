"""A data folder and a streamer of the release before: what runs goes on."""

from __future__ import annotations

import sqlite3
from importlib import import_module
from pathlib import Path
from typing import Any

import pytest
from alembic.migration import MigrationContext
from alembic.operations import Operations
from sqlalchemy import Connection, create_engine, text

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SDP = "v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nt=0 0\r\n"
TABLES = ("sessions", "seats", "idempotency")


def build_first(connection: Connection) -> None:
    """The schema that 0.4 left."""
    context = MigrationContext.configure(connection)
    with Operations.context(context):
        module: Any = import_module("downstage.gateway.migrations.0001_start")
        module.upgrade()
    context._ensure_version_table()
    connection.execute(text("INSERT INTO alembic_version (version_num) VALUES ('0001')"))


def as_0_4_left_it(path: Path) -> None:
    """The same rows in the schema of 0.4."""
    new = path.rename(path.with_suffix(".new"))
    for rest in ("-wal", "-shm"):
        path.with_name(path.name + rest).unlink(missing_ok=True)
    engine = create_engine(f"sqlite:///{path}")
    with engine.begin() as connection:
        build_first(connection)
    engine.dispose()
    with sqlite3.connect(path) as old:
        old.execute("ATTACH ? AS new", (str(new),))
        for table in TABLES:
            names = ", ".join(row[1] for row in old.execute(f"PRAGMA main.table_info({table})"))
            old.execute(f"INSERT INTO main.{table} ({names}) SELECT {names} FROM new.{table}")
    old.close()


async def test_S07_sessions_of_the_release_before_go_on(start: Any, data: Path) -> None:
    async with start() as house:
        session_id = (await house.create())["id"]
        async with house.dial(session_id) as streamer:
            await streamer.say(type="ready", width=1280, height=720, encoder="x264", audio=True)
            async with house.viewer(session_id) as viewer:
                await viewer.say(type="want", transport="webrtc", width=800, height=600)
                peer = (await streamer.hear("peer.open"))["peer"]
                offer = {"type": "offer", "sdp": SDP}
                await streamer.say(type="peer.signal", peer=peer, payload=offer)
                await viewer.hear("offer")
                await viewer.say(type="answer", sdp=SDP)
                await streamer.say(type="peer.connected", peer=peer)
                await house.wait(session_id, "active")
    as_0_4_left_it(data / "gateway.db")
    async with start() as house:
        before = await house.get(session_id)
        assert before["state"] == "disconnected", "its lease runs, it has not ended"
        assert (before["version"], before["ports"]) == (None, [])
        # A streamer of 0.4 says this and no more, and knows no other message than these.
        async with house.dial(session_id, (peer,)) as streamer:
            await house.wait(session_id, "active")
            await streamer.say(type="status", width=1280, height=720, last_input_s=1.5)
            async with house.viewer(session_id) as viewer:
                await viewer.say(type="want", transport="webrtc")
                opened = await streamer.hear("peer.open")
                assert opened.keys() <= {
                    "type",
                    "peer",
                    "role",
                    "transport",
                    "width",
                    "height",
                    "ice_servers",
                }
                payload = {"type": "offer", "sdp": SDP}
                await streamer.say(type="peer.signal", peer=opened["peer"], payload=payload)
                assert (await viewer.hear("offer"))["peer"] == opened["peer"]
                await viewer.say(type="bye", reason="closed")
            await streamer.hear("peer.close")
        fresh = await house.create()
        assert fresh["id"] != session_id, "and new ones can be made"
