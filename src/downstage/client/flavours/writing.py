"""Changing things: write, folders, delete and back.

Made by ``tools/generate_client.py`` from `downstage.client.operations.writing`; change that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from downstage.client.flavour import block, block_bare, start, start_bare, wait, wait_bare
from downstage.client.operations import writing as do
from downstage.client.request import Request
from downstage.client.types import Result, WriteFileExInfo

__all__ = [
    "create_folder",
    "create_folder_async",
    "create_folder_with_callback",
    "delete",
    "delete_async",
    "delete_single",
    "delete_single_async",
    "delete_single_with_callback",
    "delete_with_callback",
    "obliterate",
    "obliterate_async",
    "obliterate_with_callback",
    "undelete",
    "undelete_async",
    "undelete_with_callback",
    "write_file",
    "write_file_async",
    "write_file_ex",
    "write_file_ex_async",
    "write_file_ex_with_callback",
    "write_file_with_callback",
]


def write_file_ex(
    url: str, content: bytes | bytearray | memoryview, message: str = ""
) -> tuple[Result, WriteFileExInfo]:
    """Make a file, or replace it, and say what became of it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    return block(WriteFileExInfo(), do.write_file_ex, url, content, message)


async def write_file_ex_async(
    url: str, content: bytes | bytearray | memoryview, message: str = ""
) -> tuple[Result, WriteFileExInfo]:
    """Make a file, or replace it, and say what became of it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    return await wait(WriteFileExInfo(), do.write_file_ex, url, content, message)


def write_file_ex_with_callback(
    url: str,
    content: bytes | bytearray | memoryview,
    callback: Callable[[Result, WriteFileExInfo], Any],
    message: str = "",
) -> Request:
    """Make a file, or replace it, and say what became of it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        callback: gets what the blocking flavour returns, on the callback thread.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    return start(callback, WriteFileExInfo(), do.write_file_ex, url, content, message)


def write_file(url: str, content: bytes | bytearray | memoryview, message: str = "") -> Result:
    """Make a file, or replace it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    return block_bare(do.write_file, url, content, message)


async def write_file_async(
    url: str, content: bytes | bytearray | memoryview, message: str = ""
) -> Result:
    """Make a file, or replace it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    return await wait_bare(do.write_file, url, content, message)


def write_file_with_callback(
    url: str,
    content: bytes | bytearray | memoryview,
    callback: Callable[[Result], Any],
    message: str = "",
) -> Request:
    """Make a file, or replace it. Missing folders are made.

    Args:
        url: of the file.
        content: its bytes, anything with a buffer.
        callback: gets what the blocking flavour returns, on the callback thread.
        message: where the server keeps checkpoints, makes one with this comment.
    """
    return start_bare(callback, do.write_file, url, content, message)


def create_folder(url: str) -> Result:
    """Make a folder, and those above it that are missing.

    Args:
        url: of the folder.
    """
    return block_bare(do.create_folder, url)


async def create_folder_async(url: str) -> Result:
    """Make a folder, and those above it that are missing.

    Args:
        url: of the folder.
    """
    return await wait_bare(do.create_folder, url)


def create_folder_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Make a folder, and those above it that are missing.

    Args:
        url: of the folder.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.create_folder, url)


def delete(url: str) -> Result:
    """Delete a file, or a folder with everything in it.

    Args:
        url: of the thing.
    """
    return block_bare(do.delete, url)


async def delete_async(url: str) -> Result:
    """Delete a file, or a folder with everything in it.

    Args:
        url: of the thing.
    """
    return await wait_bare(do.delete, url)


def delete_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Delete a file, or a folder with everything in it.

    Args:
        url: of the thing.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.delete, url)


def delete_single(url: str) -> Result:
    """Delete a file or an empty folder.

    Args:
        url: of the thing.
    """
    return block_bare(do.delete_single, url)


async def delete_single_async(url: str) -> Result:
    """Delete a file or an empty folder.

    Args:
        url: of the thing.
    """
    return await wait_bare(do.delete_single, url)


def delete_single_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Delete a file or an empty folder.

    Args:
        url: of the thing.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.delete_single, url)


def undelete(url: str) -> Result:
    """Bring back what was deleted, where the server keeps it.

    Args:
        url: of the thing, as it was.
    """
    return block_bare(do.undelete, url)


async def undelete_async(url: str) -> Result:
    """Bring back what was deleted, where the server keeps it.

    Args:
        url: of the thing, as it was.
    """
    return await wait_bare(do.undelete, url)


def undelete_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Bring back what was deleted, where the server keeps it.

    Args:
        url: of the thing, as it was.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.undelete, url)


def obliterate(url: str, obliterate_checkpoints: bool = False) -> Result:
    """Remove a file, or an empty folder, so that nothing brings it back.

    Args:
        url: of the thing; it may be deleted already.
        obliterate_checkpoints: its checkpoints too; where it has some, this is needed.
    """
    return block_bare(do.obliterate, url, obliterate_checkpoints)


async def obliterate_async(url: str, obliterate_checkpoints: bool = False) -> Result:
    """Remove a file, or an empty folder, so that nothing brings it back.

    Args:
        url: of the thing; it may be deleted already.
        obliterate_checkpoints: its checkpoints too; where it has some, this is needed.
    """
    return await wait_bare(do.obliterate, url, obliterate_checkpoints)


def obliterate_with_callback(
    url: str, callback: Callable[[Result], Any], obliterate_checkpoints: bool = False
) -> Request:
    """Remove a file, or an empty folder, so that nothing brings it back.

    Args:
        url: of the thing; it may be deleted already.
        callback: gets what the blocking flavour returns, on the callback thread.
        obliterate_checkpoints: its checkpoints too; where it has some, this is needed.
    """
    return start_bare(callback, do.obliterate, url, obliterate_checkpoints)
