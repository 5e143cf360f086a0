"""From one provider to another: through this machine, in pieces, several files at once."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from typing import Any

from downstage.client.logs import log
from downstage.client.operations.transferring import carry_file
from downstage.client.places import Place
from downstage.client.providers.provider import (
    Copying,
    Found,
    Only,
    Progress,
    Provider,
    no_progress,
)
from downstage.client.types import ListEntry, LogLevel
from downstage.kernel.errors import (
    AlreadyExists,
    BadUrl,
    NotFound,
    PlatformError,
    VersionMismatch,
    WrongType,
)

__all__ = ["Carried", "carry"]

AT_ONCE = 8
"""Files of one folder on their way at once."""
Job = Callable[[], Coroutine[Any, Any, None]]
Parts = tuple[str, ...]


@dataclass(slots=True)
class Carried:
    """What was carried, as it was before."""

    provider: Provider
    source: Place
    seen: dict[Parts, object]
    left: list[str] = field(default_factory=list[str])
    """Links to folders, pipes and the like, which no server takes."""

    async def remove_source(self) -> None:
        """Delete it: the second half of a move.

        Raises:
            VersionMismatch: it changed meanwhile, perhaps because it is the target by another
                name; nothing is deleted.
        """
        now = await _seen(self.provider, self.source)
        if now != self.seen:
            raise VersionMismatch("The source changed while it was moved; it was not deleted.")
        await self.provider.delete(self.source, recursive=True)


async def carry(
    here: Provider,
    source: Place,
    there: Provider,
    target: Place,
    how: Copying,
    *,
    is_move: bool = False,
) -> Carried:
    """Copy a file or folder of *here* to *there*.

    Args:
        here: of the source.
        source: a file, a checkpoint, or a folder.
        there: of the target.
        target: what it shall be.
        how: as it is meant; a folder over a folder is merged.
        is_move: refuse a folder that holds what cannot be copied, instead of leaving that out.

    Raises:
        AlreadyExists, WrongType: as `Copying` says.
        BadUrl: the source lists names that are none.
    """
    entry = await here.stat(source)
    _check_kind(entry, how.only)
    present = await _present(there, target)
    if present is not None and (not how.overwrite or present.is_folder != entry.is_folder):
        raise AlreadyExists("Something is there already.")
    if not entry.is_folder:
        await carry_file(here, source, there, target, how.message, how.progress)
        return Carried(here, source, {(): _mark(entry)})
    tree = await _walked(here, source)
    if is_move and tree.left:
        raise WrongType(f"It holds what cannot be moved there: {tree.left[0]}.")
    await _carry_tree(here, there, target, how, tree, is_there=present is not None)
    seen = {found.parts: _mark(found.entry) for found in [*tree.folders, *tree.files]}
    return Carried(here, source, seen, tree.left)


@dataclass(slots=True)
class _Tree:
    """What is to be carried of a folder."""

    folders: list[Found] = field(default_factory=list[Found])
    files: list[Found] = field(default_factory=list[Found])
    left: list[str] = field(default_factory=list[str])

    @property
    def empty_folders(self) -> list[Found]:
        """Those that no file brings into being."""
        full = {found.parts[:-1] for found in [*self.folders, *self.files]}
        return [found for found in self.folders if found.parts not in full]


async def _walked(here: Provider, source: Place) -> _Tree:
    tree = _Tree()
    async for found in here.below(source):
        if found.refused:
            raise BadUrl(f"{found.parts[-1]!r}: {found.refused}")
        if found.entry.is_folder and not found.is_link:
            tree.folders.append(found)
        elif found.entry.is_folder or not found.entry.flags:
            tree.left.append("/".join(found.parts))
        else:
            tree.files.append(found)
    for name in tree.left:
        log(LogLevel.WARNING, "client.not_copied", path=name, why="a link, or no file")
    return tree


async def _carry_tree(
    here: Provider, there: Provider, target: Place, how: Copying, tree: _Tree, *, is_there: bool
) -> None:
    if not is_there:
        await _make_folder(there, target)
    places = dict[Parts, Place]({(): target})
    for found in tree.folders:
        places[found.parts] = places[found.parts[:-1]].child(found.parts[-1])
    meter = _Meter(how.progress, sum(found.entry.size for found in tree.files))

    def folder(found: Found) -> Job:
        return lambda: _make_folder(there, places[found.parts])

    def file(found: Found) -> Job:
        goal = places[found.parts[:-1]].child(found.parts[-1])
        tell = meter.part()

        async def carried() -> None:
            await carry_file(here, found.place, there, goal, how.message, tell)
            tell(found.entry.size, found.entry.size)  # small ones tell nothing on their way

        return carried

    await _in_parallel(map(folder, tree.empty_folders))
    await _in_parallel(map(file, tree.files))


async def _in_parallel(jobs: Iterable[Job]) -> None:
    """Do *jobs*, a few at once; the first that fails ends the others, and is raised."""
    waiting = iter(jobs)

    async def work() -> None:
        for job in waiting:
            await job()

    try:
        async with asyncio.TaskGroup() as tasks:
            for _ in range(AT_ONCE):
                tasks.create_task(work())
    except BaseExceptionGroup as group:
        raise _first(group) from group


def _first(group: BaseExceptionGroup[BaseException]) -> BaseException:
    ours = [error for error in group.exceptions if isinstance(error, PlatformError)]
    return (ours or list(group.exceptions))[0]


class _Meter:
    """Adds up how far many files are."""

    def __init__(self, progress: Progress, total: int) -> None:
        self._progress = progress
        self._total = total
        self._done = 0

    def part(self) -> Progress:
        """What one file is to tell."""
        if self._progress is no_progress:
            return no_progress
        before = 0

        def tell(done: int, _: int) -> None:
            nonlocal before
            self._done += done - before
            before = done
            # Less than all until the end: a file that begins anew takes back what it told.
            self._progress(min(self._done, self._total - 1), self._total)

        return tell


async def _make_folder(provider: Provider, place: Place) -> None:
    try:
        await provider.create_folder(place)
    except AlreadyExists:
        if not (await provider.stat(place)).is_folder:
            raise


async def _seen(provider: Provider, source: Place) -> dict[Parts, object]:
    entry = await provider.stat(source)
    if not entry.is_folder:
        return {(): _mark(entry)}
    return {found.parts: _mark(found.entry) async for found in provider.below(source)}


def _mark(entry: ListEntry) -> object:
    """What is another once the thing was written to."""
    if entry.is_folder:
        return "folder"
    return entry.version, entry.size, entry.modified_time


async def _present(provider: Provider, place: Place) -> ListEntry | None:
    try:
        return await provider.stat(place)
    except NotFound:
        return None


def _check_kind(entry: ListEntry, only: Only) -> None:
    if only is not None and (only == "folder") != entry.is_folder:
        raise WrongType(f"The source is no {only}.")
