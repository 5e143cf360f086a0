"""Checkpoints and locks.

Made by ``tools/generate_client.py`` from `downstage.client.operations.versions`; change that.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from downstage.client.flavour import block, block_bare, start, start_bare, wait, wait_bare
from downstage.client.operations import versions as do
from downstage.client.request import Request
from downstage.client.types import ListEntry, Result

__all__ = [
    "create_checkpoint",
    "create_checkpoint_async",
    "create_checkpoint_with_callback",
    "list_checkpoints",
    "list_checkpoints_async",
    "list_checkpoints_with_callback",
    "lock",
    "lock_async",
    "lock_with_callback",
    "restore_checkpoint",
    "restore_checkpoint_async",
    "restore_checkpoint_with_callback",
    "unlock",
    "unlock_async",
    "unlock_with_callback",
]


def create_checkpoint(url: str, comment: str, force: bool = False) -> tuple[Result, str]:
    """Keep the present content of a file under a number; says the query that names it.

    Args:
        url: of the file.
        comment: what for; must not be blank.
        force: make one even where nothing changed since the last; otherwise that one is named.
    """
    return block("", do.create_checkpoint, url, comment, force)


async def create_checkpoint_async(
    url: str, comment: str, force: bool = False
) -> tuple[Result, str]:
    """Keep the present content of a file under a number; says the query that names it.

    Args:
        url: of the file.
        comment: what for; must not be blank.
        force: make one even where nothing changed since the last; otherwise that one is named.
    """
    return await wait("", do.create_checkpoint, url, comment, force)


def create_checkpoint_with_callback(
    url: str, comment: str, callback: Callable[[Result, str], Any], force: bool = False
) -> Request:
    """Keep the present content of a file under a number; says the query that names it.

    Args:
        url: of the file.
        comment: what for; must not be blank.
        callback: gets what the blocking flavour returns, on the callback thread.
        force: make one even where nothing changed since the last; otherwise that one is named.
    """
    return start(callback, "", do.create_checkpoint, url, comment, force)


def list_checkpoints(url: str) -> tuple[Result, tuple[ListEntry, ...]]:
    """List the checkpoints of a file, newest first; `relative_path` is the query of each.

    Args:
        url: of the file.
    """
    return block((), do.list_checkpoints, url)


async def list_checkpoints_async(url: str) -> tuple[Result, tuple[ListEntry, ...]]:
    """List the checkpoints of a file, newest first; `relative_path` is the query of each.

    Args:
        url: of the file.
    """
    return await wait((), do.list_checkpoints, url)


def list_checkpoints_with_callback(
    url: str, callback: Callable[[Result, tuple[ListEntry, ...]], Any]
) -> Request:
    """List the checkpoints of a file, newest first; `relative_path` is the query of each.

    Args:
        url: of the file.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start(callback, (), do.list_checkpoints, url)


def restore_checkpoint(url: str) -> Result:
    """Make a checkpoint the present content again; that makes a new checkpoint.

    Args:
        url: of the file, with the checkpoint's query: ``…/a.usd?&3``.
    """
    return block_bare(do.restore_checkpoint, url)


async def restore_checkpoint_async(url: str) -> Result:
    """Make a checkpoint the present content again; that makes a new checkpoint.

    Args:
        url: of the file, with the checkpoint's query: ``…/a.usd?&3``.
    """
    return await wait_bare(do.restore_checkpoint, url)


def restore_checkpoint_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Make a checkpoint the present content again; that makes a new checkpoint.

    Args:
        url: of the file, with the checkpoint's query: ``…/a.usd?&3``.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.restore_checkpoint, url)


def lock(url: str) -> Result:
    """Let nobody else change a file until `unlock`, or until this client is gone.

    Args:
        url: of the file.
    """
    return block_bare(do.lock, url)


async def lock_async(url: str) -> Result:
    """Let nobody else change a file until `unlock`, or until this client is gone.

    Args:
        url: of the file.
    """
    return await wait_bare(do.lock, url)


def lock_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Let nobody else change a file until `unlock`, or until this client is gone.

    Args:
        url: of the file.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.lock, url)


def unlock(url: str) -> Result:
    """Let others change it again.

    Args:
        url: of the file.
    """
    return block_bare(do.unlock, url)


async def unlock_async(url: str) -> Result:
    """Let others change it again.

    Args:
        url: of the file.
    """
    return await wait_bare(do.unlock, url)


def unlock_with_callback(url: str, callback: Callable[[Result], Any]) -> Request:
    """Let others change it again.

    Args:
        url: of the file.
        callback: gets what the blocking flavour returns, on the callback thread.
    """
    return start_bare(callback, do.unlock, url)
