"""Looking at both ends of a copy or a sync, and making the plan of it."""

from __future__ import annotations

import asyncio
import os
from collections.abc import Sequence
from dataclasses import dataclass

from downstage.cli.content.plan import Draft, Pair, Plan, Step, Tree, compare, needed_folders
from downstage.cli.content.shown import of_url
from downstage.client.client import Client
from downstage.client.origins import LOOPBACK, Origin
from downstage.client.places import SERVER_SCHEMES, Place
from downstage.client.providers.local_body import LocalFile
from downstage.client.providers.provider import Found, Provider
from downstage.client.providers.server import ServerProvider
from downstage.client.types import ListEntry
from downstage.kernel.errors import (
    AlreadyExists,
    InvalidInput,
    NotFound,
    SourceIsTarget,
    WrongType,
)

__all__ = ["Wish", "plan_copy", "plan_sync", "targets_of", "whole"]

AT_ONCE = 4
"""Files that are compared by their bytes at once."""


@dataclass(frozen=True, slots=True)
class Wish:
    """How a copy is meant."""

    recursive: bool = False
    overwrite: bool = False
    delete: bool = False
    """Of a sync: take away at the target what the source has not."""


@dataclass(frozen=True, slots=True)
class _End:
    """One side: a place, what speaks to it, what is there."""

    provider: Provider
    place: Place
    entry: ListEntry | None

    @property
    def is_folder(self) -> bool:
        return self.entry is not None and self.entry.is_folder


async def targets_of(
    client: Client, sources: Sequence[str], target: str
) -> list[tuple[Place, Place]]:
    """What each source shall be called: the target, or a thing in it.

    In it where the target ends with a slash, where there are several sources, or where a file
    meets a folder. One folder onto another is that other: so that the same words mean the same
    after an interruption, when the target is there already.

    Raises:
        WrongType: several sources, and the target is a file.
        InvalidInput: a source has no name that it could bear in a folder.
    """
    goal = client.place(target)
    entry = (await _end(client, goal)).entry
    means_folder = len(sources) > 1 or target.endswith("/") or _ends_in_dots(target)
    if entry is not None and not entry.is_folder and means_folder:
        raise WrongType(f"{of_url(target)} is a file, not a folder to put things into.")
    is_folder = means_folder
    if entry is not None and entry.is_folder and not means_folder:
        first = (await _end(client, client.place(sources[0]))).entry
        is_folder = first is not None and not first.is_folder
    pairs = list[tuple[Place, Place]]()
    for source in sources:
        place = client.place(source)
        if is_folder and not place.name:
            raise InvalidInput(
                f"{of_url(source)} has no name to bear in {of_url(target)}; "
                "downstage files sync copies what is in it."
            )
        pairs.append((place, goal.child(place.name) if is_folder else goal))
    return pairs


def _ends_in_dots(target: str) -> bool:
    return target.rpartition("/")[2] in {".", ".."}


async def plan_copy(client: Client, source: Place, target: Place, wish: Wish) -> Plan:
    """Of one file or folder.

    Raises:
        NotFound: there is no source.
        WrongType: a folder, and not meant to be copied whole.
        SourceIsTarget: onto itself, or into itself.
        AlreadyExists: another file is at the target, and may not be overwritten.
    """
    here, there = await _end(client, source), await _end(client, target)
    if here.entry is None:
        raise NotFound(f"{of_url(whole(source))}: There is nothing there.")
    is_own_checkpoint = bool(source.checkpoint) and source.path == target.path
    if _lies_in(target, source) and not is_own_checkpoint:
        raise SourceIsTarget(f"{of_url(target.url)} is, or lies in, {of_url(source.url)}.")
    if not here.is_folder:
        return await _plan_file(here, here.entry, there, wish)
    if not wish.recursive:
        raise WrongType(f"{of_url(source.url)} is a folder; -r copies it with all in it.")
    if there.entry is not None and not there.is_folder:
        raise AlreadyExists(f"{of_url(target.url)}: A file is there; a folder cannot replace it.")
    if there.entry is None and here.provider is there.provider and _copieswhole(here):
        return Plan([Step("whole folder", target.name, target, source)])
    return await _plan_folder(here, there, wish)


def _copieswhole(end: _End) -> bool:
    return isinstance(end.provider, ServerProvider)


async def _plan_file(here: _End, entry: ListEntry, there: _End, wish: Wish) -> Plan:
    name = there.place.name or here.place.name
    if there.entry is None:
        return Plan([Step("copy", name, there.place, here.place, entry.size)])
    if there.is_folder:
        raise AlreadyExists(f"{of_url(there.place.url)}: A folder is there.")
    pair = Pair(
        (name,), Found(here.place, entry, (name,)), Found(there.place, there.entry, (name,))
    )
    if await _is_same(pair, loosely=not wish.overwrite):
        return Plan(same=1, same_size=entry.size)
    if not wish.overwrite:
        raise AlreadyExists(_in_the_way(of_url(there.place.url)))
    return Plan([Step("replace", name, there.place, here.place, entry.size)])


def _in_the_way(name: str) -> str:
    return f"{name}: Another file is there; --overwrite replaces it."


