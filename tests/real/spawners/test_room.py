"""An application that fills its own folder: it is stopped, and the host's disk stays (S02)."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from pydantic import SecretStr

from downstage.spawners.keeper import room
from downstage.spawners.keeper.loop import Deadlines, Loop
from downstage.spawners.process import run_folder
from downstage.spawners.spawner import Adoption
from downstage.testing.instances import own_folder

from .conftest import Launch, reports_until
from .test_process import spawner_of

pytestmark = [pytest.mark.real, pytest.mark.anyio]

WALLED = pytest.mark.parametrize("isolation", ["auto", "userns"])
UNASKED = 1 << 20
"""What the host's disk may hold of an instance: logs, configurations."""


def on_disk(folder: Path) -> int:
    return sum(p.lstat().st_blocks * 512 for p in folder.rglob("*"))


@WALLED
async def test_S02_an_application_cannot_fill_the_disk_by_its_own_folder(
    launch: Launch, data: Path, isolation: str
) -> None:
    handle, spec = await launch("fill", spawner=spawner_of(data, isolation))
    await reports_until(handle, "running")
    folder = run_folder(data) / spec.instance_id
    found = json.loads((folder / "app.log").read_text().splitlines()[0])
    assert (found["full"], found["crowded"]) == (errno.ENOSPC, errno.ENOSPC)
    assert 0 < found["bytes"] <= room.MOST_BYTES
    assert 0 < found["files"] <= room.MOST_FILES
    assert on_disk(folder) < UNASKED
    assert os.statvfs(own_folder(folder)).f_ffree == 0
    await handle.stop("stopped")
    assert (await reports_until(handle, "ended"))[-1].reason == "stopped"
    assert not (folder / "app").exists()


@WALLED
async def test_what_a_session_brings_comes_into_the_bounded_folder(
    launch: Launch, data: Path, isolation: str
) -> None:
    spawner = spawner_of(data, isolation)
    handle, spec = await launch("draw", spawner=spawner, session_id=None, instance_token=None)
    await reports_until(handle, "running")
    app = run_folder(data) / spec.instance_id / "app"
    await handle.adopt(
        Adoption(
            instance_id="i-other",
            session_id="s-2",
            instance_token=SecretStr("another-token"),
            link_url="unix:///nowhere",
            access_token=SecretStr("what-opens-files"),
        )
    )
    await handle.attach()
    async for news in handle.reports():
        if not news.waits:
            break
    token = own_folder(app.parent) / "token"
    assert token.read_text() == "what-opens-files"
    assert oct(token.stat().st_mode & 0o777) == "0o600"
    assert not (app / "token").exists(), "it lies on the disk"


@contextmanager
def measured(folder: Path, pid: int | None = None) -> Iterator[Callable[[], list[str]]]:
    """Why the keeper of *folder* would end its instance, as often as it is asked."""
    loop, reasons = Loop(), list[str]()
    pids = {"container": [pid, 0]} if pid is not None else dict[str, list[int]]()
    own = room.Room(folder, Deadlines(loop), pids, lambda reason, _: reasons.append(reason))

    def look() -> list[str]:
        own.start()
        return reasons

    try:
        yield look
    finally:
        loop.close()


@pytest.fixture
def app(data: Path) -> Path:
    """The folder of a container, as it lies on the disk."""
    folder = data / "app"
    folder.mkdir()
    return folder


def take(path: Path, size: int) -> None:
    """Bytes that are really there, not a hole."""
    with path.open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, size)


async def test_S02_a_folder_on_the_disk_is_measured(data: Path, app: Path) -> None:
    half = room.MOST_BYTES // 2
    with measured(data) as look:
        (app / "deep" / "er").mkdir(parents=True)
        take(app / "deep" / "er" / "one", half - (1 << 20))
        (app / "away").symlink_to("/")
        (app / "deep" / "loop").symlink_to(app)
        with (app / "hole").open("wb") as file:
            file.truncate(1 << 40)
        assert look() == []
        take(app / "two", half + (2 << 20))
        assert look() == ["disk-limit"]


async def test_S02_many_files_are_too_many(data: Path, app: Path) -> None:
    with measured(data) as look:
        for number in range(100):
            (app / f"{number}").mkdir()
            for other in range(room.MOST_FILES // 100 - 2):
                (app / f"{number}" / f"{other}").touch()
        assert look() == []
        for number in range(200):
            (app / f"more-{number}").touch()
        assert look() == ["disk-limit"]


async def test_S02_files_without_a_name_count_too(data: Path, app: Path) -> None:
    with measured(data, os.getpid()) as look, (app / "gone").open("wb") as file:
        os.posix_fallocate(file.fileno(), 0, room.MOST_BYTES + (1 << 20))
        (app / "gone").unlink()
        assert look() == ["disk-limit"]
    with measured(data, os.getpid()) as look:
        assert look() == []
