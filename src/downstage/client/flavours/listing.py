"""Looking at things: stat, list, resolve, read.

Made by ``tools/generate_client.py`` from `downstage.client.operations.listing`; change that.
"""

# ruff: noqa: A001 - the published name

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from downstage.client.flavour import block, block_spread, start, start_spread, wait, wait_spread
from downstage.client.operations import listing as do
from downstage.client.request import Request
from downstage.client.types import Content, ListEntry, ListIncludeOption, Result

__all__ = [
    "get_local_file",
    "get_local_file_async",
    "get_local_file_with_callback",
    "list",
    "list_async",
    "list_with_callback",
    "read_file",
    "read_file_async",
    "read_file_with_callback",
    "resolve",
    "resolve_async",
    "resolve_with_callback",
    "stat",
    "stat_async",
    "stat_with_callback",
]


def list(
    url: str, include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
) -> tuple[Result, tuple[ListEntry, ...]]:
    """List what lies in a folder, by name.

    Args:
        url: of the folder.
        include_deleted_option: whether deleted things are listed too.
    """
    return block((), do.list_, url, include_deleted_option)


async def list_async(
    url: str, include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
) -> tuple[Result, tuple[ListEntry, ...]]:
    """List what lies in a folder, by name.

    Args:
        url: of the folder.
        include_deleted_option: whether deleted things are listed too.
    """
    return await wait((), do.list_, url, include_deleted_option)


def list_with_callback(
    url: str,
    callback: Callable[[Result, tuple[ListEntry, ...]], Any],
    include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES,
) -> Request:
    """List what lies in a folder, by name.

    Args:
        url: of the folder.
        callback: gets what the blocking flavour returns, on the callback thread.
        include_deleted_option: whether deleted things are listed too.
    """
    return start(callback, (), do.list_, url, include_deleted_option)


def stat(
    url: str, include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
) -> tuple[Result, ListEntry]:
    """Say what a file or folder is.

    Args:
        url: of the thing; ``?&N`` names a checkpoint.
        include_deleted_option: whether a deleted thing counts as there.
    """
    return block(ListEntry(), do.stat, url, include_deleted_option)


async def stat_async(
    url: str, include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES
) -> tuple[Result, ListEntry]:
    """Say what a file or folder is.

    Args:
        url: of the thing; ``?&N`` names a checkpoint.
        include_deleted_option: whether a deleted thing counts as there.
    """
    return await wait(ListEntry(), do.stat, url, include_deleted_option)


def stat_with_callback(
    url: str,
    callback: Callable[[Result, ListEntry], Any],
    include_deleted_option: ListIncludeOption = ListIncludeOption.NO_DELETED_FILES,
) -> Request:
    """Say what a file or folder is.

    Args:
        url: of the thing; ``?&N`` names a checkpoint.
        callback: gets what the blocking flavour returns, on the callback thread.
        include_deleted_option: whether a deleted thing counts as there.
    """
    return start(callback, ListEntry(), do.stat, url, include_deleted_option)


def resolve(url: str, search_urls: Sequence[str]) -> tuple[Result, ListEntry, str]:
    """Find a file by its relative address in several places, the first that has it.

    Args:
        url: relative, or whole: then it is only looked at.
        search_urls: where to look, before the default search paths.
    """
    return block_spread((ListEntry(), ""), do.resolve, url, search_urls)


async def resolve_async(url: str, search_urls: Sequence[str]) -> tuple[Result, ListEntry, str]:
    """Find a file by its relative address in several places, the first that has it.

    Args:
        url: relative, or whole: then it is only looked at.
        search_urls: where to look, before the default search paths.
    """
    return await wait_spread((ListEntry(), ""), do.resolve, url, search_urls)


def resolve_with_callback(
    url: str, search_urls: Sequence[str], callback: Callable[[Result, ListEntry, str], Any]
) -> Request:
    """Find a file by its relative address in several places, the first that has it.

    Args:
        url: relative, or whole: then it is only looked at.
        search_urls: where to look, before the default search paths.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_spread(callback, (ListEntry(), ""), do.resolve, url, search_urls)


def read_file(url: str) -> tuple[Result, str, Content]:
    """Read a file whole.

    Args:
        url: of the file; ``?&N`` names a checkpoint.
    """
    return block_spread(("", Content()), do.read_file, url)


async def read_file_async(url: str) -> tuple[Result, str, Content]:
    """Read a file whole.

    Args:
        url: of the file; ``?&N`` names a checkpoint.
    """
    return await wait_spread(("", Content()), do.read_file, url)


def read_file_with_callback(url: str, callback: Callable[[Result, str, Content], Any]) -> Request:
    """Read a file whole.

    Args:
        url: of the file; ``?&N`` names a checkpoint.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_spread(callback, ("", Content()), do.read_file, url)


def get_local_file(url: str) -> tuple[Result, str]:
    """Give the path of a file on this machine: itself, or a verified copy in the cache.

    Args:
        url: of the file. The copy is read-only, and shared with other programs of yours.
    """
    return block("", do.get_local_file, url)


async def get_local_file_async(url: str) -> tuple[Result, str]:
    """Give the path of a file on this machine: itself, or a verified copy in the cache.

    Args:
        url: of the file. The copy is read-only, and shared with other programs of yours.
    """
    return await wait("", do.get_local_file, url)


def get_local_file_with_callback(url: str, callback: Callable[[Result, str], Any]) -> Request:
    """Give the path of a file on this machine: itself, or a verified copy in the cache.

    Args:
        url: of the file. The copy is read-only, and shared with other programs of yours.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, "", do.get_local_file, url)
