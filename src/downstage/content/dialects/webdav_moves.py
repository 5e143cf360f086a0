"""WebDAV's COPY and MOVE, which replace what is at their destination where they may."""

from __future__ import annotations

from typing import Protocol

from downstage.content.dialects.webdav_if import read_if, tokens_of
from downstage.content.dialects.webdav_visit import Refused, Visit, no_parent
from downstage.content.model import Caller, Entry
from downstage.kernel.errors import (
    InvalidInput,
    NotFound,
    PlatformError,
    SourceIsTarget,
    VersionMismatch,
    WrongType,
)

__all__ = ["copy", "move"]


class Run(Protocol):
    """Copies or moves."""

    async def __call__(self, *, overwrite: bool) -> None: ...


async def copy(visit: Visit) -> None:
    """COPY: a file; a folder with all that is in it, or with Depth 0 alone."""
    depth = visit.depth()
    if depth == "1":
        raise InvalidInput("A folder is copied whole or alone: Depth is infinity or 0.")
    target, source, there = await _ends(visit)
    caller, condition = await visit.actor(target), visit.condition()

    async def run(*, overwrite: bool) -> None:
        if source.kind != "file" and depth == "0":
            await visit.content.create_folder(caller, target, parents=False)
            properties = await visit.content.properties(caller, visit.path)
            if properties:
                await visit.content.patch_properties(caller, target, properties, ())
        else:
            await visit.content.copy(
                caller, visit.path, target, overwrite=overwrite, source_condition=condition
            )

    makes_way = there is not None and (source.kind != "file" or there.kind != "file")
    await _replace(visit, caller, there, run, makes_way=makes_way)
    await _answer(visit, there)


async def move(visit: Visit) -> None:
    """MOVE: a file or a folder; its locks stay behind, which is to say that they end."""
    if visit.depth() != "infinity":
        raise InvalidInput("A folder is moved whole: Depth is infinity.")
    target, source, there = await _ends(visit)
    caller, condition = await visit.actor(visit.path, target), visit.condition()

    async def run(*, overwrite: bool) -> None:
        await visit.content.move(
            caller, visit.path, target, overwrite=overwrite, source_condition=condition
        )

    makes_way = there is not None and source.kind != there.kind
    await _replace(visit, caller, there, run, makes_way=makes_way)
    await _release_moved(visit, target)
    await _answer(visit, there)


async def _ends(visit: Visit) -> tuple[str, Entry, Entry | None]:
    """The destination, what is copied or moved, and what stands at the destination."""
    target, overwrite = visit.destination(), visit.overwrite()
    source = await visit.content.stat(visit.caller, visit.path)
    if source.kind == "file" and visit.is_folder:
        raise NotFound("This is a file; its address has no slash at the end.")
    if _is_within(target, visit.path) or _is_within(visit.path, target):
        raise SourceIsTarget("Nothing is copied onto itself, into itself or over its own folder.")
    there = await visit.find(target)
    if there is not None and not overwrite:
        raise VersionMismatch("Something is at the destination already.")
    if there is None and await visit.find(target.rpartition("/")[0] or "/") is None:
        raise Refused(409)  # the tree would make the folder; the standard says that it must not
    return target, source, there


async def _replace(
    visit: Visit, caller: Caller, there: Entry | None, run: Run, *, makes_way: bool
) -> None:
    """Do it, in place of what is there; it *makes way* first where the tree would refuse or merge.

    Deleting and copying are two steps then. Nothing is lost between them: what made way comes
    back where the second fails, and stays among what can be undeleted where the process dies.
    """
    if there is not None and makes_way:
        await visit.content.delete(caller, there.path, recursive=True)
    try:
        await run(overwrite=there is not None and not makes_way)
    except PlatformError as error:
        if there is not None and makes_way:
            await visit.content.undelete(caller, there.path)
        if isinstance(error, NotFound | WrongType):
            no_parent(error)
        raise


async def _answer(visit: Visit, there: Entry | None) -> None:
    await visit.exchange.answer(201 if there is None else 204)


def _is_within(path: str, folder: str) -> bool:
    return folder in {path, "/"} or path.startswith(folder + "/")


async def _release_moved(visit: Visit, target: str) -> None:
    submitted = tokens_of(read_if(visit.exchange.header("if")))
    if not submitted:
        return
    for held in await visit.locks.below(visit.caller, target):
        if held.token in submitted and held.subject == visit.caller.subject:
            await visit.locks.release(visit.caller, held)
