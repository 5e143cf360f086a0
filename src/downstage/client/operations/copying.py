"""Copying and moving: inside a server by itself, among servers through this machine."""

# ruff: noqa: D417 - the first argument is the client, in every operation
from __future__ import annotations

from dataclasses import replace

from downstage.client.client import Client
from downstage.client.operations.carrying import carry
from downstage.client.places import Place
from downstage.client.providers.provider import Copying, Only
from downstage.client.types import CopyBehavior, FileStatus
from downstage.kernel.errors import SourceIsTarget

__all__ = ["copy", "copy_file", "copy_folder", "move", "move_file", "move_folder"]

ERROR_IF_EXISTS = CopyBehavior.ERROR_IF_EXISTS


async def copy(
    client: Client,
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = ERROR_IF_EXISTS,
    message: str = "",
) -> None:
    """Copy a file, a folder, or a checkpoint. Missing folders at the target are made.

    Inside one server the server does it; otherwise the bytes pass through here.

    Args:
        src_url: what to copy.
        dst_url: what it shall be called; never a folder to put it into.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target, where the server keeps them.
    """
    await _copy(client, src_url, dst_url, _how(None, behavior, message))


async def copy_file(
    client: Client,
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = ERROR_IF_EXISTS,
    message: str = "",
) -> None:
    """Copy a file, and refuse a folder.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    await _copy(client, src_url, dst_url, _how("file", behavior, message))


async def copy_folder(
    client: Client,
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = ERROR_IF_EXISTS,
    message: str = "",
) -> None:
    """Copy a folder with everything in it, and refuse a file.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    await _copy(client, src_url, dst_url, _how("folder", behavior, message))


async def move(
    client: Client,
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = ERROR_IF_EXISTS,
    message: str = "",
) -> bool:
    """Move a file or folder; says whether bytes were copied for it.

    Args:
        src_url: what to move.
        dst_url: what it shall be called.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target.
    """
    return await _move(client, src_url, dst_url, _how(None, behavior, message))


async def move_file(
    client: Client,
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = ERROR_IF_EXISTS,
    message: str = "",
) -> bool:
    """Move a file, and refuse a folder; says whether bytes were copied for it.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return await _move(client, src_url, dst_url, _how("file", behavior, message))


async def move_folder(
    client: Client,
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = ERROR_IF_EXISTS,
    message: str = "",
) -> bool:
    """Move a folder, and refuse a file; says whether bytes were copied for it.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return await _move(client, src_url, dst_url, _how("folder", behavior, message))


def _how(only: Only, behavior: CopyBehavior, message: str) -> Copying:
    overwrite = CopyBehavior(behavior) is CopyBehavior.OVERWRITE
    return Copying(overwrite=overwrite, only=only, message=message)


async def _copy(client: Client, src_url: str, dst_url: str, how: Copying) -> None:
    tell = client.progress(dst_url, FileStatus.COPYING)
    how = replace(how, progress=tell)
    source, target = _places(client, src_url, dst_url, is_copy=True)
    here, there = await client.provider(source), await client.provider(target)
    if here is there:
        await here.copy(source, target, how)
    else:
        await carry(here, source, there, target, how)
    tell(1, 1)


async def _move(client: Client, src_url: str, dst_url: str, how: Copying) -> bool:
    tell = client.progress(dst_url, FileStatus.MOVING)
    how = replace(how, progress=tell)
    source, target = _places(client, src_url, dst_url, is_copy=False)
    here, there = await client.provider(source), await client.provider(target)
    if here is there:
        copied = await here.move(source, target, how)
    else:
        carried = await carry(here, source, there, target, how, is_move=True)
        await carried.remove_source()
        copied = True
    tell(1, 1)
    return copied


def _places(client: Client, src_url: str, dst_url: str, *, is_copy: bool) -> tuple[Place, Place]:
    source, target = client.place(src_url), client.place(dst_url)
    # One of a file's checkpoints may be copied over the file itself: that brings it back.
    is_own_checkpoint = is_copy and source.checkpoint and source.path == target.path
    if source.holds(target) and not is_own_checkpoint:
        raise SourceIsTarget("Source and target are one, or the target lies in the source.")
    return source, target
