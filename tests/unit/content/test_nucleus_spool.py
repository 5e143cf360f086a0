"""Uploads in parts: any order, at once, bound to their owner and path, and not for ever."""

from __future__ import annotations

import errno
import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import anyio
import pytest
from hypothesis import given
from hypothesis import strategies as st

from downstage.content.dialects.nucleus import spool as module
from downstage.content.dialects.nucleus.spool import MAX_PART, Spool, Upload
from downstage.content.dialects.nucleus.status import InvalidContentId, LengthMismatch
from downstage.content.model import Caller
from downstage.kernel.clock import ManualClock
from downstage.kernel.errors import InvalidField, OutOfSpace, TooLarge, TooMany

pytestmark = [pytest.mark.unit, pytest.mark.anyio]

ADA, EVE = Caller("ada", "Ada"), Caller("eve", "Eve")


async def pieces(*parts: bytes) -> AsyncIterator[bytes]:
    for part in parts:
        await anyio.sleep(0)
        yield part


async def whole(upload: Upload) -> bytes:
    return b"".join([piece async for piece in upload.pieces()])


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def spool(tmp_path: Path, clock: ManualClock) -> Spool:
    return Spool(tmp_path / "spool", clock)


async def test_parts_arrive_in_any_order_and_at_once(spool: Spool) -> None:
    body = os.urandom(3_000_000)
    upload = await spool.mint(ADA, "/a")
    starts = [2_000_000, 0, 1_000_000]
    async with anyio.create_task_group() as tasks:
        for start in starts:
            part = body[start : start + 1_000_000]
            tasks.start_soon(spool.put, upload, start, pieces(part[:10], part[10:]))
    assert upload.size == len(body)
    assert await whole(upload) == body


async def test_an_empty_body_is_a_part_too(spool: Spool) -> None:
    upload = await spool.mint(ADA, "/a")
    await spool.put(upload, 0, pieces())
    assert upload.size == 0


async def test_a_part_may_come_twice(spool: Spool) -> None:
    upload = await spool.mint(ADA, "/a")
    for _ in range(2):
        await spool.put(upload, 0, pieces(b"same"))
    assert upload.size == 4


@pytest.mark.parametrize("start", [1, 5])
async def test_a_gap_is_no_body(spool: Spool, start: int) -> None:
    upload = await spool.mint(ADA, "/a")
    with pytest.raises(LengthMismatch):
        _ = upload.size
    await spool.put(upload, start, pieces(b"xx"))
    with pytest.raises(LengthMismatch):
        _ = upload.size
    await spool.put(upload, 10, pieces(b"xx"))
    with pytest.raises(LengthMismatch):
        _ = upload.size


async def test_a_part_that_broke_off_does_not_count(spool: Spool) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"half"
        raise RuntimeError("gone")

    upload = await spool.mint(ADA, "/a")
    with pytest.raises(RuntimeError):
        await spool.put(upload, 0, broken())
    with pytest.raises(LengthMismatch):
        _ = upload.size


async def test_nothing_is_committed_while_a_part_arrives(spool: Spool) -> None:
    upload = await spool.mint(ADA, "/a")
    await spool.put(upload, 0, pieces(b"first"))
    goes_on = anyio.Event()

    async def slow() -> AsyncIterator[bytes]:
        yield b"x"
        await goes_on.wait()

    async with anyio.create_task_group() as tasks:
        tasks.start_soon(spool.put, upload, 5, slow())
        await anyio.wait_all_tasks_blocked()
        with pytest.raises(LengthMismatch):
            _ = upload.size
        goes_on.set()
    assert upload.size == 6


async def test_an_upload_is_its_owners_and_its_paths(spool: Spool) -> None:
    upload = await spool.mint(ADA, "/a")
    assert spool.find(ADA, upload.id) is spool.find(ADA, upload.id, "/a") is upload
    for caller, number, path in (
        (EVE, upload.id, "/a"),
        (Caller("ada", "Ada", tenant="other"), upload.id, "/a"),
        (ADA, upload.id + 1, "/a"),
        (ADA, upload.id, "/b"),
    ):
        with pytest.raises(InvalidContentId):
            spool.find(caller, number, path)


async def test_uploads_are_few(spool: Spool) -> None:
    for _ in range(module.MOST_UPLOADS):
        await spool.mint(ADA, "/a")
    with pytest.raises(TooMany):
        await spool.mint(ADA, "/a")
    await spool.mint(EVE, "/a")


async def test_uploads_expire(spool: Spool, clock: ManualClock, tmp_path: Path) -> None:
    old = await spool.mint(ADA, "/a")
    await spool.put(old, 0, pieces(b"x"))
    clock.advance(module.EXPIRY_S - 1)
    kept = await spool.mint(ADA, "/b")
    clock.advance(2)
    await spool.sweep()
    assert len(spool) == 1
    assert [file.name for file in (tmp_path / "spool").iterdir()] == [kept.file.name]
    with pytest.raises(InvalidContentId):
        spool.find(ADA, old.id)


async def test_a_restart_leaves_nothing(tmp_path: Path, clock: ManualClock) -> None:
    folder = tmp_path / "spool"
    first = await Spool(folder, clock).mint(ADA, "/a")
    second = await Spool(folder, clock).mint(ADA, "/a")
    assert not first.file.exists()
    assert second.file.exists()
    assert folder.stat().st_mode & 0o777 == 0o700


async def test_parts_are_bounded(spool: Spool) -> None:
    upload = await spool.mint(ADA, "/a")
    half = bytes(MAX_PART // 2)
    with pytest.raises(TooLarge):
        await spool.put(upload, 0, pieces(half, half, b"x"))
    for start in (-1, 1 << 62):
        with pytest.raises(InvalidField):
            await spool.put(upload, start, pieces(b"x"))


async def test_a_full_disk_is_told(spool: Spool, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: Any) -> int:
        raise OSError(errno.ENOSPC, "full")

    upload = await spool.mint(ADA, "/a")
    monkeypatch.setattr(module.os, "pwrite", full)
    with pytest.raises(OutOfSpace):
        await spool.put(upload, 0, pieces(b"x"))


@given(st.lists(st.tuples(st.integers(0, 40), st.integers(0, 10)), max_size=12))
def test_stretches_are_what_arrived(parts: list[tuple[int, int]]) -> None:
    upload = Upload(1, "/a", ("main", "ada"), Path("/nowhere"), 0.0)
    covered = set[int]()
    for start, size in parts:
        upload.add(start, start + size)
        covered |= set(range(start, start + size))
    found = [number for low, high in upload.stretches for number in range(low, high)]
    assert found == sorted(covered)
