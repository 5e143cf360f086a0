"""``file:`` and paths of this machine: everything but versions, in one hop to a thread a turn."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, TypeVar

from downstage.client.places import Place
from downstage.client.providers import disk
from downstage.client.providers.folder_watch import FolderWatch
from downstage.client.providers.hops import in_thread
from downstage.client.providers.local_body import LocalFile
from downstage.client.providers.provider import (
    Change,
    Copying,
    Found,
    Incoming,
    Outgoing,
    Progress,
    Provider,
)
from downstage.client.types import (
    Content,
    ListEntry,
    ListEvent,
    ListIncludeOption,
    ServerInfo,
    WriteFileExInfo,
)
from downstage.kernel.errors import AlreadyExists, NotSupported

__all__ = ["BlockingFiles", "FileProvider"]

T = TypeVar("T")
SMALL = 256 * 1024
"""Bytes of a file that may share its hop with others."""


class FileProvider(Provider):
    """Files of this machine. Writes appear at once and whole."""

    def __init__(self) -> None:
        self._waiting: list[tuple[Callable[[], Any], asyncio.Future[Any]]] = []

    def _alone(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run *work*, which may take a while, in a thread."""
        return in_thread(work)

    def _hop(self, work: Callable[[], T]) -> Awaitable[T]:
        """Run short *work* in a thread, together with all other that this turn brings."""
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[T] = loop.create_future()
        self._waiting.append((work, answer))
        if len(self._waiting) == 1:
            loop.call_soon(self._go, loop)
        return answer

    def _go(self, loop: asyncio.AbstractEventLoop) -> None:
        batch, self._waiting = self._waiting, []
        loop.run_in_executor(None, _run, loop, batch)

    async def stat(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> ListEntry:
        """What is there; a link is what it leads to."""
        _refuse_versions(place)
        return await self._hop(lambda: disk.entry_of(place, place.name, os.stat(place.path)))  # noqa: PTH116 - a Path costs more than the call

    async def entries(
        self, place: Place, include: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
    ) -> tuple[ListEntry, ...]:
        """What lies in a folder, by name."""
        if include is ListIncludeOption.ONLY_DELETED_FILES:
            return ()
        return await self._hop(lambda: disk.listed(place))

    async def below(self, place: Place) -> AsyncGenerator[Found]:
        """Everything below a folder; links are shown, and none is gone into."""
        waiting: list[tuple[Place, tuple[str, ...]]] = [(place, ())]
        while waiting:
            folder, parts = waiting.pop()
            for entry, is_link in await self._hop(lambda f=folder: disk.listed_with_links(f)):
                name = entry.relative_path
                found = Found(folder.child(name), entry, (*parts, name), is_link=is_link)
                yield found
                if entry.is_folder and not is_link:
                    waiting.append((found.place, found.parts))

    async def read(self, place: Place, progress: Progress) -> tuple[str, Content]:
        """Version and bytes of a file."""
        _refuse_versions(place)
        small = await self._hop(lambda: _small(place))
        if small is not None:
            progress(len(small[1]), len(small[1]))
            return small
        return await self._alone(lambda: disk.read_whole(place, progress))

    async def read_range(self, place: Place, start: int, stop: int) -> bytes:
        """The bytes from *start* up to *stop*."""
        _refuse_versions(place)
        data, _ = await self._hop(lambda: disk.part_of(place.path, start, stop))
        return data

    async def local_file(self, place: Place, progress: Progress) -> str:
        """The file itself."""
        await self.stat(place)
        return place.path

    @asynccontextmanager
    async def incoming(self, place: Place) -> AsyncGenerator[Incoming]:
        """A file, piece by piece: one and the same, even where it is replaced meanwhile."""
        _refuse_versions(place)
        file = await asyncio.to_thread(LocalFile, place.path)
        try:
            version = disk.entry_of(place, "", file.seen).version or ""
            yield Incoming(file.size, version, file.pieces())
            file.check()
        finally:
            file.close()

    async def write(
        self, place: Place, body: Outgoing, message: str, progress: Progress
    ) -> WriteFileExInfo:
        """Make or replace a file, and the folders above it."""
        _refuse_versions(place)
        if body.data is not None:
            data = body.data
            hop = self._hop if memoryview(data).nbytes <= SMALL else self._alone
            made = await hop(lambda: disk.put(place.path, data, progress))
        else:
            made = await self._stream(place, body, progress)
        return WriteFileExInfo(version=disk.entry_of(place, "", made).version or "")

    async def _stream(self, place: Place, body: Outgoing, progress: Progress) -> os.stat_result:
        opened = disk.replaced(place.path)
        done = 0
        try:
            handle = await in_thread(opened.__enter__)
            async for piece in body.chunks():
                await in_thread(lambda piece=piece: _write_all(handle, piece))
                done += len(piece)
                progress(done, body.size or done)
            made = os.fstat(handle)
        except BaseException as error:
            _abandon(opened, error)
            raise
        await in_thread(lambda: opened.__exit__(None, None, None))
        return made

    async def create_folder(self, place: Place) -> None:
        """Make a folder, and those above it."""

        def make() -> None:
            if os.path.lexists(place.path):
                raise AlreadyExists("Something is there already.")
            Path(place.path).mkdir(parents=True)

        await self._hop(make)

    async def delete(self, place: Place, *, recursive: bool) -> None:
        """Remove a file or folder, for good."""
        await in_thread(lambda: disk.remove(place.path, recursive=recursive))

    async def obliterate(self, place: Place, *, checkpoints: bool) -> None:
        """Remove a file or an empty folder."""
        await in_thread(lambda: disk.remove(place.path, recursive=False))

    async def copy(self, source: Place, target: Place, how: Copying) -> None:
        """Copy on this machine."""
        _refuse_versions(source)
        await in_thread(lambda: disk.copy_tree(source.path, target.path, how))

    async def move(self, source: Place, target: Place, how: Copying) -> bool:
        """Move on this machine."""
        return await in_thread(lambda: disk.move_tree(source.path, target.path, how))

    async def server_info(self, place: Place) -> ServerInfo:
        """Of this machine, that it keeps no checkpoints."""
        return ServerInfo(cache_enabled=False)

    @asynccontextmanager
    async def watch(self, place: Place, *, children: bool) -> AsyncGenerator[AsyncIterator[Change]]:
        """Tells that something happened; what, the watcher sees by looking."""
        wanted = Path(place.path) if children else Path(place.path).parent
        folder = await in_thread(lambda: _nearest(wanted))
        change = Change(ListEvent.UNKNOWN, ListEntry(url=place.url))
        loop = asyncio.get_running_loop()
        making = asyncio.ensure_future(in_thread(lambda: FolderWatch(folder, loop)))
        try:
            watch = await asyncio.shield(making)
        except asyncio.CancelledError:
            making.add_done_callback(_forget)
            raise

        async def changes() -> AsyncGenerator[Change]:
            while await watch.happened():
                yield change

        try:
            yield changes()
        finally:
            watch.stop()


class BlockingFiles(FileProvider):
    """The same for whoever blocks: short work is done at once, in their thread."""

    def _alone(self, work: Callable[[], T]) -> Awaitable[T]:
        return self._hop(work)

    async def _hop(self, work: Callable[[], T]) -> T:
        with disk.os_errors():
            return work()


def _forget(making: asyncio.Future[FolderWatch]) -> None:
    if not making.cancelled() and making.exception() is None:
        making.result().stop()


def _run(
    loop: asyncio.AbstractEventLoop, batch: list[tuple[Callable[[], Any], asyncio.Future[Any]]]
) -> None:
    done = list[tuple[asyncio.Future[Any], Any]]()
    for work, answer in batch:
        try:
            with disk.os_errors():
                value = work()
        except Exception as error:  # noqa: BLE001 - handed to whoever asked
            value = error
        done.append((answer, value))
    loop.call_soon_threadsafe(_settle, done)


def _settle(done: list[tuple[asyncio.Future[Any], Any]]) -> None:
    for answer, value in done:
        if answer.done():
            continue
        if isinstance(value, Exception):
            answer.set_exception(value)
        else:
            answer.set_result(value)


def _small(place: Place) -> tuple[str, Content] | None:
    data, found = disk.part_of(place.path, 0, SMALL + 1)
    if found.st_size > SMALL or len(data) > SMALL:
        return None
    return disk.entry_of(place, place.name, found).version or "", Content(data)


def _write_all(handle: int, piece: bytes | memoryview) -> None:
    view = memoryview(piece).cast("B")
    while view:
        view = view[os.write(handle, view) :]


def _abandon(opened: Any, error: BaseException) -> None:
    opened.__exit__(type(error), error, error.__traceback__)


def _nearest(path: Path) -> Path:
    while not path.is_dir():
        path = path.parent
    return path


def _refuse_versions(place: Place) -> None:
    if place.checkpoint:
        raise NotSupported("Files of this machine have no checkpoints.")