async def _plan_folder(here: _End, there: _End, wish: Wish) -> Plan:
    source = await _tree(here)
    target = await _tree(there) if there.is_folder else {}
    draft = compare(source, target)
    plan = _begun(draft, source, there)
    if target and there.place.name != here.place.name:
        name, goal = of_url(here.place.url), of_url(there.place.url)
        note = f"What is in {name} goes right into {goal}; {goal}/ would put all of it in there."
        plan.notes.append(("", note))
    for pair, is_same in await _compared(draft.both, loosely=not wish.overwrite):
        name = "/".join(pair.parts)
        if is_same:
            plan.same, plan.same_size = plan.same + 1, plan.same_size + pair.source.entry.size
        elif wish.overwrite:
            plan.steps.append(_step("replace", pair.source, pair.target.place))
        else:
            plan.problems.append((name, "Another file is there; --overwrite replaces it."))
    if not source and there.entry is None:
        plan.steps.append(Step("folder", there.place.name, there.place))
    return plan


async def plan_sync(client: Client, source: Place, target: Place, wish: Wish) -> Plan:
    """Make the folder *target* hold what *source* holds.

    Raises:
        NotFound: there is no source.
        WrongType: one of them is a file.
        SourceIsTarget: one of them lies in the other.
    """
    here, there = await _end(client, source), await _end(client, target)
    if here.entry is None:
        raise NotFound(f"{of_url(source.url)}: There is nothing there.")
    if not here.is_folder or (there.entry is not None and not there.is_folder):
        which = source if not here.is_folder else target
        raise WrongType(f"{of_url(which.url)} is a file; sync is for folders, cp for files.")
    if _lies_in(target, source) or _lies_in(source, target):
        raise SourceIsTarget("Source and target are one, or one lies in the other.")
    items = await _tree(here)
    present = await _tree(there) if there.is_folder else {}
    draft = compare(items, present)
    plan = _begun(draft, items, there)
    for pair, is_same in await _compared(draft.both, loosely=True):
        if is_same:
            plan.same, plan.same_size = plan.same + 1, plan.same_size + pair.source.entry.size
        else:
            plan.steps.append(_step("replace", pair.source, pair.target.place))
    if wish.delete:
        plan.steps += [
            Step("delete", "/".join(parts), present[parts].place) for parts in draft.gone
        ]
    return plan


def _begun(draft: Draft, source: Tree, there: _End) -> Plan:
    """Folders and new files; names were checked when the source was walked, and are again here."""
    plan = Plan(problems=draft.problems, notes=draft.notes)
    for parts in needed_folders(draft.folders, draft.new):
        plan.steps.append(Step("folder", "/".join(parts), _below(there.place, parts)))
    for parts in draft.new:
        plan.steps.append(_step("copy", source[parts], _below(there.place, parts)))
    return plan


def _below(folder: Place, parts: Sequence[str]) -> Place:
    for part in parts:
        folder = folder.child(part)
    return folder


def _step(what: str, source: Found, target: Place) -> Step:
    kind = "copy" if what == "copy" else "replace"
    return Step(kind, "/".join(source.parts), target, source.place, source.entry.size)


async def _compared(pairs: Sequence[Pair], *, loosely: bool) -> list[tuple[Pair, bool]]:
    slots = asyncio.Semaphore(AT_ONCE)

    async def one(pair: Pair) -> tuple[Pair, bool]:
        async with slots:
            return pair, await _is_same(pair, loosely=loosely)

    return list(await asyncio.gather(*(one(pair) for pair in pairs)))


async def _is_same(pair: Pair, *, loosely: bool) -> bool:
    """Whether both files hold the same bytes: by hash, else (*loosely*) by size and time."""
    source, target = pair.source, pair.target
    if source.entry.size != target.entry.size:
        return False
    is_near = source.place.scheme == target.place.scheme == "file"
    if not (is_near and loosely):
        first, second = await _hash(source, target), await _hash(target, source)
        if first and second:
            return first == second
    return loosely and 0 < source.entry.modified_time <= target.entry.modified_time


async def _hash(found: Found, other: Found) -> str | None:
    """BLAKE3 of a file: as its server says, or computed where the other's can be had too."""
    if found.entry.hash or found.place.scheme != "file":
        return found.entry.hash
    if not other.entry.hash and other.place.scheme != "file":
        return None
    return await asyncio.to_thread(_digest, found.place.path)


def _digest(path: str) -> str | None:
    file = LocalFile(path)
    try:
        return file.digest()
    finally:
        file.close()


async def _end(client: Client, place: Place) -> _End:
    provider = await client.provider(place)
    try:
        return _End(provider, place, await provider.stat(place))
    except NotFound:
        return _End(provider, place, None)


async def _tree(end: _End) -> dict[tuple[str, ...], Found]:
    return {found.parts: found async for found in end.provider.below(end.place)}


def _lies_in(inner: Place, outer: Place) -> bool:
    """Whether *inner* is *outer* or below it, by whatever names their server is called."""
    first, second = _true(inner), _true(outer)
    return first[0] == second[0] and (first[1] + "/").startswith(second[1].rstrip("/") + "/")


def _true(place: Place) -> tuple[object, str]:
    if place.scheme == "file":
        return "file", os.path.realpath(place.path)
    if place.scheme in SERVER_SCHEMES or place.is_files_route:
        origin = Origin.of(place)
        host = "localhost" if origin.host in LOOPBACK else origin.host
        return (host, origin.port), ServerProvider.path(place).rstrip("/")
    return place.key, place.path


def whole(place: Place) -> str:
    """Its address with the checkpoint, where it names one."""
    return place.url if place.query is None else f"{place.url}?{place.query}"
