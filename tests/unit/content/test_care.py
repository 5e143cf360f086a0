"""The background care of stored bytes, and the operator's bounds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import anyio
import pytest

from downstage.content import care
from downstage.content.limits import Limits
from downstage.content.model import Caller
from downstage.content.service import Content, open_content
from downstage.kernel import settings
from downstage.kernel.clock import ManualClock

pytestmark = [pytest.mark.unit, pytest.mark.anyio]


@pytest.fixture
async def content(data: Path, clock: ManualClock) -> AsyncIterator[Content]:
    limits = Limits(upload_life_s=100, blob_grace_s=3600, scrub_interval_s=1)
    opened = await open_content(data, clock=clock, limits=limits)
    yield opened
    await opened.close()


def files(content: Content) -> list[Path]:
    return [path for path in content.blobs.layout.blobs.rglob("*") if path.is_file()]


async def test_what_was_obliterated_goes_after_the_grace(
    content: Content, clock: ManualClock, uta: Caller, admin: Caller
) -> None:
    await content.write(uta, "/a", bytes(100_000))
    await content.obliterate(admin, "/a")
    await content.care.tidy()
    assert len(files(content)) == 1
    # Unused since the machine's own time: the clock here stands at another.
    clock.advance(timedelta(days=36_500).total_seconds())
    collected = await content.care.tidy(compact=True)
    assert (collected.bytes, files(content)) == (100_000, [])
    assert "downstage_files_collected_bytes_total 100000" in content.care.metrics()


async def test_counts_are_right_whatever_happens_to_the_tree(
    content: Content, uta: Caller, admin: Caller
) -> None:
    body = bytes(70_000)
    await content.write(uta, "/d/a", body, message="one")
    await content.write(uta, "/d/a", b"two")
    await content.copy(uta, "/d", "/e")
    await content.move(uta, "/d/a", "/b")
    await content.restore(uta, "/b", 1)
    await content.delete(uta, "/e")
    await content.undelete(uta, "/e")
    await content.obliterate(admin, "/e")
    assert (await content.care.mark()).recounted == 0


async def test_uploads_expire(content: Content, clock: ManualClock, uta: Caller) -> None:
    await content.uploads.create(uta, "/a")
    clock.advance(101)
    await content.care.tidy()
    assert await content.uploads.mine(uta) == []


async def test_damage_is_found_listed_and_counted(
    content: Content, uta: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(care, "PAUSE_S", 0.01)
    entry = await content.write(uta, "/a", bytes(100_000))
    await content.write(uta, "/b", b"good")
    files(content)[0].write_bytes(b"x" * 100_000)
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(content.care.run)
        with anyio.fail_after(10):
            while "downstage_files_damaged 1" not in content.care.metrics():
                await anyio.sleep(0.01)
        tasks.cancel_scope.cancel()
    assert [ref.hash for ref in await content.care.damaged()] == [entry.hash]
    await content.write(uta, "/a", bytes(100_000))
    assert await content.care.scrub() == []


def test_the_operators_settings_are_taken() -> None:
    limits = Limits.of(
        settings.Content(
            chunk_threshold=0,
            upload_expiry=timedelta(hours=2),
            blob_grace=timedelta(hours=3),
            mount_hosts=["s3://b"],
        )
    )
    assert limits.chunk_threshold > 1 << 60
    assert (limits.upload_life_s, limits.blob_grace_s) == (7200, 10_800)
    assert limits.mounts.hosts == ["s3://b"]
