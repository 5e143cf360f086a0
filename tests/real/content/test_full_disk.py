"""A disk that is full: writing is refused with 507, reading goes on, nothing answered is lost."""

from __future__ import annotations

import os
import subprocess
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from downstage.content.model import Caller
from downstage.content.service import Content, open_content
from downstage.kernel.clock import SystemClock
from downstage.kernel.errors import OutOfSpace

pytestmark = [pytest.mark.real, pytest.mark.anyio]

UTA = Caller("u-1", "Uta", client_id="c-uta")
BALLAST = 3 * 1024 * 1024


@pytest.fixture
def small_disk(data: Path) -> Iterator[Path]:
    """A file system of 12 MiB, partly filled by something that can be removed."""
    if os.geteuid() != 0:
        pytest.skip("mounting a small file system needs root")
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", str(data)], check=False
    )
    if mounted.returncode:
        pytest.skip("this machine mounts no tmpfs")
    (data / "ballast").write_bytes(bytes(BALLAST))
    yield data
    subprocess.run(["umount", str(data)], check=True)


@pytest.fixture
async def content(small_disk: Path) -> AsyncIterator[Content]:
    opened = await open_content(small_disk / "content", clock=SystemClock())
    yield opened
    await opened.close()


async def fill(content: Content, size: int, reserve: int) -> dict[str, bytes]:
    """Write until the disk is full; what was answered."""
    content.blobs.layout._reserve = reserve
    answered: dict[str, bytes] = {}
    for n in range(10_000):
        path, body = f"/{size}/{n}", n.to_bytes(4, "big") * (size // 4)
        try:
            await content.write(UTA, path, body)
        except OutOfSpace:
            return answered
        answered[path] = body
    raise AssertionError("the disk never filled")


async def check(content: Content, answered: dict[str, bytes]) -> None:
    for path, body in answered.items():
        async with await content.read(UTA, path) as reading:
            assert await reading.read() == body
    for folder in {path.split("/")[1] for path in answered}:
        page = await content.list(UTA, f"/{folder}", limit=10_000)
        assert {entry.path for entry in page.entries} == {
            path for path in answered if path.startswith(f"/{folder}/")
        }


async def test_S05_a_full_disk_refuses_writes_and_serves_reads(
    content: Content, small_disk: Path
) -> None:
    answered = await fill(content, 300_000, 4 * 1024 * 1024)
    # The reserve lets the tree go on: folders, deletion.
    await content.create_folder(UTA, "/empty")
    await content.delete(UTA, "/empty")
    # Without one the database itself runs out.
    answered |= await fill(content, 40_000, 0)
    assert OutOfSpace.status == 507
    for _ in range(3):
        with pytest.raises(OutOfSpace):
            await content.write(UTA, "/more", b"x" * 60_000)
        with pytest.raises(OutOfSpace):
            await content.write(UTA, "/more", b"x" * 400_000)
    await check(content, answered)
    with content.database.read() as db:
        assert db.execute("PRAGMA integrity_check").fetchall() == [("ok",)]

    (small_disk / "ballast").unlink()
    for n in range(5):
        body = b"%d" % n * 50_000
        await content.write(UTA, f"/40000/after {n}", body)
        answered[f"/40000/after {n}"] = body
    await check(content, answered)

    await content.close()
    again = await open_content(small_disk / "content", clock=SystemClock())
    try:
        await check(again, answered)
        assert (await again.usage(UTA, "/")).nodes == len(answered) + 2  # folders
    finally:
        await again.close()
