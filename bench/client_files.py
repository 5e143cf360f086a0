"""What files of this machine cost through the client, beside others who read them by address.

    python bench/client_files.py                     # about half a minute
    python bench/client_files.py --rounds 9 --json out.json

Plain Python is the floor: `os` and `open`, one after another. fsspec is called one after another,
as it is meant; ovstorage and ours are awaited many at once, as a program does that loads a stage,
and ours is also called one after another, as most scripts do.
Subjects take turns; each figure is the median of the rounds. CPU is that of this process, threads
of the libraries included, and says more than the clock on a machine that does other things too.
"""

# ruff: noqa: PTH105, PTH116, PTH123 - a Path would be no floor

from __future__ import annotations

import argparse
import asyncio
import json
import os
import statistics
import sys
import tempfile
import time
import warnings
from collections.abc import Awaitable, Callable
from functools import partial
from pathlib import Path
from typing import Any, Protocol

import fsspec
import ovstorage
from fsspec.implementations.local import LocalFileSystem
from rich.console import Console
from rich.table import Table

from downstage import client

LISTED = 10_000
BATCH = 256
DATA = os.urandom(4096)
QUESTIONS = ("list", "stat", "read", "write")


class Subject(Protocol):
    """Does each question once, for a whole batch; returns how many bytes or things it saw."""

    async def list(self, folder: Path) -> int: ...
    async def stat(self, paths: list[Path]) -> int: ...
    async def read(self, paths: list[Path]) -> int: ...
    async def write(self, paths: list[Path]) -> int: ...


class Plain:
    """The floor."""

    async def list(self, folder: Path) -> int:
        with os.scandir(folder) as found:
            return len([(item.name, item.stat().st_size) for item in found])

    async def stat(self, paths: list[Path]) -> int:
        return sum(os.stat(path).st_size for path in paths)

    async def read(self, paths: list[Path]) -> int:
        done = 0
        for path in paths:
            with open(path, "rb") as file:
                done += len(file.read())
        return done

    async def write(self, paths: list[Path]) -> int:
        for path in paths:
            with open(f"{path}.part", "wb") as file:
                file.write(DATA)
            os.replace(f"{path}.part", path)
        return len(paths) * len(DATA)


class Fsspec:
    """Its local file system."""

    def __init__(self) -> None:
        self._files: LocalFileSystem = fsspec.filesystem("file")

    async def list(self, folder: Path) -> int:
        return len(self._files.ls(str(folder), detail=True))

    async def stat(self, paths: list[Path]) -> int:
        return sum(self._files.info(str(path))["size"] for path in paths)

    async def read(self, paths: list[Path]) -> int:
        return sum(len(self._files.cat_file(str(path))) for path in paths)

    async def write(self, paths: list[Path]) -> int:
        for path in paths:
            self._files.pipe_file(str(path), DATA)
        return len(paths) * len(DATA)


class Ovstorage:
    """Its backend for files, many calls at once."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack: Any = None

    async def open(self) -> None:
        backend = ovstorage.file.FileBackend("files")
        request = ovstorage.ConnectionRequest("file")
        request.add_config("root", ovstorage.ConfigValue.string(str(self._folder)))
        stack = ovstorage.Stack(root="files").backend(backend).connection("files", request)
        self._stack = await stack.build()

    async def list(self, folder: Path) -> int:
        count, token = 0, None
        while True:
            page = await self._stack.list(f"file://{folder}/", page_token=token)
            count += len([(item.address, item.size) for item in page.items])
            token = page.next_page_token
            if not token:
                return count

    async def stat(self, paths: list[Path]) -> int:
        found = await asyncio.gather(*(self._stack.stat(f"file://{path}") for path in paths))
        return sum(item.size for item in found)

    async def read(self, paths: list[Path]) -> int:
        found = await asyncio.gather(*(self._stack.read_bytes(f"file://{path}") for path in paths))
        return sum(len(item[0]) for item in found)

    async def write(self, paths: list[Path]) -> int:
        await asyncio.gather(*(self._stack.write(f"file://{path}", DATA) for path in paths))
        return len(paths) * len(DATA)


class Ours:
    """The module's coroutines, many at once."""

    async def list(self, folder: Path) -> int:
        return len((await client.list_async(f"file://{folder}"))[1])

    async def stat(self, paths: list[Path]) -> int:
        found = await asyncio.gather(*(client.stat_async(f"file://{path}") for path in paths))
        return sum(entry.size for _, entry in found)

    async def read(self, paths: list[Path]) -> int:
        found = await asyncio.gather(*(client.read_file_async(f"file://{path}") for path in paths))
        return sum(len(content) for _, _, content in found)

    async def write(self, paths: list[Path]) -> int:
        await asyncio.gather(*(client.write_file_async(f"file://{path}", DATA) for path in paths))
        return len(paths) * len(DATA)


