"""A backup that is made while files are written, deleted, collected and moved on disk."""

from __future__ import annotations

import random
import sqlite3
import tarfile
from collections.abc import AsyncIterator
from contextlib import closing
from pathlib import Path

import anyio
import anyio.to_thread
import pytest

from downstage.cli.files import make_backup
from downstage.content.limits import Limits
from downstage.content.model import Access, Caller
from downstage.content.service import Content, open_content
from downstage.kernel.clock import SystemClock
from downstage.kernel.settings import Platform, Settings

pytestmark = [pytest.mark.real, pytest.mark.anyio]

ADA = Caller("u-0", "Ada", may=Access.READ | Access.WRITE | Access.ADMIN)
LIMITS = Limits(chunk_threshold=100_000)


@pytest.fixture
async def content(data: Path) -> AsyncIterator[Content]:
    with closing(sqlite3.connect(data / "identity.db")) as db:
        db.execute("CREATE TABLE stand_in (x)")
    opened = await open_content(data / "content", clock=SystemClock(), limits=LIMITS)
    yield opened
    await opened.close()


async def test_S05_a_backup_of_running_content_is_whole(content: Content, data: Path) -> None:
    rng = random.Random(3)
    target = data.with_suffix(".tar.gz")
    stop, is_full = False, anyio.Event()

    async def work() -> None:
        text, rounds = rng.randbytes(600_000), 0
        while not stop:
            at = rng.randrange(len(text))
            text = text[:at] + rng.randbytes(10) + text[at:]
            name = rng.randrange(5)
            await content.write(ADA, f"/f{name}", text)
            await content.write(ADA, f"/s{name}", rng.randbytes(100))
            if rng.random() < 0.2:
                await content.obliterate(ADA, f"/f{name}")
            await content.care.tidy(compact=True)
            rounds += 1
            if rounds == 5:
                is_full.set()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(work)
        await is_full.wait()
        settings = Settings(platform=Platform(data=data))
        await anyio.to_thread.run_sync(make_backup, settings, target)
        stop = True
    restored = data / "restored"
    with tarfile.open(target) as archive:
        archive.extractall(restored, filter="data")
    target.unlink()
    copy = await open_content(restored / "content", clock=SystemClock(), limits=LIMITS)
    try:
        entries = (await copy.list(ADA, "/")).entries
        assert entries
        for entry in entries:
            async with await copy.read(ADA, entry.path) as reading:
                assert sum([len(piece) async for piece in reading.pieces()]) == entry.size
        assert await copy.care.scrub() == []
        assert (await copy.care.mark()).recounted == 0
    finally:
        await copy.close()
