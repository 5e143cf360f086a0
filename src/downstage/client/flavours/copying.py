"""Copying and moving: inside a server by itself, among servers through this machine.

Made by ``tools/generate_client.py`` from `downstage.client.operations.copying`; change that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from downstage.client.flavour import block, block_bare, start, start_bare, wait, wait_bare
from downstage.client.operations import copying as do
from downstage.client.request import Request
from downstage.client.types import CopyBehavior, Result

__all__ = [
    "copy",
    "copy_async",
    "copy_file",
    "copy_file_async",
    "copy_file_with_callback",
    "copy_folder",
    "copy_folder_async",
    "copy_folder_with_callback",
    "copy_with_callback",
    "move",
    "move_async",
    "move_file",
    "move_file_async",
    "move_file_with_callback",
    "move_folder",
    "move_folder_async",
    "move_folder_with_callback",
    "move_with_callback",
]


def copy(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Result:
    """Copy a file, a folder, or a checkpoint. Missing folders at the target are made.

    Inside one server the server does it; otherwise the bytes pass through here.

    Args:
        src_url: what to copy.
        dst_url: what it shall be called; never a folder to put it into.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target, where the server keeps them.
    """
    return block_bare(do.copy, src_url, dst_url, behavior, message)


async def copy_async(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Result:
    """Copy a file, a folder, or a checkpoint. Missing folders at the target are made.

    Inside one server the server does it; otherwise the bytes pass through here.

    Args:
        src_url: what to copy.
        dst_url: what it shall be called; never a folder to put it into.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target, where the server keeps them.
    """
    return await wait_bare(do.copy, src_url, dst_url, behavior, message)


def copy_with_callback(
    src_url: str,
    dst_url: str,
    callback: Callable[[Result], Any],
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Request:
    """Copy a file, a folder, or a checkpoint. Missing folders at the target are made.

    Inside one server the server does it; otherwise the bytes pass through here.

    Args:
        src_url: what to copy.
        dst_url: what it shall be called; never a folder to put it into.
        callback: gets what the blocking flavour returns, on the callback thread.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target, where the server keeps them.
    """
    return start_bare(callback, do.copy, src_url, dst_url, behavior, message)


def copy_file(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Result:
    """Copy a file, and refuse a folder.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return block_bare(do.copy_file, src_url, dst_url, behavior, message)


async def copy_file_async(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Result:
    """Copy a file, and refuse a folder.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return await wait_bare(do.copy_file, src_url, dst_url, behavior, message)


def copy_file_with_callback(
    src_url: str,
    dst_url: str,
    callback: Callable[[Result], Any],
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Request:
    """Copy a file, and refuse a folder.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        callback: gets what the blocking flavour returns, on the callback thread.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return start_bare(callback, do.copy_file, src_url, dst_url, behavior, message)


def copy_folder(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Result:
    """Copy a folder with everything in it, and refuse a file.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return block_bare(do.copy_folder, src_url, dst_url, behavior, message)


async def copy_folder_async(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Result:
    """Copy a folder with everything in it, and refuse a file.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return await wait_bare(do.copy_folder, src_url, dst_url, behavior, message)


def copy_folder_with_callback(
    src_url: str,
    dst_url: str,
    callback: Callable[[Result], Any],
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Request:
    """Copy a folder with everything in it, and refuse a file.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        callback: gets what the blocking flavour returns, on the callback thread.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return start_bare(callback, do.copy_folder, src_url, dst_url, behavior, message)


def move(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> tuple[Result, bool]:
    """Move a file or folder; says whether bytes were copied for it.

    Args:
        src_url: what to move.
        dst_url: what it shall be called.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target.
    """
    return block(False, do.move, src_url, dst_url, behavior, message)


async def move_async(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> tuple[Result, bool]:
    """Move a file or folder; says whether bytes were copied for it.

    Args:
        src_url: what to move.
        dst_url: what it shall be called.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target.
    """
    return await wait(False, do.move, src_url, dst_url, behavior, message)


def move_with_callback(
    src_url: str,
    dst_url: str,
    callback: Callable[[Result, bool], Any],
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Request:
    """Move a file or folder; says whether bytes were copied for it.

    Args:
        src_url: what to move.
        dst_url: what it shall be called.
        callback: gets what the blocking flavour returns, on the callback thread.
        behavior: what to do where the target exists. A folder is merged: what only the target
            has stays.
        message: of the checkpoint that it makes at the target.
    """
    return start(callback, False, do.move, src_url, dst_url, behavior, message)


def move_file(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> tuple[Result, bool]:
    """Move a file, and refuse a folder; says whether bytes were copied for it.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return block(False, do.move_file, src_url, dst_url, behavior, message)


async def move_file_async(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> tuple[Result, bool]:
    """Move a file, and refuse a folder; says whether bytes were copied for it.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return await wait(False, do.move_file, src_url, dst_url, behavior, message)


def move_file_with_callback(
    src_url: str,
    dst_url: str,
    callback: Callable[[Result, bool], Any],
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Request:
    """Move a file, and refuse a folder; says whether bytes were copied for it.

    Args:
        src_url: the file.
        dst_url: what it shall be called.
        callback: gets what the blocking flavour returns, on the callback thread.
        behavior: what to do where the target exists.
        message: of the checkpoint that it makes at the target.
    """
    return start(callback, False, do.move_file, src_url, dst_url, behavior, message)


def move_folder(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> tuple[Result, bool]:
    """Move a folder, and refuse a file; says whether bytes were copied for it.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return block(False, do.move_folder, src_url, dst_url, behavior, message)


async def move_folder_async(
    src_url: str,
    dst_url: str,
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> tuple[Result, bool]:
    """Move a folder, and refuse a file; says whether bytes were copied for it.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return await wait(False, do.move_folder, src_url, dst_url, behavior, message)


def move_folder_with_callback(
    src_url: str,
    dst_url: str,
    callback: Callable[[Result, bool], Any],
    behavior: CopyBehavior = CopyBehavior.ERROR_IF_EXISTS,
    message: str = "",
) -> Request:
    """Move a folder, and refuse a file; says whether bytes were copied for it.

    Args:
        src_url: the folder.
        dst_url: what it shall be called.
        callback: gets what the blocking flavour returns, on the callback thread.
        behavior: what to do where the target exists; OVERWRITE merges.
        message: of the checkpoints that it makes at the target.
    """
    return start(callback, False, do.move_folder, src_url, dst_url, behavior, message)