class OursBlocking:
    """The module's functions, one after another."""

    async def list(self, folder: Path) -> int:
        return len(client.list(str(folder))[1])

    async def stat(self, paths: list[Path]) -> int:
        return sum(client.stat(str(path))[1].size for path in paths)

    async def read(self, paths: list[Path]) -> int:
        return sum(len(client.read_file(str(path))[2]) for path in paths)

    async def write(self, paths: list[Path]) -> int:
        for path in paths:
            client.write_file(str(path), DATA)
        return len(paths) * len(DATA)


def main() -> None:
    """Measure, print a table, write JSON where asked."""
    parser = argparse.ArgumentParser(description="Files of this machine, by several libraries.")
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--json")
    options = parser.parse_args()
    warnings.simplefilter("ignore", RuntimeWarning)  # blocking calls in a loop: here they are meant
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        rows = asyncio.run(_measure(Path(folder), options.rounds))
    client.shutdown()
    table = Table("", "library", "µs each", "CPU µs", "× ovstorage", "by CPU", "of plain")
    for row in rows:
        table.add_row(*(cell if isinstance(cell, str) else f"{cell:.2f}" for cell in row.values()))
    Console(width=None if sys.stdout.isatty() else 100).print(table)
    if options.json:
        Path(options.json).write_text(json.dumps(rows, indent=1))


async def _measure(folder: Path, rounds: int) -> list[dict[str, Any]]:
    listed = folder / "listed"
    listed.mkdir()
    for number in range(LISTED):
        (listed / f"{number:05}.usd").write_bytes(b"x")
    paths = [folder / f"{number}.bin" for number in range(BATCH)]
    for path in paths:
        path.write_bytes(DATA)
    peer = Ovstorage(folder)
    await peer.open()
    subjects: dict[str, Subject] = {
        "plain": Plain(), "fsspec": Fsspec(), "ovstorage": peer,
        "downstage": Ours(), "downstage, blocking": OursBlocking(),
    }  # fmt: skip
    rows = list[dict[str, Any]]()
    for question in QUESTIONS:
        target: Any = listed if question == "list" else paths
        count = LISTED if question == "list" else BATCH
        found: dict[str, list[tuple[float, float]]] = {name: [] for name in subjects}
        for turn in range(rounds + 1):
            for name in _turned(list(subjects), turn):
                ask = partial(getattr(subjects[name], question), target)
                spent = await _spent(ask, question)
                if turn:
                    found[name].append((spent[0] / count * 1e6, spent[1] / count * 1e6))
        rows += _rows(question, found)
    return rows


async def _spent(call: Callable[[], Awaitable[int]], question: str) -> tuple[float, float]:
    """Seconds by the clock and of CPU, for one batch."""
    clock, cpu = time.perf_counter(), time.process_time()
    seen = await call()
    spent = time.perf_counter() - clock, time.process_time() - cpu
    expected = LISTED if question == "list" else BATCH * len(DATA)
    if seen != expected:
        raise RuntimeError(f"{question}: {seen} in place of {expected}")
    return spent


def _rows(question: str, found: dict[str, list[tuple[float, float]]]) -> list[dict[str, Any]]:
    middle = {
        name: [statistics.median(values) for values in zip(*rounds, strict=True)]
        for name, rounds in found.items()
    }
    return [
        {
            "question": question,
            "library": name,
            "us": clock,
            "cpu_us": cpu,
            "times_ovstorage": middle["ovstorage"][0] / clock,
            "times_ovstorage_cpu": middle["ovstorage"][1] / cpu,
            "of_plain": middle["plain"][0] / clock,
        }
        for name, (clock, cpu) in middle.items()
    ]


def _turned(names: list[str], turn: int) -> list[str]:
    turn %= len(names)
    return names[turn:] + names[:turn]


if __name__ == "__main__":
    main()
