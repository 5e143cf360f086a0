"""Extensions follow their files: edited, broken, mended, added, taken away."""

from __future__ import annotations

import shutil
import sys
from collections.abc import AsyncGenerator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import anyio
import pytest

from downstage.services import AsyncClient
from downstage.services.errors import ServiceNotFoundError
from downstage.services.extensions.watch import Reloaded
from downstage.services.host import ServiceHost

if TYPE_CHECKING:
    from tests.real.extensions.conftest import Running, Write

pytestmark = [pytest.mark.real, pytest.mark.anyio]

SAYS = """
class Extension(IExt):
    def on_startup(self):
        self.router = ServiceAPIRouter()
        self.router.add_api_route("/" + HERE, self.tell)
        register_router(self.router)
    async def tell(self) -> str:
        return "{word}"
"""


class Reloads:
    """What the watcher told, one at a time."""

    def __init__(self, host: ServiceHost) -> None:
        self._send, self._receive = anyio.create_memory_object_stream[Reloaded](100)
        host.watcher.listeners.append(self._send.send_nowait)

    async def next(self) -> Reloaded:
        with anyio.fail_after(20):
            return await self._receive.receive()

    async def of(self, name: str) -> Reloaded:
        while (report := await self.next()).name != name:
            pass
        return report

    def close(self) -> None:
        self._send.close()
        self._receive.close()


@asynccontextmanager
async def watching(running: Running) -> AsyncGenerator[tuple[ServiceHost, Reloads]]:
    async with running(extensions__reload=True) as host:
        reloads = Reloads(host)
        await host.watcher.ready.wait()
        yield host, reloads
        reloads.close()


async def get(path: str) -> object:
    return await AsyncClient("local://")[path].get()


def states(host: ServiceHost) -> dict[str, str]:
    return {unit.name: unit.state for unit in host.lifecycle.units.values()}


def edited(file: Path, change: Callable[[str], str]) -> None:
    file.write_text(change(file.read_text()))


async def test_an_edit_within_the_same_second_counts(write: Write, running: Running) -> None:
    write("hello", SAYS.format(word="word 0"))
    async with watching(running) as (_, reloads):
        for number in range(1, 4):
            write("hello", SAYS.format(word=f"word {number}"))
            report = await reloads.next()
            assert await get("hello") == f"word {number}"
            assert report.ms < 300


async def test_a_broken_edit_is_told_and_the_next_one_mends_it(
    write: Write, running: Running
) -> None:
    home = write("hello", SAYS.format(word="one"))
    async with watching(running) as (host, reloads):
        (home / "hello.py").write_text("class Extension(\n")
        await reloads.next()
        assert states(host) == {"hello": "failed"}
        assert "SyntaxError" in host.lifecycle.units["hello"].traceback
        with pytest.raises(ServiceNotFoundError):
            await get("hello")
        write("hello", SAYS.format(word="two"))
        await reloads.next()
        assert await get("hello") == "two"
        (home / "config" / "extension.toml").write_text("[package\n")
        await reloads.next()
        assert states(host) == {"hello": "failed"}
        assert "extension.toml" in host.lifecycle.units["hello"].reason
        write("hello", SAYS.format(word="three"), version="2.0.0")
        await reloads.of("hello")
        while host.lifecycle.units["hello"].id != "hello-2.0.0":
            await reloads.of("hello")
        assert await get("hello") == "three"


async def test_what_needs_it_sees_its_new_code(write: Write, running: Running) -> None:
    write("below", "WORD = 'old'\n" + SAYS.format(word="below"))
    write(
        "above",
        "from below import WORD\n" + SAYS.format(word="{WORD}").replace('"{WORD}"', "WORD"),
        more='[dependencies]\nbelow = "1.0"\n',
    )
    async with watching(running) as (host, reloads):
        assert await get("above") == "old"
        write("below", "WORD = 'new'\n" + SAYS.format(word="below"))
        await reloads.of("below")
        assert await get("above") == "new"
        assert states(host) == {"below": "running", "above": "running"}


async def test_extensions_come_and_go(write: Write, running: Running, folder: Path) -> None:
    async with watching(running) as (host, reloads):
        write("late", SAYS.format(word="late"))
        await reloads.of("late")
        while states(host).get("late") != "running":
            await reloads.of("late")
        assert await get("late") == "late"
        shutil.rmtree(folder / "late")
        while "late" in states(host):
            await reloads.next()
        with pytest.raises(ServiceNotFoundError):
            await get("late")
        assert "late" not in sys.modules


async def test_nothing_else_reloads(write: Write, running: Running) -> None:
    home = write("hello", SAYS.format(word="one"))
    write("other", SAYS.format(word="two"))
    (home / "__pycache__").mkdir()
    (home / "notes.txt").touch()
    async with watching(running) as (host, reloads):
        began = host.lifecycle.units["other"].started_at
        (home / "__pycache__" / "x.py").touch()
        (home / "notes.txt").write_text("a note")
        write("hello", SAYS.format(word="three"))
        assert (await reloads.next()).name == "hello"
        assert host.lifecycle.units["other"].started_at == began
