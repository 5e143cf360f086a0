"""Copies over the edge of a mount: there are no rows to share there, so bytes go across."""

from __future__ import annotations

from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Protocol

from downstage.content.model import Caller, Condition, Entry
from downstage.content.mounts.table import refuse_stale
from downstage.content.open_file import Reading
from downstage.kernel.errors import AlreadyExists, NotFound, NotSupported

__all__ = ["copy"]


class Door(Protocol):
    """What is asked of `Content`."""

    async def stat(self, caller: Caller, path: str, *, checkpoint: int = 0) -> Entry:
        """What is there."""
        ...

    async def read(self, caller: Caller, path: str, *, checkpoint: int = 0) -> Reading:
        """Its bytes."""
        ...

    async def write(
        self,
        caller: Caller,
        path: str,
        body: AsyncIterator[bytes],
        *,
        condition: Condition,
        message: str,
        size_hint: int | None,
    ) -> Entry:
        """Give a file a content."""
        ...


async def copy(
    content: Door,
    caller: Caller,
    source: str,
    target: str,
    *,
    checkpoint: int,
    overwrite: bool,
    condition: Condition,
    source_condition: Condition,
    message: str,
) -> Entry:
    """Copy a file into, out of or within mounts.

    Raises:
        NotSupported: a folder: copy what it holds file by file.
        AlreadyExists: something is there, without *overwrite*.
        VersionMismatch: a condition does not hold.
    """
    found = await content.stat(caller, source, checkpoint=checkpoint)
    if found.kind != "file":
        raise NotSupported("Only files are copied over the edge of a mount.", path=source)
    refuse_stale(source_condition, found.etag)
    if not overwrite:
        await _refuse_taken(content, caller, target)
        condition = replace(condition, if_none_match_any=True)  # nor one that comes meanwhile
    async with await content.read(caller, source, checkpoint=checkpoint) as reading:
        return await content.write(
            caller,
            target,
            reading.pieces(),
            condition=condition,
            message=message,
            size_hint=reading.entry.size,
        )


async def _refuse_taken(content: Door, caller: Caller, target: str) -> None:
    try:
        await content.stat(caller, target)
    except NotFound:
        return
    raise AlreadyExists("There is something already.", path=target)
