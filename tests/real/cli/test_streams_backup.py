"""Streams come back from a backup that was made while they were pushed to."""

from __future__ import annotations

from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from downstage.cli.engine_logs import copy_engine_logs
from downstage.cli.files import make_backup, restore_backup
from downstage.kernel.errors import SetupError
from downstage.kernel.settings import Platform, Settings
from downstage.streams.model import AUTO, ZERO
from downstage.testing.streams import streams_server

pytestmark = [pytest.mark.real, pytest.mark.anyio]


async def test_entries_come_back(tmp_path: Path) -> None:
    one, two, archive = tmp_path / "one", tmp_path / "two", tmp_path / "b.tar.gz"
    settings = Settings(platform=Platform(data=one))
    async with streams_server(one) as server:
        alice = await server.caller("alice")
        await server.streams.describe(alice, "cam", {"description": "of the hall"})
        stored = list[bytes]()

        async def push() -> None:
            while True:
                stored.extend((await server.streams.append(alice, [("cam", AUTO, b"x")])).ids)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(push)
            while len(stored) < 50:
                await anyio.sleep(0.01)
            sure = list(stored)
            await anyio.to_thread.run_sync(make_backup, settings, archive)
            tasks.cancel_scope.cancel()
    restore = Settings(platform=Platform(data=two))
    await anyio.to_thread.run_sync(lambda: restore_backup(restore, archive, force=False))
    async with streams_server(two) as server:
        alice = await server.caller("alice")
        found = await server.streams.read(alice, {"cam": ZERO}, count=4096)
        assert [bytes(entry.id) for entry in found][: len(sure)] == sure
        assert (await server.streams.info(alice, "cam")).spec.description == "of the hall"


def test_a_log_that_never_holds_still_is_no_backup(tmp_path: Path) -> None:
    log = tmp_path / "streams" / "engine" / "log"
    log.mkdir(parents=True)
    (log / "entries.manifest").write_text("file gone.aof seq 1 type i\n")
    scratch = tmp_path / "scratch"
    scratch.mkdir()
    with pytest.raises(SetupError, match="begins new files"):
        copy_engine_logs(tmp_path / "streams", scratch)
