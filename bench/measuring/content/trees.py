"""Pages of a large folder, and a large folder's new name."""

from __future__ import annotations

import shutil
import sqlite3
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from downstage.content.model import Caller
from downstage.content.service import Content, open_content
from downstage.kernel.clock import SystemClock
from measuring.content.places import Places, row

__all__ = ["measure_list", "measure_rename"]

MANY = 100_000
SOME = 10_000
PAGE = 1000
ALICE = Caller("alice", "alice")


async def measure_list(places: Places, rounds: int) -> list[dict[str, Any]]:
    """A page from the middle of 100,000, to the rows of the same page by themselves."""
    content = await _filled(places.folder / "listing", MANY)
    middle = f"f{MANY // 2:06d}"
    query = _raw(next((places.folder / "listing").rglob("*.db")))
    ours, theirs = list[float](), list[float]()
    for _ in range(rounds * 3):
        began = time.perf_counter()
        page = await content.list(ALICE, "/many", after=middle, limit=PAGE)
        ours.append((time.perf_counter() - began) * 1000)
        assert len(page.entries) == PAGE
        began = time.perf_counter()
        assert len(query(middle)) == PAGE
        theirs.append((time.perf_counter() - began) * 1000)
    await content.close()
    shutil.rmtree(places.folder / "listing")
    question = "page of 1000 out of 100k"
    which = "the raw query"
    return [row(question, which, ours, theirs, "ms", goal=2, more_is_better=False)]


async def measure_rename(places: Places, rounds: int) -> list[dict[str, Any]]:
    """A folder of 10,000 gets another name, here durably, beside the file system's."""
    content = await _filled(places.folder / "renaming", SOME)
    plain = places.folder / "plain"
    (plain / "many").mkdir(parents=True)
    for number in range(SOME):
        (plain / "many" / f"f{number:06d}").touch()
    names = ["many", "other"]
    ours, theirs = list[float](), list[float]()
    for _ in range(rounds * 3):
        began = time.perf_counter()
        await content.move(ALICE, f"/{names[0]}", f"/{names[1]}")
        ours.append((time.perf_counter() - began) * 1000)
        began = time.perf_counter()
        (plain / names[0]).rename(plain / names[1])
        theirs.append((time.perf_counter() - began) * 1000)
        names.reverse()
    await content.close()
    shutil.rmtree(places.folder / "renaming")
    question = "rename a folder of 10k (durable)"
    return [row(question, "ext4, not durable", ours, theirs, "ms", goal=10, more_is_better=False)]


async def _filled(folder: Path, count: int) -> Content:
    folder.mkdir(parents=True)
    content = await open_content(folder, clock=SystemClock())
    await content.create_folder(ALICE, "/many")
    for start in range(0, count, 2000):
        await _write_some(content, start, min(start + 2000, count))
    return content


async def _write_some(content: Content, start: int, stop: int) -> None:
    import asyncio

    await asyncio.gather(
        *(content.write(ALICE, f"/many/f{number:06d}", b"x") for number in range(start, stop))
    )


def _raw(database: Path) -> Callable[[str], list[tuple[Any, ...]]]:
    """The page by name alone, all columns, one connection."""
    connection = sqlite3.connect(database)
    (parent,) = connection.execute("SELECT id FROM node WHERE name = 'many'").fetchone()
    query = (
        "SELECT * FROM node WHERE parent = ? AND name > ? AND deleted_at = 0 ORDER BY name LIMIT ?"
    )

    def run(after: str) -> list[tuple[Any, ...]]:
        return connection.execute(query, (parent, after, PAGE)).fetchall()

    return run
